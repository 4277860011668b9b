"""Settings of the gate: the bounds that a model must meet to be blessed; they load without TFX."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt
from pydantic import Field, field_validator, model_validator

from model.metric_table import METRICS, PART_METRICS
from schema.record import CATEGORY
from schema.settings import Settings
from schema.size_buckets import CLOUD_SIZE, SIZE_BUCKETS

Share = Annotated[float, Ge(0), Le(1)]
Margin = Annotated[float, Ge(0), Lt(1)]

SLICED_BY = (CATEGORY, CLOUD_SIZE)


class Bounds(Settings):
    """Bounds on one metric; null is no bound."""

    optional: bool = False
    """Whether a model may be blessed although a bound on this metric cannot be measured, because no
    test cloud has the part or too few clouds are in the slice."""


class Threshold(Bounds):
    """Bounds on a share; null is no bound."""

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


class ErrorThreshold(Bounds):
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

    Every bound except those in slices applies to all points of all test clouds. A bound that cannot
    be measured blocks the blessing unless it is `optional`.
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
    """part_accuracy for single parts, by name: {engine: {minimum: 0.5}}. Keys that are left out
    have part_accuracy's values."""

    part_iou_of: dict[str, Threshold] = Field({})
    """part_iou for single parts, by name. Keys that are left out have part_iou's values."""

    slices: dict[str, SliceThresholds] = Field({})
    """Bounds on slices of the clouds. category or cloud_size: every category or size bucket;
    category=Chair or cloud_size=1024-2047: only that one. Example: {cloud_size: {instance_miou:
    {minimum: 0.3}}}. A slice needs five clouds to be measured."""

    margin_over_trivial: Margin | None = 0.1
    """How much better than a trivial answer the model must be on every part, as a share of the gap
    between the trivial answer and 1. Trivial accuracy: the part's share of the points; trivial IoU:
    that of answering every point with the most frequent part. null: no such bound; the model is
    then blessed with exploratory bounds."""

    exploratory: bool = False
    """Whether the bounds are too low for use; a blessed model is then reported as blessed with
    exploratory bounds."""

    @property
    def has_exploratory_bounds(self) -> bool:
        """Whether a blessing by these bounds says little."""
        return self.exploratory or self.margin_over_trivial is None

    @classmethod
    def without_bounds(cls) -> EvaluationSettings:
        """Settings that measure and judge nothing."""
        kinds = {"headline": HeadlineThreshold, "error": ErrorThreshold}
        none: dict[str, Any] = {m.key: kinds.get(m.kind, Threshold)() for m in METRICS}
        return cls(**none, margin_over_trivial=None)

    @model_validator(mode="before")
    @classmethod
    def _complete_single_parts(cls, value: Any) -> Any:
        """Merges the bounds on single parts with those on every part, key by key."""
        if not isinstance(value, dict):
            return value
        merged = dict(value)
        for metric in PART_METRICS:
            general = _given(value.get(metric, cls.model_fields[metric].default))
            single = value.get(f"{metric}_of")
            if isinstance(general, dict) and isinstance(single, dict):
                merged[f"{metric}_of"] = {
                    part: {**general, **own} if isinstance(own, dict) else own
                    for part, own in ((part, _given(own)) for part, own in single.items())
                }
        return merged

    @field_validator("slices")
    @classmethod
    def _are_slices(cls, value: dict[str, SliceThresholds]) -> dict[str, SliceThresholds]:
        for name in value:
            feature, _, wanted = name.partition("=")
            if feature not in SLICED_BY:
                raise ValueError(
                    f"{name!r} is not a slice; slices are {' and '.join(SLICED_BY)}, or one value "
                    "such as category=Chair"
                )
            if feature == CLOUD_SIZE and wanted and wanted not in SIZE_BUCKETS:
                raise ValueError(
                    f"{wanted!r} is not a size bucket; they are {', '.join(SIZE_BUCKETS)}"
                )
        return value


def _given(value: Any) -> Any:
    """The keys that were given, where the value is a settings object already."""
    return value.model_dump(exclude_unset=True) if isinstance(value, Settings) else value
