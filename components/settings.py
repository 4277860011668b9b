"""What can be set of our components."""

from __future__ import annotations

from pydantic import Field

from preprocessing.settings import Settings


class ValidationSettings(Settings):
    """What CloudValidator refuses, what it warns of, and when it stops the run."""

    minimum_points: int = Field(
        4, ge=1, description="Fewest points of a cloud; four are the least that span a solid."
    )
    duplicate_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of a cloud's points that repeat another one's coordinates, above which "
        "a warning is given.",
    )
    imbalance_ratio: float = Field(
        20.0,
        gt=1,
        description="How many times more training points the largest part of a category may have "
        "than the smallest (and shapes the largest category) before a warning is given.",
    )
    quarantine_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of a split's clouds that may be refused; more than that stops the run.",
    )


class Threshold(Settings):
    """What one metric must reach; a bound that is null does not count."""

    minimum: float | None = Field(None, ge=0, le=1, description="Smallest value on test.")
    largest_drop: float | None = Field(
        None, ge=0, le=1, description="How far it may fall below the blessed model's."
    )


class EvaluationSettings(Settings):
    """What a model must reach on the test split to be blessed.

    Every bound holds over all points of all test clouds. A part that no test cloud has is measured
    by nothing and bounded by nothing.
    """

    point_accuracy: Threshold = Field(
        Threshold(minimum=0.7, largest_drop=0.01),
        description="Share of annotated points given their part.",
    )
    instance_miou: Threshold = Field(
        Threshold(minimum=0.4, largest_drop=0.01),
        description="Mean over shapes of the shape's IoU, the official convention.",
    )
    part_accuracy: Threshold = Field(
        Threshold(minimum=0.2, largest_drop=0.05),
        description="Share of a part's points given that part: every part's bound.",
    )
    part_iou: Threshold = Field(
        Threshold(minimum=0.1, largest_drop=0.05),
        description="A part's IoU pooled over points: every part's bound.",
    )
    part_accuracy_of: dict[str, Threshold] = Field(
        {},
        description="A bound of its own for a part, by the part's name: {engine: {minimum: 0.5}}.",
    )
    part_iou_of: dict[str, Threshold] = Field({}, description="The same for a part's IoU.")
