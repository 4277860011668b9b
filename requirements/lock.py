"""Compiles the lock files from the loose ranges: `make lock`.

Each `.in` file becomes a `.txt` with every package's exact version and the hashes of its files,
and without any index's address. Versions that are locked already stay where they still fit;
`make lock UPGRADE=1` takes the newest ones.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List

from requirements import environment

HEADER = "# Locked by `make lock` from {source}; change that file, not this one.\n"

# What pyproject.toml's [tool.uv] resolves for holds for every line, so no line needs to say it.
UNIVERSAL = (
    " and implementation_name == 'cpython' and platform_machine == 'x86_64'"
    " and sys_platform == 'linux'"
)
NEWEST_PYTHON = " ; python_full_version < '3.14' \\"

# The oldest system that a stack is locked for, and whether one file serves several Pythons.
OPTIONS = {
    "1.16": ["--python-version", "3.10", "--python-platform", "x86_64-manylinux_2_28"],
    "1.21": ["--universal", "--python-version", "3.12"],
}

# Debian 13, which the image stands on.
IMAGE_OPTIONS = ["--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_40"]


def compile_lock(uv: Path, source: Path, target: Path, options: List[str]) -> None:
    """Lets uv resolve one `.in` file."""
    upgrade = ["--upgrade"] if os.environ.get("UPGRADE") == "1" else []
    command = [
        uv, "pip", "compile", source, "--output-file", target, "--quiet", "--no-header",
        "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", *upgrade, *options,
    ]  # fmt: skip
    subprocess.run(
        [str(word) for word in command], check=True, cwd=environment.REQUIREMENTS,
        env=environment.uv_environment(os.environ),
    )  # fmt: skip
    body = re.sub(r"\A(#.*\n)+", "", target.read_text())
    body = body.replace(UNIVERSAL, "").replace(NEWEST_PYTHON, " \\")
    target.write_text(HEADER.format(source=source.name) + body)


def blocks(lock: str) -> List[str]:
    """Cuts a lock file into its packages, each with hashes and comments."""
    return re.findall(r"^[A-Za-z0-9].*\n(?:[ \t].*\n?)*", lock, flags=re.MULTILINE)


def package(block: str) -> str:
    """The name of a block's package."""
    return re.split(r"[=\[ ;@]", block, maxsplit=1)[0]


def only_on_top(full: str, base: str) -> str:
    """What `full` locks and `base` does not."""
    there = {package(block) for block in blocks(base)}
    return "".join(block for block in blocks(full) if package(block) not in there)


def main() -> int:
    """Compiles all lock files."""
    folder = environment.REQUIREMENTS
    with environment.only_one(environment.CACHE / "environment.lock") as held:
        uv = environment.ensure_uv(os.environ, held)
    try:
        for name in ("uv", "build"):
            # uv is for whichever python3 the user has; pip and setuptools for the stacks' own.
            options = ["--python-version", "3.8" if name == "uv" else "3.10"]
            compile_lock(uv, folder / f"{name}.in", folder / f"{name}.txt", options)
        for stack in environment.STACKS:
            options = OPTIONS[stack.tfx]
            compile_lock(uv, stack.lock.with_suffix(".in"), stack.lock, options)
            with tempfile.TemporaryDirectory() as temporary:
                source, target = stack.cuda_lock.with_suffix(".in"), Path(temporary) / "cuda.txt"
                if stack.cuda_lock.exists():
                    target.write_text(stack.cuda_lock.read_text())
                compile_lock(uv, source, target, [*options, "--constraint", stack.lock.name])
                extra = only_on_top(target.read_text(), stack.lock.read_text())
                stack.cuda_lock.write_text(HEADER.format(source=source.name) + extra)
        image_lock = environment.NEWEST.image_lock
        options = [*IMAGE_OPTIONS, "--constraint", environment.NEWEST.lock.name]
        compile_lock(uv, image_lock.with_suffix(".in"), image_lock, options)
    except subprocess.CalledProcessError as error:
        print(f"error: uv could not resolve {error.cmd[3]}; it says why above.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
