"""The cloud record: one labelled (or unlabelled) point cloud, as it stands in every TFRecord.

Raw coordinates, never normalised. `points` is stored flat, x y z of point 0, then of point 1, and
so on; `schema.pbtxt` gives it its shape [n, 3] back as a ragged tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The features' names, once.
SHAPE_ID = "shape_id"
CATEGORY = "category"
POINTS = "points"
LABELS = "labels"

# The label of a point that nobody annotated. It counts in no loss and no metric.
UNANNOTATED = -1
# The category of a cloud of which nobody said it.
UNKNOWN_CATEGORY = "unknown"

SPLITS = ("train", "val", "test")
# Clouds without any label are set aside here: nothing is trained or measured on them.
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class CloudRecord:
    """One point cloud.

    Attributes:
      shape_id: the shape's name, unique in its data set.
      category: the name of its category, e.g. "Airplane".
      points: float32 [n, 3], raw coordinates.
      labels: int64 [n], index into the category's parts, -1 where nobody annotated the point; None
        for an unlabelled cloud.
    """

    shape_id: str
    category: str
    points: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ValueError(
                f"shape {self.shape_id}: points have shape {self.points.shape}, expected [n, 3]"
            )
        if self.labels is not None and self.labels.shape != self.points.shape[:1]:
            raise ValueError(
                f"shape {self.shape_id}: {self.labels.size} labels for {len(self.points)} points; "
                "each point needs one label"
            )
