"""Sums over the rows that a maximum picked: the two sparse products of a pooled layer's gradient.

A maximum over points picks, for each of a cloud's O channels, one of the batch's M rows. With S
[O, M] holding weight[b, o] at (o, row[b, o]) the sums are S x and S' W. Written in `keras.ops` they
go through [B O, I] gathered or repeated rows; TensorFlow's sparse product on a CPU does without,
and takes about half the time. It cannot be compiled by XLA. On a GPU neither way is repeatable to
the last bit: both add in the order in which threads come.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
from keras import ops


def picked_rows(rows: Any, weights: Any, inputs: Any) -> Any:
    """Each channel's weighted sum of the rows picked for it.

    Args:
      rows: int64 [O, B], picked row of `inputs` for each channel and cloud.
      weights: float [O, B].
      inputs: float [M, I].

    Returns:
      sum_b weights[o, b] inputs[rows[o, b]], [O, I], in the type of the weights.
    """
    if _has_sparse_product():
        return _sparse_product(rows, weights, inputs)
    picked = ops.cast(ops.take(inputs, rows, axis=0), weights.dtype)
    # [O, B, I] -> [O, I]
    return ops.sum(picked * weights[:, :, None], axis=1)


def scattered_rows(rows: Any, weights: Any, kernel: Any, num_rows: Any) -> Any:
    """Each channel's row of the kernel, weighted and added to the rows picked for the channel.

    Args:
      rows: int64 [O, B], picked row for each channel and cloud.
      weights: float [O, B].
      kernel: float [O, I].
      num_rows: M.

    Returns:
      [M, I]: the sum of weights[o, b] kernel[o] over all o, b with rows[o, b] = m.
    """
    if _has_sparse_product():
        return _sparse_product(rows, weights, kernel, num_rows)
    updates = ops.reshape(weights[:, :, None] * kernel[:, None], (-1, kernel.shape[-1]))
    return ops.segment_sum(updates, ops.reshape(rows, (-1,)), num_segments=num_rows)


@cache
def _has_sparse_product() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _sparse_product(rows: Any, weights: Any, dense: Any, num_rows: Any = None) -> Any:
    """S dense, or S' dense where num_rows is given, with TensorFlow."""
    import tensorflow as tf

    shape = tf.shape(rows, out_type=tf.int64)
    channels = tf.repeat(tf.range(shape[0]), shape[1])
    picked = tf.reshape(rows, [-1])
    pair = [channels, picked] if num_rows is None else [picked, channels]
    height = shape[0] if num_rows is None else tf.cast(num_rows, tf.int64)
    width = tf.shape(dense, out_type=tf.int64)[0]
    return tf.raw_ops.SparseTensorDenseMatMul(
        a_indices=tf.stack(pair, axis=1),
        a_values=tf.reshape(weights, [-1]),
        a_shape=tf.stack([height, width]),
        b=tf.cast(dense, weights.dtype),
    )
