"""A cloud with what a model says of each of its points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schema.categories import Category
from schema.record import UNANNOTATED


@dataclass(frozen=True)
class SegmentedCloud:
    """A cloud of n points, answered by a model of K classes.

    Attributes:
      name: what its files are called, before file names' own rules.
      points: float [n, 3], the source's own coordinates, in its order.
      part: int64 [n], index into the category's parts; -1 where the model has no answer.
      probability: float32 [n, K], of every class of the model, those of other categories included.
      category: whose parts these are.
    """

    name: str
    points: np.ndarray
    part: np.ndarray
    probability: np.ndarray
    category: Category

    def __post_init__(self) -> None:
        count = len(self.points)
        if self.points.shape != (count, 3):
            raise ValueError(f"{self.name}: points are {self.points.shape}, expected [n, 3]")
        if self.part.shape != (count,) or self.probability.shape[:1] != (count,):
            raise ValueError(
                f"{self.name}: {count} points, but parts {self.part.shape} and probabilities "
                f"{self.probability.shape}; expected [n] and [n, K]"
            )

    @property
    def answered(self) -> np.ndarray:
        """Whether the model named a part, bool [n]."""
        return self.part != UNANNOTATED

    @property
    def certainty(self) -> np.ndarray:
        """The probability of the named part, 0 where there is none, float32 [n]."""
        # Of a model of several categories only the cloud's own parts have any.
        return np.where(self.answered, self.probability.max(axis=1), 0).astype(np.float32)

    def part_name(self, part: int) -> str:
        """A part's name; "" where it is none of the category's."""
        return self.category.parts[part] if 0 <= part < len(self.category.parts) else ""
