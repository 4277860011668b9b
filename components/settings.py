"""Settings of our components."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Field, field_validator

from components.evaluator.size_buckets import CLOUD_SIZE, SIZE_BUCKETS
from schema.record import CATEGORY
from schema.settings import Settings

Share = Annotated[float, Ge(0), Le(1)]
Limit = Annotated[float, Gt(0), Le(1)]
Positive = Annotated[float, Gt(0)]
Count = Annotated[int, Ge(1)]

SLICED_BY = (CATEGORY, CLOUD_SIZE)


class ShiftLimits(Settings):
    """How much two sets of clouds may differ, feature by feature."""

    points: Limit = 0.1
    """Largest Jensen-Shannon divergence of the raw coordinates: 0 is equal, 1 is disjoint."""

    labels: Limit = 0.2
    """Largest change of a label's share of all points."""

    category: Limit = 0.1
    """Largest change of a category's share of all clouds."""

    action: Literal["warn", "stop"] = "warn"
    """What happens above a limit: a warning, or the run stops before training."""


class ValidationSettings(Settings):
    """Which clouds CloudValidator rejects, what it warns about, and what stops the run."""

    minimum_points: Count = 4
    """Fewest points of a cloud; four are the least that span a solid."""

    duplicate_share: Share = 0.5
    """Share of a cloud's points that repeat the coordinates of another point, above which a warning
    is given."""

    imbalance_ratio: Annotated[float, Gt(1)] = 20.0
    """Ratio of training points between the largest and the smallest part of a category (and of
    shapes between categories), above which a warning is given."""

    quarantine_share: Share = 0.1
    """Share of a split's clouds that may be rejected; more stops the run."""

    drift: ShiftLimits = ShiftLimits()
    """The training clouds compared with those of the last run."""

    skew: ShiftLimits = ShiftLimits()
    """Validation and test clouds compared with the training clouds."""


class ProbeSettings(Settings):
    """How ModelServerProbe tests the exported model before it is pushed."""

    clouds: Count = 8
    """Number of test clouds to send as requests."""

    most_seconds: Positive | None = None
    """Longest answer time for one cloud, after warm-up, in seconds; null: no limit."""

    most_mebibytes: Positive | None = None
    """Largest memory of the serving process, in MiB; null: no limit."""

    most_seconds_to_load: Positive = 600
    """Time in seconds after which a process that is still loading counts as hung."""


class NotifySettings(Settings):
    """Where a message is sent if a run does not end in a blessed model; by default nowhere."""

    webhook_variable: str = ""
    """Environment variable that holds the address to which a JSON message is posted (Slack and
    similar services show its `text`). The address itself is a secret and must not be in a
    config."""

    webhook_file: str = ""
    """File, such as gs://... or a mounted secret, that holds the address if the variable is not
    set; for clusters."""

    command: tuple[str, ...] = ()
    """A program and its arguments; it reads the message from standard input. On a cluster it must
    be in the image."""

    attempts: Count = 4
    """Number of attempts to reach the webhook."""

    timeout_seconds: Positive = 30
    """Longest time for an answer, or for the program, in seconds."""

    @property
    def wanted(self) -> bool:
        """Whether a message is sent at all."""
        return bool(self.webhook_variable or self.webhook_file or self.command)

    @field_validator("webhook_variable")
    @classmethod
    def _names_a_variable(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            # Not repeated: it may well be the secret itself.
            raise ValueError(
                "this is no name of an environment variable; put the webhook's address into one, "
                "such as POINTNET_WEBHOOK, and name that here"
            )
        return value

    @field_validator("webhook_file")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        if value.startswith(("http://", "https://")):
            raise ValueError(
                "this is an address; put it into a file that only the run can read, and give that "
                "file's path here"
            )
        return value

    @field_validator("command")
    @classmethod
    def _names_a_program(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and not value[0].strip():
            raise ValueError("its first entry must be a program; leave the list empty for none")
        return value


class Threshold(Settings):
    """Bounds on a metric; null is no bound."""

    minimum: Share | None = None
    """Smallest value on test."""

    largest_drop: Share | None = None
    """Largest decrease from the blessed model's value."""


class HeadlineThreshold(Threshold):
    """Bounds on a headline metric."""

    difference: Literal["any", "not_worse", "better"] = "any"
    """Condition on the 95 % bootstrap interval of the difference to the blessed model. not_worse:
    refuse a model that is significantly worse; better: refuse a model that is not significantly
    better; any: no condition."""


class ErrorThreshold(Settings):
    """Bounds on an error; null is no bound."""

    maximum: Share | None = None
    """Largest value on test."""

    largest_rise: Share | None = None
    """Largest increase from the blessed model's value."""


class SliceThresholds(Settings):
    """Bounds on the metrics of one slice of the clouds."""

    point_accuracy: Threshold = Threshold()
    """Share of points with the correct part."""

    mean_class_accuracy: Threshold = Threshold()
    """Mean accuracy over the parts."""

    instance_miou: Threshold = Threshold()
    """Mean IoU over the shapes."""

    calibration_error: ErrorThreshold = ErrorThreshold()
    """Expected calibration error."""


class EvaluationSettings(Settings):
    """What a model must reach on the test split to be blessed.

    Every bound except those in slices applies to all points of all test clouds. A part that no test
    cloud has, and a slice of fewer than five clouds, have no effect.
    """

    point_accuracy: HeadlineThreshold = HeadlineThreshold(minimum=0.7, largest_drop=0.01)
    """Share of annotated points with the correct part."""

    mean_class_accuracy: Threshold = Threshold()
    """Mean accuracy over the parts; rare parts have the same weight."""

    instance_miou: HeadlineThreshold = HeadlineThreshold(minimum=0.4, largest_drop=0.01)
    """Mean over shapes of the shape's IoU, the official convention."""

    category_miou: HeadlineThreshold = HeadlineThreshold()
    """Mean over categories of their instance mIoU."""

    instance_miou_of_present_parts: HeadlineThreshold = HeadlineThreshold()
    """Instance mIoU over the parts that each shape has."""

    calibration_error: ErrorThreshold = ErrorThreshold()
    """Expected calibration error (15 bins): the difference between predicted probability and
    accuracy."""

    part_accuracy: Threshold = Threshold(minimum=0.2, largest_drop=0.05)
    """Accuracy on the points of a part; applies to every part."""

    part_iou: Threshold = Threshold(minimum=0.1, largest_drop=0.05)
    """IoU of a part over all points; applies to every part."""

    part_accuracy_of: dict[str, Threshold] = Field({})
    """part_accuracy for single parts, by name: {engine: {minimum: 0.5}}."""

    part_iou_of: dict[str, Threshold] = Field({})
    """part_iou for single parts, by name."""

    slices: dict[str, SliceThresholds] = Field({})
    """Bounds on slices of the clouds. category or cloud_size: every category or size bucket;
    category=Chair or cloud_size=1024-2047: only that one. Example: {cloud_size: {instance_miou:
    {minimum: 0.3}}}."""

    @field_validator("slices")
    @classmethod
    def _are_slices(cls, value: dict[str, SliceThresholds]) -> dict[str, SliceThresholds]:
        for name in value:
            feature, _, wanted = name.partition("=")
            if feature not in SLICED_BY:
                raise ValueError(
                    f"{name!r} is no slice; slices are {' and '.join(SLICED_BY)}, and of one value "
                    "such as category=Chair"
                )
            if feature == CLOUD_SIZE and wanted and wanted not in SIZE_BUCKETS:
                raise ValueError(
                    f"{wanted!r} is no bucket of sizes; they are {', '.join(SIZE_BUCKETS)}"
                )
        return value
