"""Whether a Docker daemon answers on this machine."""

from __future__ import annotations

import shutil
import subprocess

_SECONDS = 10


def docker_answers() -> bool:
    """True where `docker` is installed and its daemon answers within a few seconds."""
    return not docker_complaint()


def docker_complaint() -> str:
    """Why Docker cannot be used here, in a few words; "" where it can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    return complaint("docker", "info")


def complaint(*command: str) -> str:
    """What a command says first on stderr where it fails; "" where it does not."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"`{' '.join(command)}` gave no answer within {_SECONDS} s"
    except OSError as error:
        return f"`{' '.join(command)}` cannot be run: {error.strerror}"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith("WARNING")]
    return lines[0] if lines else f"`{' '.join(command)}` ended with {done.returncode}"
