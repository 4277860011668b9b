"""Part-segmentation metrics for TFMA, over all points of every cloud.

The exported model's `evaluate` signature counts each cloud's points by true and predicted part;
here these counts are added up and turned into the metrics of `model/metrics.py`, which says what
each of them means. Sums of counts are the same however Beam groups the clouds.

Keys, each in the convention that model/metrics.py documents:
    point_accuracy, instance_miou, category_miou, instance_miou_of_present_parts, clouds,
    part_accuracy/<part>, part_iou/<part>, part_points/<part>,
    confusion/<true part>/<predicted part or "no answer">
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util

from model.metrics import CategoryTally, merge, score, tally_cloud
from model.signatures import CONFUSION
from schema.categories import Category, part_names
from schema.record import CATEGORY

NO_ANSWER = "no answer"
_TALLIES = "_segmentation_tallies"


class SegmentationMetrics(tfma.metrics.Metric):
    """All part-segmentation metrics, computed in one pass.

    Args:
      categories: as Category.to_json gives them, in the order of the model's categories.
      code_fingerprint: changes the Evaluator's parameters when this code changes, so that TFX does
        not take an older evaluation from its cache.
      name: TFMA's name of the metric; the keys do not depend on it.
    """

    def __init__(
        self,
        categories: list[dict],
        code_fingerprint: str = "",
        name: str = "segmentation_metrics",
    ):
        super().__init__(
            metric_util.merge_per_key_computations(_computations),
            categories=categories,
            code_fingerprint=code_fingerprint,
            name=name,
        )


metric_types.register_metric(SegmentationMetrics)


def _computations(
    categories: list[dict],
    code_fingerprint: str = "",
    name: str = "",
    model_name: str = "",
    output_name: str = "",
    **unused: Any,
) -> list:
    table = tuple(Category.from_json(value) for value in categories)

    def key(metric: str) -> metric_types.MetricKey:
        # example_weighted stays None: thresholds find a key by its name alone only then.
        return metric_types.MetricKey(
            metric, model_name=model_name, output_name=output_name, example_weighted=None
        )

    tallies = key(_TALLIES)
    keys = {metric: key(metric) for metric in metric_names(table)}

    def results(values: dict) -> dict:
        measured = measurements(values[tallies], table)
        return {keys[metric]: value for metric, value in measured.items()}

    return [
        metric_types.MetricComputation(
            keys=[tallies],
            preprocessors=None,
            combiner=_TallyClouds(table, tallies),
        ),
        metric_types.DerivedMetricComputation(keys=list(keys.values()), result=results),
    ]


class _TallyClouds(beam.CombineFn):
    """Adds up the tallies of each category's clouds."""

    def __init__(self, categories: tuple[Category, ...], key: metric_types.MetricKey):
        self.categories = categories
        self.key = key

    def create_accumulator(self) -> dict[str, CategoryTally]:
        return {}

    def add_input(
        self, accumulator: dict[str, CategoryTally], element: Any
    ) -> dict[str, CategoryTally]:
        predictions = element.predictions
        if CONFUSION not in predictions:  # one answer a model, where a baseline takes part
            predictions = predictions[self.key.model_name]
        category = self.categories[int(np.ravel(predictions[CATEGORY])[0])]
        counts = np.asarray(predictions[CONFUSION])
        counts = counts.reshape(counts.shape[-2:])
        tally = tally_cloud(counts, len(category.parts))
        return self.merge_accumulators([accumulator, {category.name: tally}])

    def merge_accumulators(
        self, accumulators: Iterable[dict[str, CategoryTally]]
    ) -> dict[str, CategoryTally]:
        found: dict[str, list[CategoryTally]] = {}
        for accumulator in accumulators:
            for name, tally in accumulator.items():
                found.setdefault(name, []).append(tally)
        return {name: merge(tallies) for name, tallies in found.items()}

    def extract_output(self, accumulator: dict[str, CategoryTally]) -> dict:
        return {self.key: accumulator}


def metric_names(categories: tuple[Category, ...]) -> list[str]:
    """The keys that `measurements` gives, in its order."""
    return list(measurements({}, categories))


def measurements(
    tallies: dict[str, CategoryTally], categories: tuple[Category, ...]
) -> dict[str, float]:
    """Every metric's value by its key; NaN for what cannot be measured.

    Args:
      tallies: what was counted of each category, by its name; one without clouds is left out.
      categories: all categories that the model knows.
    """
    scores = score(tallies)
    values: dict[str, float] = {
        "point_accuracy": scores.point_accuracy,
        "instance_miou": scores.instance_miou,
        "category_miou": scores.category_miou,
        "instance_miou_of_present_parts": scores.instance_miou_of_present_parts,
        "clouds": float(scores.clouds),
    }
    names = iter(part_names(categories))
    for category in categories:
        labels = [next(names) for _ in category.parts]
        found = scores.categories.get(category.name)
        count = len(category.parts)
        counts = tallies[category.name].counts if found else np.zeros((count, count + 1))
        for i, part in enumerate(labels):
            values[f"part_accuracy/{part}"] = float(found.part_accuracies[i]) if found else math.nan
            values[f"part_iou/{part}"] = float(found.part_ious[i]) if found else math.nan
            values[f"part_points/{part}"] = float(counts[i].sum())
            for j, predicted in enumerate([*labels, NO_ANSWER]):
                values[f"confusion/{part}/{predicted}"] = float(counts[i, j])
    return values
