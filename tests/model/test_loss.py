"""The cross-entropy against NumPy, and at its edges."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from model.loss import class_weights, cross_entropy


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.integers(-1, 4, (3, 50)), rng.normal(size=(3, 50, 4)) * 5


@pytest.mark.parametrize("weights", [None, [2.0] * 4, [0.5, 1.0, 0.0, 3.0]])
def test_weighted_mean_over_annotated_points(batch, weights):
    labels, logits = batch
    log_probability = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_probability, np.maximum(labels, 0)[..., None], -1)[..., 0]
    of_class = np.array([1.0] * 4 if weights is None else weights)
    point_weights = np.where(labels >= 0, of_class[np.maximum(labels, 0)], 0.0)
    expected = np.average(losses, weights=point_weights)
    assert float(cross_entropy(labels, logits, weights)) == pytest.approx(expected, rel=1e-12)
    changed = np.where(labels[..., None] < 0, 1e4, logits)
    assert float(cross_entropy(labels, changed, weights)) == pytest.approx(expected, rel=1e-12)


def test_nothing_annotated_is_zero_with_zero_gradient():
    logits = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 3)))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(np.full((2, 5), -1), logits)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, logits), 0.0)


def test_low_precision_and_excluded_logits_are_measured_in_float32(batch):
    labels, logits = batch
    rounded = ops.cast(np.where(np.arange(4) == 3, -1e9, logits), "bfloat16")
    labels = np.minimum(labels, 2)
    loss = cross_entropy(labels, rounded)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    expected = float(cross_entropy(labels, ops.cast(rounded, "float64")))
    assert np.isfinite(expected) and float(loss) == pytest.approx(expected, rel=1e-6)


def test_rare_classes_weigh_more_within_bounds():
    points = np.array([400, 100, 1, 0])
    assert class_weights(points, "inverse_frequency") == [1.0, 4.0, 10.0, 1.0]
    assert class_weights(points, "inverse_sqrt") == [1.0, 2.0, 10.0, 1.0]
    assert class_weights(np.array([64, 0, 16]), "inverse_sqrt") == [1.0, 1.0, 2.0]
    assert class_weights(np.zeros(2), "inverse_sqrt") == [1.0, 1.0]
