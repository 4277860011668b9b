"""What can be asked for parts: an exported model here, or a server that has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

Answer = tuple[np.ndarray, np.ndarray]


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
          ServingError: a cloud cannot be sent, or was not answered.
        """
        ...
