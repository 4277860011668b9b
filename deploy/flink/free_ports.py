"""Ports for servers that are told theirs before they start."""

import random
import socket

# Linux hands out those from 32,768 on by itself, to whoever connects: between the choice and the
# server's start one of them may be taken.
_CHOSEN_FROM = range(20_000, 32_768)


def free_ports(count: int) -> list[int]:
    """Different ports of this machine that nobody has."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().choice(_CHOSEN_FROM)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("", port))
        except OSError:
            return False
    return True
