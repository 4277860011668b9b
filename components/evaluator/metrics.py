"""What the Evaluator wrote, as plain values: metrics by key, a sentence for each missed bound."""

from __future__ import annotations

import math
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.writers import eval_config_writer


def overall_metrics(evaluation: str, model: str) -> dict[str, float]:
    """A model's metrics on all test clouds.

    Args:
      evaluation: the Evaluator's output folder.
      model: "candidate" or "baseline".

    Returns:
      Value by key; empty if there was no such model.
    """
    names = set(eval_config_writer.load_eval_run(evaluation)[3])
    name = "" if names == {""} and model == "candidate" else model  # "": no baseline took part
    if name not in names:
        return {}
    found = tfma.load_eval_result(evaluation, model_name=name)
    overall = dict(found.slicing_metrics)[()]
    # JSON has no NaN: it comes as text.
    return {key: float(value["doubleValue"]) for key, value in overall[""][""].items()}


def failed_bounds(validation: Any) -> list[str]:
    """A sentence for each bound that the model missed.

    Args:
      validation: TFMA's ValidationResult.
    """
    sentences = []
    for per_slice in validation.metric_validations_per_slice:
        for failure in per_slice.failures:
            sentences.append(_failure(failure))
    if not validation.validation_ok and not sentences:
        sentences.append("no bound was checked; set at least one under evaluation")
    return sentences


def _failure(failure: Any) -> str:
    name = _metric_title(failure.metric_key.name)
    measured = failure.metric_value.double_value.value
    if failure.message:
        return f"{name}: {failure.message}"
    threshold = failure.metric_threshold
    if failure.metric_key.is_diff:
        lost = -measured
        allowed = -threshold.change_threshold.absolute.value
        return (
            f"{name} fell by {lost:.4f} below the blessed model; at most {allowed:.4f} may be lost"
        )
    needed = threshold.value_threshold.lower_bound.value
    if math.isnan(measured):
        return f"{name} could not be measured; at least {needed:.4f} is needed"
    missing = f"{needed - measured:.4f} missing"
    return f"{name} is {measured:.4f}; at least {needed:.4f} is needed ({missing})"


def _metric_title(key: str) -> str:
    metric, _, part = key.partition("/")
    title = metric.replace("_", " ").replace("miou", "mIoU").replace("iou", "IoU")
    return f"{title} of {part}" if part else title
