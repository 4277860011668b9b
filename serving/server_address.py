"""The address of a server as a person gives it, looked at before anything connects."""

from __future__ import annotations

from urllib.parse import urlsplit

from schema.errors import UserError

_HTTP = ("http://", "https://")
_TARGET = "dns:///"
# Other names of gRPC's own, which it looks at itself.
_OTHER_TARGETS = ("dns://", "unix:", "unix-abstract:", "ipv4:", "ipv6:", "xds:")


def check_address(address: str, rest: bool) -> None:
    """Refuses what cannot be a server's address.

    Args:
      address: HOST:PORT, an IPv6 address in brackets; https://HOST, with a port or without; over
        REST also http://, over gRPC also its own names such as dns:///HOST:PORT.
      rest: whether it is asked over REST.

    Raises:
      UserError: it is none of these.
    """
    if not rest and address.startswith(_OTHER_TARGETS) and not address.startswith(_TARGET):
        return
    if not rest and address.startswith("http://"):
        raise UserError(
            "unavailable",
            f"found the server {address!r}, but http:// is for REST; add --rest, or give HOST:PORT "
            "of gRPC.",
        )
    with_scheme = address.startswith(_HTTP)
    host_and_port = address if rest else address.removeprefix(_TARGET)
    if not _has_host_and_port(host_and_port if with_scheme else f"//{host_and_port}", with_scheme):
        example = "localhost:8501" if rest else "localhost:8500"
        raise UserError(
            "unavailable",
            f"found the server {address!r}, expected HOST:PORT with a port from 1 to 65535; give "
            f"it such as {example} or [::1]:{example.rsplit(':', 1)[1]}.",
        )


def _has_host_and_port(url: str, with_scheme: bool) -> bool:
    """Whether a URL names a host, and a port that can be; with a scheme there is a default."""
    if not url.isprintable() or " " in url:
        return False
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return False
    if not found.hostname or found.username is not None:
        return False
    if with_scheme:
        return port != 0
    return bool(port) and not (found.path or found.query or found.fragment)
