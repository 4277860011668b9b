"""The one error of asking a model: one sentence for the person who asked."""

from __future__ import annotations

_LONGEST = 400


class ServingError(Exception):
    """A request was not answered, or not with what was asked for.

    Attributes:
      lasting: whether any other request would fail as well, as with a server that is not there.
    """

    def __init__(self, sentence: str, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(sentence)

    def __reduce__(self) -> tuple:
        return ServingError, (str(self), self.lasting)


def first_line(message: str) -> str:
    """What a runtime says went wrong, without the trace of operations behind it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return (lines[0] if lines else "no reason given")[:_LONGEST].rstrip(".")
