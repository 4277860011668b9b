"""A point cloud: its class in memory, and the features of its record in a TFRecord file.

Coordinates are raw, never normalised. A record stores `points` flat, in float32; see schema.pbtxt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPE_ID = "shape_id"
CATEGORY = "category"
POINTS = "points"
LABELS = "labels"
# Where the cloud was centred: what to add to `points`. Absent where it was not.
OFFSET = "offset"

# The label of a point without annotation. It counts in no loss and no metric.
UNANNOTATED = -1
# Category name of a cloud whose category is unknown.
UNKNOWN_CATEGORY = "unknown"

SPLITS = ("train", "val", "test")
# Clouds without any label: nothing is trained or measured on them.
UNLABELLED = "unlabelled"

# Rounding to float32 may move a point by this share of the cloud's extent; beyond it, the cloud is
# centred first. Surveyed coordinates of small objects need that, models around the origin do not.
_LARGEST_ROUNDING = 1e-6


@dataclass(frozen=True)
class Cloud:
    """One point cloud.

    Attributes:
      shape_id: the shape's name, unique in its data set.
      category: the name of its category, e.g. "Airplane".
      points: float32 or float64 [n, 3], raw coordinates, relative to `offset`.
      labels: int64 [n], index into the category's parts, -1 unannotated; None: unlabelled cloud.
      offset: [3], what to add to `points` for the source's own coordinates; None: nothing.
    """

    shape_id: str
    category: str
    points: np.ndarray
    labels: np.ndarray | None = None
    offset: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.points)
        if self.points.shape != (count, 3):
            found = list(self.points.shape)
            raise ValueError(f"shape {self.shape_id}: points are {found}, expected [n, 3]")
        if self.labels is not None and self.labels.shape != (count,):
            found = list(self.labels.shape)
            raise ValueError(f"shape {self.shape_id}: labels are {found}, expected [{count}]")

    @property
    def coordinates(self) -> np.ndarray:
        """The source's own coordinates, [n, 3]; float64 where the cloud was centred."""
        if self.offset is None:
            return self.points
        return self.points.astype(np.float64) + self.offset


def to_float32(points: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Finite coordinates [n, 3] as float32, centred first where float32 would lose the shape.

    Returns float32 [n, 3]; and the offset to add to it, float32 [3], or None where it is zero.
    """
    if not len(points):
        return points.astype(np.float32), None
    axes = np.ascontiguousarray(points.T)  # NumPy is ten times faster along long rows.
    low, high = axes.min(axis=1), axes.max(axis=1)
    rounding = np.spacing(np.float32(max(-low.min(), high.max())))
    if not rounding > _LARGEST_ROUNDING * (high - low).max() > 0:
        return np.ascontiguousarray(points, np.float32), None
    # Subtracted as float32, so that a record holds the very number.
    offset = axes.mean(axis=1, dtype=np.float64).astype(np.float32)
    return (points - offset.astype(np.float64)).astype(np.float32), offset
