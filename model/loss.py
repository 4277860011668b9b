"""What training minimises: cross-entropy over annotated points, and orthogonality per cloud.

    labels int [B, N], logits [B, N, K]  -> cross_entropy   scalar
    feature transform [B, C, C]          -> orthogonality   scalar

Both are computed in float32 at least, whatever the network's compute type is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from schema.record import UNANNOTATED

# The paper's weight of the orthogonality loss (appendix C).
ORTHOGONALITY_WEIGHT = 1e-3


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
    weights = ops.cast(annotated, logits.dtype)
    if class_weights is not None:
        weights = weights * ops.take(ops.convert_to_tensor(class_weights, logits.dtype), classes)
    total = ops.sum(weights)
    # Where nothing is annotated the sum above the line is 0 as well.
    return ops.sum(losses * weights) / ops.where(total > 0, total, ops.ones_like(total))


def orthogonality(transform: Any, weight: float = ORTHOGONALITY_WEIGHT) -> Any:
    """How far each cloud's transform is from a rotation: weight * mean_b ||T_b T_b' - I||_F^2.

    Each cloud's matrix meets only itself, and the mean over clouds makes the loss independent of
    the batch size (appendix C, equation 2).

    Args:
      transform: float [B, C, C].
      weight: factor of the loss.

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
