"""Programs that stand for others on a PATH."""

import shlex
import sys
from pathlib import Path


def put_program(file: Path, source: str) -> None:
    """Makes Python source an executable, by sh: a `#!` line takes no long path and no blank."""
    code = file.with_name(f"{file.name}.py")
    code.write_text(source)
    words = shlex.join([sys.executable, str(code)])
    file.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    file.chmod(0o755)
