"""What the Evaluator measured, as plain values by slice and key."""

from __future__ import annotations

from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.writers import eval_config_writer

from components.segmentation_metrics import DIFFERENCE_HIGH, DIFFERENCE_LOW

CANDIDATE, BASELINE = "candidate", "baseline"
# A slice as TFMA keys it: () for all clouds, or (feature, value).
Slice = tuple[tuple[str, Any], ...]
ALL_CLOUDS: Slice = ()


def metrics_by_slice(evaluation: str, model: str) -> dict[Slice, dict[str, float]]:
    """A model's metrics, by slice and key; empty if there was no such model.

    Args:
      evaluation: the Evaluator's output folder.
      model: CANDIDATE or BASELINE.
    """
    names = set(eval_config_writer.load_eval_run(evaluation)[3])
    name = "" if names == {""} and model == CANDIDATE else model  # "": no baseline took part
    if name not in names:
        return {}
    found = tfma.load_eval_result(evaluation, model_name=name)
    return {
        tuple(key): {
            # JSON has no NaN: it comes as text.
            _own_name(metric): float(value["doubleValue"])
            for metric, value in outputs[""][""].items()
            if "doubleValue" in value
        }
        for key, outputs in found.slicing_metrics
    }


def _own_name(metric: str) -> str:
    """Our key: TFMA marks what compares two models by an ending."""
    ours = metric.startswith((f"{DIFFERENCE_LOW}/", f"{DIFFERENCE_HIGH}/"))
    return metric.removesuffix("_diff") if ours else metric


def overall_metrics(evaluation: str, model: str) -> dict[str, float]:
    """A model's metrics on all test clouds, by key; empty if there was no such model."""
    return metrics_by_slice(evaluation, model).get(ALL_CLOUDS, {})


def slice_title(key: Slice) -> str:
    """The slice as a person reads it: "all clouds", "category Chair"."""
    return ", ".join(f"{feature} {value}" for feature, value in key) or "all clouds"
