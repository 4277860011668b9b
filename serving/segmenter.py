"""What can be asked for parts: an exported model here, or a server that has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from schema.errors import UserError

Answer = tuple[np.ndarray, np.ndarray]
_ATTEMPTS_IF_REFUSED = 3


class Segmenter(Protocol):
    """Names the parts of clouds, by one request to `serve_padded`."""

    def segment(self, clouds: Sequence[np.ndarray], category: int | None) -> list[Answer]:
        """Asks for all points of some clouds.

        Args:
          clouds: float32 [n, 3] each, of any n >= 1, raw coordinates.
          category: index into the model's categories; None for a model of a single one.

        Returns:
          Of each cloud the part int64 [n], -1 without an answer, and the probability of each of
          the model's K classes, float32 [n, K].

        Raises:
          UserError: a cloud cannot be sent, or was not answered.
        """
        ...


def asked_again_if_refused(ask: Callable[[], list[Answer]]) -> list[Answer]:
    """Asks a server, and again where it refuses.

    A server that batches requests gives everyone in a batch the error of one of them: a sound
    request may be refused for somebody else's, and is answered when it goes with others.

    Raises:
      UserError: the server has refused each time, or cannot be asked.
    """
    for _ in range(_ATTEMPTS_IF_REFUSED - 1):
        try:
            return ask()
        except UserError as error:
            if error.code == "unavailable":
                raise
    return ask()
