"""Losses: cross-entropy over annotated points, with optional class weights.

Computed in float32, or float64 for float64 logits, whatever the network's compute type is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from schema.record import UNANNOTATED

LARGEST_CLASS_WEIGHT = 10.0


def cross_entropy(labels: Any, logits: Any, class_weights: Sequence[float] | None = None) -> Any:
    """Mean cross-entropy over the annotated points of the batch, a scalar; 0 without any.

    Takes labels int [B, N], -1 unannotated, and logits [B, N, K]. With K class weights it is the
    weighted mean, sum(weight * loss) / sum(weight). All points of the batch have the same weight,
    so that a cloud with more annotated points counts more.
    """
    logits = _at_least_float32(logits)
    labels = ops.convert_to_tensor(labels)
    annotated = ops.not_equal(labels, UNANNOTATED)
    classes = ops.where(annotated, labels, ops.zeros_like(labels))
    losses = ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
    weights = ops.cast(point_weights(labels, class_weights), logits.dtype)
    total = ops.sum(weights)
    # Without an annotated point both sums are 0.
    return ops.sum(losses * weights) / ops.where(total > 0, total, ops.ones_like(total))


def point_weights(labels: Any, class_weights: Sequence[float] | None = None) -> Any:
    """Weight of each point in `cross_entropy`, float [B, N]; 0 where the label is -1."""
    labels = ops.convert_to_tensor(labels)
    annotated = ops.not_equal(labels, UNANNOTATED)
    if class_weights is None:
        return ops.cast(annotated, "float32")
    classes = ops.where(annotated, labels, ops.zeros_like(labels))
    weights = ops.take(ops.convert_to_tensor(class_weights), classes)
    return ops.where(annotated, weights, ops.zeros_like(weights))


def class_weights(class_points: Any, kind: str) -> list[float]:
    """K weights from the annotated points of each class in train, int [K].

    "inverse_frequency" is the largest class's points divided by the class's, "inverse_sqrt" its
    square root; at most LARGEST_CLASS_WEIGHT, so that a handful of points, often mislabelled ones,
    does not outweigh the rest. A class without points has weight 1, which has no effect.
    """
    points = np.asarray(class_points, np.float64)
    ratios = points.max(initial=0) / np.where(points > 0, points, np.inf)
    if kind == "inverse_sqrt":
        ratios = np.sqrt(ratios)
    weights = np.where(points > 0, np.minimum(ratios, LARGEST_CLASS_WEIGHT), 1.0)
    return [float(weight) for weight in weights]


def _at_least_float32(tensor: Any) -> Any:
    tensor = ops.convert_to_tensor(tensor)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return tensor if dtype == "float64" else ops.cast(tensor, "float32")
