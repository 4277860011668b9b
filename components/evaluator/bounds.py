"""The bounds of the config: as a list for our verdict, and as thresholds for TFMA's own check."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.metrics import SegmentationMetrics
from components.evaluator.settings import Bounds, EvaluationSettings
from model.export.signatures import EVALUATE_SIGNATURE
from model.metric_table import DIFFERENCE_HIGH, DIFFERENCE_LOW, METRICS, PART_METRICS
from schema.categories import Category, part_names
from schema.errors import UserError
from schema.record import CATEGORY
from schema.size_buckets import CLOUD_SIZE

Kind = Literal[
    "minimum", "maximum", "largest_drop", "largest_rise", "difference", "over_trivial", "tfma"
]
_LIMITS: tuple[Kind, ...] = ("minimum", "maximum", "largest_drop", "largest_rise")


@dataclass(frozen=True)
class Bound:
    """One bound of the config: `where` is a slice as the config names it, "" for all clouds.

    The metric of a difference is an end of its interval; the limit of over_trivial is the margin.
    """

    metric: str
    where: str
    kind: Kind
    limit: float
    optional: bool = False


def bounds_of(settings: EvaluationSettings, categories: tuple[Category, ...]) -> tuple[Bound, ...]:
    """Every bound; UserError `bad_config`: one is on a part or category that the data lacks."""
    found: list[Bound] = []
    for metric, where, bounds in _configured(settings, categories):
        for kind in _LIMITS:
            if (limit := getattr(bounds, kind, None)) is not None:
                found.append(Bound(metric, where, kind, limit, bounds.optional))
        if (wanted := getattr(bounds, "difference", "any")) != "any":
            end = DIFFERENCE_LOW if wanted == "better" else DIFFERENCE_HIGH
            found.append(Bound(f"{end}/{metric}", where, "difference", 0.0, bounds.optional))
        margin = settings.margin_over_trivial
        if metric.partition("/")[0] in PART_METRICS and margin is not None:
            found.append(Bound(metric, where, "over_trivial", margin, bounds.optional))
    return tuple(found)


def evaluation_config(
    settings: EvaluationSettings, categories: tuple[Category, ...], code_fingerprint: str = ""
) -> tfma.EvalConfig:
    """What TFMA measures and checks; `settings_of` and `categories_of` read it back.

    UserError: as `bounds_of`.
    """
    thresholds: dict[str, config_pb2.PerSliceMetricThresholds] = {}
    for bound in bounds_of(settings, categories):
        if bound.kind != "over_trivial":
            # Without a slice, TFMA would apply the bound to every slice.
            thresholds.setdefault(
                bound.metric, config_pb2.PerSliceMetricThresholds()
            ).thresholds.add(slicing_specs=[_slices(bound.where)], threshold=_threshold(bound))
    metric = tfma.MetricConfig(
        class_name=SegmentationMetrics.__name__,
        module=SegmentationMetrics.__module__,
        config=json.dumps(
            {
                "categories": [category.to_json() for category in categories],
                "evaluation": settings.model_dump(mode="json"),
                "code_fingerprint": code_fingerprint,
            }
        ),
    )
    sliced_by = ["", CLOUD_SIZE, *([CATEGORY] if len(categories) > 1 else [])]
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name=EVALUATE_SIGNATURE)],
        slicing_specs=[_slices(feature) for feature in sliced_by],
        metrics_specs=[tfma.MetricsSpec(metrics=[metric], per_slice_thresholds=thresholds)],
    )


def read_config(config: tfma.EvalConfig) -> tuple[EvaluationSettings, tuple[Category, ...]]:
    """What `evaluation_config` was made from."""
    value = json.loads(config.metrics_specs[0].metrics[0].config)
    categories = tuple(Category.from_json(category) for category in value["categories"])
    return EvaluationSettings.model_validate(value["evaluation"]), categories


def _configured(
    settings: EvaluationSettings, categories: tuple[Category, ...]
) -> Iterator[tuple[str, str, Bounds]]:
    """Each metric's key with its slice and bounds."""
    parts = part_names(categories)
    for metric in METRICS:
        general = getattr(settings, metric.key)
        if metric.kind != "part":
            yield metric.key, "", general
            continue
        single = getattr(settings, f"{metric.key}_of")
        _refuse_unknown(f"evaluation.{metric.key}_of", single, parts, "parts")
        for part in parts:
            yield f"{metric.key}/{part}", "", single.get(part, general)
    known = [category.name for category in categories]
    for name, thresholds in settings.slices.items():
        feature, _, value = name.partition("=")
        if feature == CATEGORY:
            _refuse_unknown("evaluation.slices", [value] if value else [], known, "categories")
            if len(known) == 1:
                name = ""  # the slice is all clouds
        for metric in METRICS:
            if metric.on_slices:
                yield metric.key, name, getattr(thresholds, metric.key)


def _refuse_unknown(key: str, named: Iterable[str], known: Sequence[str], what: str) -> None:
    unknown = [name for name in named if name not in known]
    if unknown:
        raise UserError(
            "bad_config",
            f"{key} names {unknown[0]!r}, which the data does not have; its {what} are "
            f"{', '.join(known)}.",
        )


def _slices(where: str) -> tfma.SlicingSpec:
    feature, _, value = where.partition("=")
    if value:
        return tfma.SlicingSpec(feature_values={feature: value})
    return tfma.SlicingSpec(feature_keys=[feature] if feature else [])


def _threshold(bound: Bound) -> tfma.MetricThreshold:
    if bound.kind in ("minimum", "maximum"):
        end = "lower_bound" if bound.kind == "minimum" else "upper_bound"
        value = tfma.GenericValueThreshold(**{end: {"value": bound.limit}})
        return tfma.MetricThreshold(value_threshold=value)
    rise = bound.kind == "largest_rise"
    direction = (
        tfma.MetricDirection.LOWER_IS_BETTER if rise else tfma.MetricDirection.HIGHER_IS_BETTER
    )
    limit = bound.limit if rise else -bound.limit
    change = tfma.GenericChangeThreshold(direction=direction, absolute={"value": limit})
    return tfma.MetricThreshold(change_threshold=change)
