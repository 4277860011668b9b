"""Reasons why a model or server gave no answer.

The code "unavailable" means that every other request would fail as well, as with a server that is
not running; "no_answer", that this request failed.
"""

from __future__ import annotations

import re

from schema.errors import UserError

_LONGEST = 400
_ASSERTION = "assertion failed: "


def reason_in(message: str) -> str:
    """What a runtime says went wrong, on one line, without the trace of operations around it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    for line in lines:
        # What the model itself refuses: TensorFlow puts brackets around each piece of a sentence.
        if _ASSERTION in line:
            lines = [re.sub(r"^\[(.*?)\]", r"\1", line.split(_ASSERTION, 1)[1])]
            break
    return _visible(lines[0] if lines else "no reason given")[:_LONGEST].rstrip(".")


def unknown_host(address: str) -> UserError:
    """The sentence for a host whose name leads nowhere."""
    return UserError(
        "unavailable",
        f"{address}: this machine finds no host of that name; correct the name, or give the host's "
        "IP address.",
    )


def no_such_label(address: str, label: str) -> UserError:
    """The sentence for a server that does not know a label."""
    return UserError(
        "unavailable",
        f"{address} has no version with the label {label}; give it one with `pointnet-parts "
        "labels`, or ask for another --label or --version.",
    )


def of_label(said: str) -> bool:
    """Whether TensorFlow Serving complains of a version's label."""
    return re.search("version[ _]label", said) is not None


def _visible(text: str) -> str:
    """The text with what a terminal would not show, or obey, as Python writes it."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
