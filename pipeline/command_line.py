"""The command as a person can type it, for sentences that say what to do next."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "pointnet-parts"


def program() -> str:
    """`pointnet-parts` where the shell finds it, else its path, else Python and our module."""
    if shutil.which(PROGRAM):
        return PROGRAM
    for place in (Path(sys.argv[0]), Path(sys.executable).with_name(PROGRAM)):
        if place.name == PROGRAM and place.is_file():
            return shlex.quote(str(place.absolute()))
    return f"{shlex.quote(sys.executable)} -m pipeline.cli"
