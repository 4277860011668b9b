"""The losses against NumPy, and at their edges."""

import keras
import numpy as np
import pytest
from keras import ops

from model.loss import class_weights, cross_entropy, orthogonality


def softmax_losses(labels, logits):
    shifted = logits - logits.max(-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(log_probability, np.maximum(labels, 0)[..., None], -1)[..., 0]


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.integers(-1, 4, (3, 50)), rng.normal(size=(3, 50, 4)) * 5


def test_mean_over_annotated_points(batch):
    labels, logits = batch
    expected = softmax_losses(labels, logits)[labels >= 0].mean()
    assert float(cross_entropy(labels, logits)) == pytest.approx(expected, rel=1e-12)


def test_class_weights_weigh_points(batch):
    labels, logits = batch
    weights = np.array([0.5, 1.0, 0.0, 3.0])
    point_weights = np.where(labels >= 0, weights[np.maximum(labels, 0)], 0.0)
    expected = np.average(softmax_losses(labels, logits), weights=point_weights)
    assert float(cross_entropy(labels, logits, weights)) == pytest.approx(expected, rel=1e-12)


def test_equal_class_weights_change_nothing(batch):
    labels, logits = batch
    assert float(cross_entropy(labels, logits, [2.0] * 4)) == pytest.approx(
        float(cross_entropy(labels, logits))
    )


def test_what_stands_at_unannotated_points_does_not_matter(batch):
    labels, logits = batch
    changed = np.where(labels[..., None] < 0, 1e4, logits)
    assert float(cross_entropy(labels, changed)) == float(cross_entropy(labels, logits))


def test_nothing_annotated_is_zero_with_zero_gradient():
    tf = pytest.importorskip("tensorflow")
    logits = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 3)))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(np.full((2, 5), -1), logits)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, logits), 0.0)


def test_excluded_classes_keep_the_loss_finite():
    logits = np.array([[[2.0, -1e9], [1.0, -1e9]]], np.float32)
    assert float(cross_entropy(np.array([[0, 0]]), logits)) == 0.0


def test_low_precision_logits_are_measured_in_float32(batch):
    labels, logits = batch
    rounded = ops.cast(logits, "bfloat16")
    loss = cross_entropy(labels, rounded)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    expected = cross_entropy(labels, ops.cast(rounded, "float64"))
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_orthogonality_against_numpy():
    transform = np.random.default_rng(0).normal(size=(7, 5, 5))
    expected = 1e-3 * np.mean(
        [np.linalg.norm(t @ t.T - np.eye(5), ord="fro") ** 2 for t in transform]
    )
    assert float(orthogonality(transform, 1e-3)) == pytest.approx(expected, rel=1e-12)
    assert float(orthogonality(transform, weight=2.0)) == pytest.approx(2000 * expected)


def test_rotations_cost_nothing_and_clouds_do_not_mix():
    rng = np.random.default_rng(1)
    rotations = np.linalg.qr(rng.normal(size=(6, 8, 8)))[0]
    assert float(orthogonality(rotations, 1e-3)) == pytest.approx(0.0, abs=1e-28)
    one_bad = np.concatenate([rotations[:5], 2 * np.eye(8)[None]])
    assert float(orthogonality(one_bad, 1e-3)) == pytest.approx(1e-3 * 8 * 9 / 6)


def test_rare_classes_weigh_more_within_bounds():
    points = np.array([400, 100, 1, 0])
    assert class_weights(points, "inverse_frequency") == [1.0, 4.0, 10.0, 1.0]
    assert class_weights(points, "inverse_sqrt") == [1.0, 2.0, 10.0, 1.0]
    assert class_weights(np.array([64, 0, 16]), "inverse_sqrt") == [1.0, 1.0, 2.0]
    assert class_weights(np.zeros(2), "inverse_sqrt") == [1.0, 1.0]
