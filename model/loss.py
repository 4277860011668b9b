"""What training minimises: cross-entropy over annotated points, and orthogonality per cloud.

    labels int [B, N], logits [B, N, K]  -> cross_entropy   scalar
    feature transform [B, C, C]          -> orthogonality   scalar

Both are computed in float32 at least, whatever the network's compute type is.
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
    """Mean cross-entropy over all annotated points of the batch.

    Each annotated point counts alike, so a cloud with more of them counts more. With class weights
    it is the weighted mean, sum(weight * loss) / sum(weight), each point weighing what its label's
    class weighs.

    Args:
      labels: int [B, N], class of each point; -1 counts nowhere.
      logits: float [B, N, K].
      class_weights: K non-negative weights, or None for equal ones.

    Returns:
      A scalar; 0 if no point is annotated.
    """
    logits = _at_least_float32(logits)
    labels = ops.convert_to_tensor(labels)
    annotated = ops.not_equal(labels, UNANNOTATED)
    classes = ops.where(annotated, labels, ops.zeros_like(labels))
    losses = ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
    weights = ops.cast(point_weights(labels, class_weights), logits.dtype)
    total = ops.sum(weights)
    # Where nothing is annotated the sum above the line is 0 as well.
    return ops.sum(losses * weights) / ops.where(total > 0, total, ops.ones_like(total))


def point_weights(labels: Any, class_weights: Sequence[float] | None = None) -> Any:
    """What each point counts in `cross_entropy`: float [B, N], 0 where it is unannotated.

    Args:
      labels: int [B, N]; -1 unannotated.
      class_weights: K non-negative weights, or None for equal ones.
    """
    labels = ops.convert_to_tensor(labels)
    annotated = ops.not_equal(labels, UNANNOTATED)
    if class_weights is None:
        return ops.cast(annotated, "float32")
    classes = ops.where(annotated, labels, ops.zeros_like(labels))
    weights = ops.take(ops.convert_to_tensor(class_weights), classes)
    return ops.where(annotated, weights, ops.zeros_like(weights))


def class_weights(class_points: Any, kind: str) -> list[float]:
    """Weights that let classes of few points count more.

    Args:
      class_points: int [K], annotated points of each class in the training split.
      kind: inverse_sqrt, the square root of how many times as many points the largest class has;
        inverse_frequency, that number itself.

    Returns:
      K weights from 1, the largest class's, to `LARGEST_CLASS_WEIGHT`: a class of a handful of
      points, often mislabelled ones, must not outweigh the rest. A class without a point has 1; it
      weighs nothing, since a point weighs what its label's class weighs.
    """
    points = np.asarray(class_points, np.float64)
    ratios = points.max(initial=0) / np.where(points > 0, points, np.inf)
    if kind == "inverse_sqrt":
        ratios = np.sqrt(ratios)
    weights = np.where(points > 0, np.minimum(ratios, LARGEST_CLASS_WEIGHT), 1.0)
    return [float(weight) for weight in weights]


def orthogonality(transform: Any, weight: float) -> Any:
    """How far each cloud's transform is from a rotation: weight * mean_b ||T_b T_b' - I||_F^2.

    Each cloud's matrix meets only itself, and the mean over clouds makes the loss independent of
    the batch size (appendix C, equation 2).

    Args:
      transform: float [B, C, C].
      weight: factor of the loss; 1e-3 in the paper.

    Returns:
      A scalar.
    """
    transform = _at_least_float32(transform)
    gram = ops.matmul(transform, ops.transpose(transform, (0, 2, 1)))
    distance = gram - ops.eye(transform.shape[-1], dtype=transform.dtype)
    # Not `ops.mean`, which on JAX rounds float64 to float32.
    return weight * ops.sum(ops.square(distance)) / ops.cast(ops.shape(gram)[0], gram.dtype)


def _at_least_float32(tensor: Any) -> Any:
    tensor = ops.convert_to_tensor(tensor)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return tensor if dtype == "float64" else ops.cast(tensor, "float32")
