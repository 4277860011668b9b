"""Part-segmentation metrics for TFMA, over all points of every cloud.

The exported model's signature `evaluate` counts each cloud's points by true and predicted part.
These counts are added up, in any order, and become the values of `model/measurements.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.utils import model_util
from tensorflow_model_analysis.writers import eval_config_writer

from model.bootstrap import replicate_tally
from model.export.signatures import CALIBRATION, CONFUSION
from model.measurements import differences, measurements, metric_names
from model.metric_table import DIFFERENCE_HIGH, DIFFERENCE_LOW, HEADLINES
from model.metrics import CategoryTally, merge, tally_cloud
from schema.categories import Category
from schema.record import CATEGORY, SHAPE_ID

CANDIDATE, BASELINE = "candidate", "baseline"
# A slice as TFMA keys it: () for all clouds, or (feature, value).
Slice = tuple[tuple[str, Any], ...]
ALL_CLOUDS: Slice = ()
# By category name: the tally, and the same in each resampled set.
Counted = tuple[dict[str, CategoryTally], dict[str, np.ndarray]]
_TALLIES = "_segmentation_tallies"


class SegmentationMetrics(tfma.metrics.Metric):
    """All values in one pass; `categories` as Category.to_json gives them, in the model's order.

    The rest of the config is for the verdict and for TFX's cache.
    """

    def __init__(self, **config: Any):
        super().__init__(metric_util.merge_per_key_computations(_computations), **config)


metric_types.register_metric(SegmentationMetrics)


def _computations(
    categories: list[dict],
    eval_config: Any = None,
    model_name: str = "",
    output_name: str = "",
    **_: Any,
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
            measured.update(differences(replicates, others, measured["clouds"]))
        return {keys[metric]: value for metric, value in measured.items()}

    inputs = metric_types.StandardMetricInputsPreprocessor(
        include_filter={"features": {SHAPE_ID: {}}}
    )
    return [
        metric_types.MetricComputation(
            keys=[tallies], preprocessors=[inputs], combiner=_TallyClouds(table, tallies)
        ),
        metric_types.DerivedMetricComputation(keys=list(keys.values()), result=results),
    ]


class _TallyClouds(beam.CombineFn):
    """Adds up the tallies of each category's clouds."""

    def __init__(self, categories: tuple[Category, ...], key: metric_types.MetricKey):
        self.categories = categories
        self.key = key

    def create_accumulator(self) -> Counted:
        return {}, {}

    def add_input(self, accumulator: Counted, element: Any) -> Counted:
        predictions = element.predictions
        if CONFUSION not in predictions:  # one answer a model if there is a baseline
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
        merged: dict[str, list[CategoryTally]] = {}
        replicates: dict[str, np.ndarray] = {}
        for tallies, resampled in accumulators:
            for name, tally in tallies.items():
                merged.setdefault(name, []).append(tally)
                replicates[name] = replicates.get(name, 0) + resampled[name]
        return {name: merge(tallies) for name, tallies in merged.items()}, replicates

    def extract_output(self, accumulator: Counted) -> dict:
        return {self.key: accumulator}


def metrics_by_slice(evaluation: str, model: str) -> dict[Slice, dict[str, float]]:
    """What the Evaluator wrote into its folder, by slice and key.

    `model` is CANDIDATE or BASELINE; empty if there was no such model.
    """
    names = set(eval_config_writer.load_eval_run(evaluation)[3])
    name = "" if names == {""} and model == CANDIDATE else model  # "": there was no baseline
    if name not in names:
        return {}
    result = tfma.load_eval_result(evaluation, model_name=name)
    ours = {f"{end}/{key}_diff" for end in (DIFFERENCE_LOW, DIFFERENCE_HIGH) for key in HEADLINES}
    return {
        tuple(key): {
            # TFMA marks differences by an ending. JSON has no NaN: it comes as text.
            metric.removesuffix("_diff"): float(value["doubleValue"])
            for metric, value in outputs[""][""].items()
            if "doubleValue" in value and (metric in ours or not metric.endswith("_diff"))
        }
        for key, outputs in result.slicing_metrics
    }


def slice_title(key: Slice) -> str:
    """The slice for people: "all clouds", "category Chair"."""
    return ", ".join(f"{feature} {value}" for feature, value in key) or "all clouds"
