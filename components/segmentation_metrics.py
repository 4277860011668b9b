"""Part-segmentation metrics for TFMA, over all points of every cloud.

The exported model's `evaluate` signature counts each cloud's points by true and predicted part;
here these counts are added up and turned into the metrics of `model/metrics.py`, which says what
each of them means. Sums of counts are the same however Beam groups the clouds.

Keys, each in the convention that model/metrics.py documents:
    clouds, points, point_accuracy, mean_class_accuracy, calibration_error,
    instance_miou, category_miou, instance_miou_of_present_parts,
    part_accuracy/<part>, part_iou/<part>, part_points/<part>,
    confusion/<true part>/<predicted part or "no answer">
and, of the headlines of model/bootstrap.py, in sets of clouds drawn anew:
    interval_low/<headline>, interval_high/<headline>, replicates/<headline> (an array)
and, where a baseline takes part, of the model's headline less the baseline's on the same sets:
    difference_low/<headline>, difference_high/<headline>
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.utils import model_util

from model.bootstrap import HEADLINES, interval, replicate_scores, replicate_tally
from model.export.signatures import CALIBRATION, CONFUSION
from model.metrics import CategoryTally, merge, score, tally_cloud
from schema.categories import Category, part_names
from schema.record import CATEGORY, SHAPE_ID

NO_ANSWER = "no answer"
DIFFERENCE_LOW, DIFFERENCE_HIGH = "difference_low", "difference_high"
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
    eval_config: Any = None,
    model_name: str = "",
    output_name: str = "",
) -> list:
    table = tuple(Category.from_json(value) for value in categories)
    spec = model_util.get_baseline_model_spec(eval_config) if eval_config else None
    baseline = spec.name if spec and spec.name != model_name else None

    def key(metric: str, model: str = model_name, is_diff: bool = False) -> metric_types.MetricKey:
        # example_weighted stays None: thresholds find a key by its name alone only then.
        return metric_types.MetricKey(
            metric,
            model_name=model,
            output_name=output_name,
            example_weighted=None,
            is_diff=is_diff,
        )

    tallies = key(_TALLIES)
    keys = {metric: key(metric) for metric in metric_names(table)}
    for name in HEADLINES if baseline is not None else ():
        for end in (DIFFERENCE_LOW, DIFFERENCE_HIGH):
            keys[f"{end}/{name}"] = key(f"{end}/{name}", is_diff=True)

    def results(values: dict) -> dict:
        counted, replicates = values[tallies]
        measured = measurements(counted, table, replicates)
        if baseline is not None:
            _, others = values[key(_TALLIES, baseline)]
            clouds = measured["clouds"]
            measured.update(differences(replicates, others, clouds))
        return {keys[metric]: value for metric, value in measured.items()}

    return [
        metric_types.MetricComputation(
            keys=[tallies],
            preprocessors=[
                metric_types.StandardMetricInputsPreprocessor(
                    include_filter={"features": {SHAPE_ID: {}}}
                )
            ],
            combiner=_TallyClouds(table, tallies),
        ),
        metric_types.DerivedMetricComputation(keys=list(keys.values()), result=results),
    ]


# Of each category, by its name: what was counted, and the same in each resampled set.
Counted = tuple[dict[str, CategoryTally], dict[str, np.ndarray]]


class _TallyClouds(beam.CombineFn):
    """Adds up the tallies of each category's clouds."""

    def __init__(self, categories: tuple[Category, ...], key: metric_types.MetricKey):
        self.categories = categories
        self.key = key

    def create_accumulator(self) -> Counted:
        return {}, {}

    def add_input(self, accumulator: Counted, element: Any) -> Counted:
        predictions = element.predictions
        if CONFUSION not in predictions:  # one answer a model, where a baseline takes part
            predictions = predictions[self.key.model_name]
        category = self.categories[int(np.ravel(predictions[CATEGORY])[0])]
        counts, calibration = (
            np.asarray(predictions[name]).reshape(np.shape(predictions[name])[-2:])
            for name in (CONFUSION, CALIBRATION)
        )
        tally = tally_cloud(counts, len(category.parts), calibration)
        (shape_id,) = np.ravel(element.features[SHAPE_ID])
        one = ({category.name: tally}, {category.name: replicate_tally(shape_id.decode(), tally)})
        return self.merge_accumulators([accumulator, one])

    def merge_accumulators(self, accumulators: Iterable[Counted]) -> Counted:
        found: dict[str, list[CategoryTally]] = {}
        replicates: dict[str, np.ndarray] = {}
        for tallies, resampled in accumulators:
            for name, tally in tallies.items():
                found.setdefault(name, []).append(tally)
                replicates[name] = replicates.get(name, 0) + resampled[name]
        return {name: merge(tallies) for name, tallies in found.items()}, replicates

    def extract_output(self, accumulator: Counted) -> dict:
        return {self.key: accumulator}


def metric_names(categories: tuple[Category, ...]) -> list[str]:
    """The keys that `measurements` gives, in its order."""
    return list(measurements({}, categories, {}))


def measurements(
    tallies: dict[str, CategoryTally],
    categories: tuple[Category, ...],
    replicates: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Every metric's value by its key; NaN for what cannot be measured.

    Args:
      tallies: what was counted of each category, by its name; one without clouds is left out.
      categories: all categories that the model knows.
      replicates: the same in each resampled set of clouds, see model/bootstrap.py.
    """
    scores = score(tallies)
    values: dict[str, Any] = {
        "clouds": float(scores.clouds),
        "points": float(scores.points),
        "point_accuracy": scores.point_accuracy,
        "mean_class_accuracy": scores.mean_class_accuracy,
        "calibration_error": scores.calibration_error,
        "instance_miou": scores.instance_miou,
        "category_miou": scores.category_miou,
        "instance_miou_of_present_parts": scores.instance_miou_of_present_parts,
    }
    resampled = replicate_scores(replicates)
    for name in HEADLINES:
        low, high = interval(resampled[name], scores.clouds)
        values[f"interval_low/{name}"], values[f"interval_high/{name}"] = low, high
        values[f"replicates/{name}"] = resampled[name]
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


def differences(
    replicates: dict[str, np.ndarray], others: dict[str, np.ndarray], clouds: float
) -> dict[str, float]:
    """Between what numbers a model's headlines less another one's lie, by key.

    Args:
      replicates: what was counted of the model in each resampled set of clouds.
      others: the same of the other model.
      clouds: how many were measured.
    """
    mine, theirs = replicate_scores(replicates), replicate_scores(others)
    values = {}
    for name in HEADLINES:
        low, high = interval(mine[name] - theirs[name], clouds)
        values[f"{DIFFERENCE_LOW}/{name}"], values[f"{DIFFERENCE_HIGH}/{name}"] = low, high
    return values
