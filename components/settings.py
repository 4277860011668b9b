"""What can be set of our components."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from preprocessing.settings import Settings


class ShiftLimits(Settings):
    """How far two sets of clouds may differ, feature by feature."""

    points: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Largest Jensen-Shannon divergence of raw coordinates: 0 alike, 1 disjoint.",
    )
    labels: float = Field(
        0.2, gt=0, le=1, description="Largest change of the share that a label has of all points."
    )
    category: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Largest change of the share that a category has of all clouds.",
    )
    action: Literal["warn", "stop"] = Field(
        "warn", description="What happens beyond a limit: warn, or stop the run before training."
    )


class ValidationSettings(Settings):
    """What CloudValidator refuses, what is warned of, and what stops the run."""

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
    drift: ShiftLimits = Field(
        ShiftLimits(), description="The training clouds against those of the last run."
    )
    skew: ShiftLimits = Field(
        ShiftLimits(), description="Validation and test clouds against the training clouds."
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
