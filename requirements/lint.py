"""Runs every check of the code, all of them even where one fails: `make lint`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import List

CHECKS = [
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["hadolint", "--failure-threshold", "info", "deploy/Dockerfile"],
    ["zizmor", "--offline", "--no-progress", "--quiet", ".github"],
]
MENDERS = [["ruff", "check", "--fix", "."], ["ruff", "format", "."]]


def failures(commands: List[List[str]]) -> List[str]:
    """Runs commands one after another and names those that did not succeed."""
    failed = []
    for command in commands:
        print("$", *command, flush=True)
        # Beside this Python: not all of them are modules.
        program = Path(sys.executable).with_name(command[0])
        if subprocess.run([program, *command[1:]], check=False).returncode != 0:
            failed.append(" ".join(command))
    return failed


def main() -> int:
    """Checks, or with --mend changes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mend", action="store_true", help="format, and mend what ruff can")
    failed = failures(MENDERS if parser.parse_args().mend else CHECKS)
    if failed:
        print(f"failed: {'; '.join(failed)} (`make format` mends what can be mended)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
