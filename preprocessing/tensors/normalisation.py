"""The one normalisation, of Transform, training, evaluation and every serving signature."""

from __future__ import annotations

import tensorflow as tf

# Stored in the exported model's assets; increase it when the rule below changes.
NORMALISATION_VERSION = 1


def normalise(points: tf.Tensor, valid: tf.Tensor | None = None) -> tf.Tensor:
    """Centres each cloud on its centroid and divides by its largest radius.

    Sums are float64, so that neither padding nor the other clouds of the batch change a float32
    value. A cloud of zero radius stays at the origin.

    Takes raw coordinates, float32 [B, N, 3], and gives the same shape, padding at the origin.
    `valid`, bool [B, N], is False in padding, whose coordinates are ignored; None: no padding.
    """
    # By axis: TensorFlow is several times faster on [B, N] than along an axis of length three.
    axes = [tf.cast(axis, tf.float64) for axis in tf.unstack(points, axis=2)]  # 3 of [B, N]
    if valid is None:
        count = tf.cast(tf.shape(points)[1], tf.float64)
    else:
        axes = [tf.where(valid, axis, tf.zeros_like(axis)) for axis in axes]
        count = tf.reduce_sum(tf.cast(valid, tf.float64), axis=1, keepdims=True)
        count = tf.maximum(count, 1.0)
    axes = [axis - tf.reduce_sum(axis, axis=1, keepdims=True) / count for axis in axes]
    if valid is not None:
        axes = [tf.where(valid, axis, tf.zeros_like(axis)) for axis in axes]
    squares = tf.add_n([tf.square(axis) for axis in axes])
    radius = tf.sqrt(tf.reduce_max(squares, axis=1, keepdims=True))  # [B, 1]
    radius = tf.where(radius > 0, radius, tf.ones_like(radius))
    return tf.stack([tf.cast(axis / radius, tf.float32) for axis in axes], axis=2)
