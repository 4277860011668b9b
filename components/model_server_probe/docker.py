"""Whether a Docker daemon answers on this machine."""

from __future__ import annotations

import shutil
import subprocess

_SECONDS = 10


def docker_answers() -> bool:
    """True where `docker` is installed and its daemon answers within a few seconds."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(
            ["docker", "info"], capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
