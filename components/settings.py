"""What can be set of our components."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from components.evaluator.size_buckets import CLOUD_SIZE, SIZE_BUCKETS
from preprocessing.settings import Settings
from schema.record import CATEGORY

SLICED_BY = (CATEGORY, CLOUD_SIZE)


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


class ProbeSettings(Settings):
    """What ModelServerProbe asks of the exported model before it is pushed."""

    clouds: int = Field(8, ge=1, description="Test clouds to make requests of.")
    most_seconds: float | None = Field(
        None, gt=0, description="Longest answer to one cloud, the model being warm; null: any."
    )
    most_mebibytes: float | None = Field(
        None, gt=0, description="Most memory of the process that answers, in MiB; null: any."
    )
    most_seconds_to_load: float = Field(
        600, gt=0, description="After so long the process counts as hung."
    )


class NotifySettings(Settings):
    """Who is told of a run that does not end in a blessed model; by default nobody."""

    webhook_variable: str = Field(
        "",
        description="The environment variable that holds the address to which a JSON message is "
        "posted (its `text` is what Slack and its like show); the address itself is a secret and "
        "belongs in no config.",
    )
    webhook_file: str = Field(
        "",
        description="A file, such as gs://... or a mounted secret, that holds the address where "
        "the variable is not set: for clusters.",
    )
    command: tuple[str, ...] = Field(
        (),
        description="A program and its arguments; it reads the message on standard input. "
        "On a cluster it must be in the image.",
    )
    attempts: int = Field(4, ge=1, description="How often the webhook is tried.")
    timeout_seconds: float = Field(
        30, gt=0, description="Seconds that an answer, or the program, may take."
    )

    @property
    def wanted(self) -> bool:
        """Whether anybody is to be told."""
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
    """What one metric must reach; a bound that is null does not count."""

    minimum: float | None = Field(None, ge=0, le=1, description="Smallest value on test.")
    largest_drop: float | None = Field(
        None, ge=0, le=1, description="How far it may fall below the blessed model's."
    )


class HeadlineThreshold(Threshold):
    """What a headline number must reach."""

    difference: Literal["any", "not_worse", "better"] = Field(
        "any",
        description="What the 95 % bootstrap interval of the difference to the blessed model must "
        "not say: not_worse refuses a model that is worse beyond chance, better one that is not "
        "better beyond chance.",
    )


class ErrorThreshold(Settings):
    """What an error may reach; a bound that is null does not count."""

    maximum: float | None = Field(None, ge=0, le=1, description="Largest value on test.")
    largest_rise: float | None = Field(
        None, ge=0, le=1, description="How far it may rise above the blessed model's."
    )


class SliceThresholds(Settings):
    """What the clouds of a slice must reach by themselves."""

    point_accuracy: Threshold = Field(Threshold(), description="Share of points given their part.")
    mean_class_accuracy: Threshold = Field(Threshold(), description="Mean of the parts' accuracy.")
    instance_miou: Threshold = Field(Threshold(), description="Mean of the shapes' IoU.")
    calibration_error: ErrorThreshold = Field(
        ErrorThreshold(), description="Expected calibration error."
    )


class EvaluationSettings(Settings):
    """What a model must reach on the test split to be blessed.

    Every bound but those in slices holds over all points of all test clouds. A part that no test
    cloud has, and a slice of fewer than five clouds, neither blesses nor blocks.
    """

    point_accuracy: HeadlineThreshold = Field(
        HeadlineThreshold(minimum=0.7, largest_drop=0.01),
        description="Share of annotated points given their part.",
    )
    mean_class_accuracy: Threshold = Field(
        Threshold(), description="Mean of the parts' accuracies, rare parts counting as much."
    )
    instance_miou: HeadlineThreshold = Field(
        HeadlineThreshold(minimum=0.4, largest_drop=0.01),
        description="Mean over shapes of the shape's IoU, the official convention.",
    )
    category_miou: HeadlineThreshold = Field(
        HeadlineThreshold(), description="Mean over categories of their instance mIoU."
    )
    instance_miou_of_present_parts: HeadlineThreshold = Field(
        HeadlineThreshold(), description="Instance mIoU over the parts that each shape has."
    )
    calibration_error: ErrorThreshold = Field(
        ErrorThreshold(),
        description="How far the probabilities are from the share of right answers: expected "
        "calibration error, 15 bins.",
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
    slices: dict[str, SliceThresholds] = Field(
        {},
        description="Bounds on some of the clouds, by the slice: category or cloud_size for each "
        "category or bucket of sizes, category=Chair or cloud_size=1024-2047 for that one: "
        "{cloud_size: {instance_miou: {minimum: 0.3}}}.",
    )

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
