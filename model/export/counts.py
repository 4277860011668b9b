"""The counts of `model.metrics` for a batch of clouds, in TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from model.metrics import CALIBRATION_BINS, PROBABILITY_UNIT


def confusion_counts(truth: tf.Tensor, predicted: tf.Tensor, num_parts: int) -> tf.Tensor:
    """Each cloud's `metrics.confusion`, int64 [B, K, K + 1].

    `truth` and `predicted` are int64 [B, N]: parts, or -1 for unannotated and for no answer.
    """
    batch = tf.shape(truth, tf.int64)[0]
    cells = num_parts * (num_parts + 1)
    column = tf.where(predicted >= 0, predicted, tf.constant(num_parts, tf.int64))
    row = tf.range(batch)[:, tf.newaxis] * num_parts + truth
    cell = tf.where(truth >= 0, row * (num_parts + 1) + column, tf.constant(-1, tf.int64))
    flat = tf.reshape(cell, [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, batch * cells)
    return tf.reshape(counts, [-1, num_parts, num_parts + 1])


def calibration_counts(truth: tf.Tensor, predicted: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """Each cloud's `metrics.calibration_counts`, int64 [B, CALIBRATION_BINS, 3].

    `truth` and `predicted` as above; `probability`, float32 [B, N], is the answer's.
    """
    batch = tf.shape(truth, tf.int64)[0]
    counted = (truth >= 0) & (predicted >= 0)
    confidence = tf.where(counted, probability, 0.0)
    place = tf.cast(confidence * CALIBRATION_BINS, tf.int64)
    place = tf.clip_by_value(place, 0, CALIBRATION_BINS - 1)
    cell = tf.range(batch)[:, tf.newaxis] * CALIBRATION_BINS + place
    cell = tf.reshape(tf.where(counted, cell, tf.constant(-1, tf.int64)), [-1])
    units = tf.cast(tf.round(tf.cast(confidence, tf.float64) / PROBABILITY_UNIT), tf.int64)
    right = tf.cast(truth == predicted, tf.int64)
    values = tf.reshape(tf.stack([tf.ones_like(units), right, units], axis=2), [-1, 3])
    sums = tf.math.unsorted_segment_sum(values, cell, batch * CALIBRATION_BINS)
    return tf.reshape(sums, [-1, CALIBRATION_BINS, 3])
