"""What can be known of Beam's other machines before work is sent there."""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterable
from importlib.metadata import version

from schema.errors import UserError

# A job server that runs answers at once; a firewall that swallows packets never does.
_CONNECT_SECONDS = 5.0


def check_job_servers(options: Iterable[str]) -> None:
    """Connects once to each job server that Beam's options name.

    Args:
      options: as `beam_args` gives them.

    Raises:
      UserError: one cannot be reached. Beam itself says so after a minute, in a traceback.
    """
    for endpoint in _values(options, "job_endpoint"):
        host, _, port = endpoint.rpartition(":")
        if not host or not port.isdigit():
            raise UserError(
                "bad_config", f"beam: job_endpoint is {endpoint!r}; give host:port, as host:8099"
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(
                "bad_config",
                f"beam: no job server answers at {endpoint} ({reason}), which job_endpoint names; "
                "start it there (docs/beam.md says how), or correct the address",
            ) from None


def about_images(options: Iterable[str]) -> str:
    """What a container image must hold for work that is sent from here; empty where there is none.

    What Beam sends is pickled by this Python and unpickled by the image's.
    """
    images = _values(options, "sdk_container_image")
    if not images:
        return ""
    python = ".".join(platform.python_version_tuple()[:2])
    return (
        f"Beam's workers run in {images[0]}, which must hold Beam {version('apache-beam')} on "
        f"Python {python}, as here: work sent to other versions fails there."
    )


def _values(options: Iterable[str], name: str) -> list[str]:
    """The values that --name is given, each once."""
    given = [option.partition("=") for option in options]
    return list(dict.fromkeys(value for key, _, value in given if key == f"--{name}"))
