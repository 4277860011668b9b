"""Draws a fixed number of points from each cloud of a batch.

Every point gets a pseudo-random score from the row's seed and its own index, by SplitMix64's
finaliser (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195); the lowest scores are drawn.
A draw therefore depends on the seed and the cloud's size only, not on batch, padding or worker.
"""

from __future__ import annotations

import tensorflow as tf

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def _mix(value: tf.Tensor) -> tf.Tensor:
    """SplitMix64's finaliser, elementwise on uint64."""

    def shifted(x: tf.Tensor, bits: int) -> tf.Tensor:
        return tf.bitwise.right_shift(x, tf.constant(bits, tf.uint64))

    value = tf.bitwise.bitwise_xor(value, shifted(value, 30)) * tf.constant(_FIRST, tf.uint64)
    value = tf.bitwise.bitwise_xor(value, shifted(value, 27)) * tf.constant(_SECOND, tf.uint64)
    return tf.bitwise.bitwise_xor(value, shifted(value, 31))


def seeds_from_shape_ids(shape_ids: tf.Tensor, seed: int) -> tf.Tensor:
    """One seed a cloud, string [B] to int64 [B]; the same on every machine and in every run."""
    hashes = tf.strings.to_hash_bucket_fast(shape_ids, 2**63 - 1)
    return tf.bitwise.bitwise_xor(hashes, tf.constant(seed, tf.int64))


def draw_indices(
    seeds: tf.Tensor, num_points: tf.Tensor, padded_points: tf.Tensor | int, count: int
) -> tf.Tensor:
    """Indices of P = `count` points a cloud, int32 [B, P], each below its cloud's num_points.

    Without replacement where the cloud has that many points; otherwise every point once, and then
    again in the same order until there are enough (exact for a max-pooled network). `seeds` is
    int64 [B], `num_points` [B] at least 1, `padded_points` the padded size N of the batch.
    """
    counters = (tf.cast(tf.range(padded_points), tf.uint64) + 1) * tf.constant(_GOLDEN, tf.uint64)
    scores = _mix(tf.bitcast(seeds, tf.uint64)[:, tf.newaxis] + counters[tf.newaxis, :])
    # 62 bits: padding, at the largest int64, always sorts after every point.
    scores = tf.cast(tf.bitwise.right_shift(scores, tf.constant(2, tf.uint64)), tf.int64)
    sizes = tf.cast(num_points, tf.int32)[:, tf.newaxis]  # [B, 1]
    scores = tf.where(tf.range(padded_points)[tf.newaxis, :] < sizes, scores, tf.int64.max)
    order = tf.argsort(scores, axis=1)  # [B, N]
    places = tf.range(count)[tf.newaxis, :] % tf.maximum(sizes, 1)  # [B, P]
    return tf.gather(order, places, batch_dims=1)
