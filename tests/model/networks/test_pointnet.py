"""PointNet: the published example's parameters, logits and gradients."""

import keras
import numpy as np
import pydantic
import pytest
import tensorflow as tf
from keras import ops

from bench.keras_example import copy_weights, example_network, paired_weights
from model.loss import cross_entropy
from model.networks.layers import PointwiseLayer
from model.networks.pointnet.network import TransformNet, orthogonality
from model.networks.pointnet.settings import PointNetSettings
from tests.model.networks.tiny import POINTNET, assert_equal, clouds, make

BIASED = POINTNET.model_copy(update={"bias_before_batch_norm": True})
FULL = PointNetSettings(bias_before_batch_norm=True, dropout=0.0)


def test_the_published_example_has_7370062_parameters():
    network = FULL.build(num_classes=5)
    assert network.count_params() == 7_370_062
    layers = [x for x in network._flatten_layers() if isinstance(x, PointwiseLayer)]
    assert len(layers) == 16
    biases = sum(layer.width for layer in layers)
    assert PointNetSettings().build(5).count_params() == 7_370_062 - biases


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("settings", "dtype", "tolerance"),
    [(BIASED, "float64", 1e-12), (BIASED, "float32", 1e-5), (FULL, "float64", 1e-12)],
    ids=["float64", "float32", "full widths"],
)
def test_logits_losses_and_gradients_are_the_examples(settings, training, dtype, tolerance):
    network, before = make(settings, dtype=dtype), keras.config.dtype_policy()
    try:
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        example = example_network(settings, num_classes=4, num_points=17)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(before)
    copy_weights(network, example)
    points = tf.constant(clouds(batch=16).astype(dtype))
    labels = np.random.default_rng(2).integers(-1, 4, (16, 17))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(points)
        logits = network(points, training=training)
        loss = cross_entropy(labels, logits) + sum(network.losses)
        expected, matrix = example(points, training=training)
        # Each cloud's matrix by itself, mean over clouds.
        gram = ops.einsum("bij,bkj->bik", matrix, matrix)
        distances = ops.sum((gram - ops.eye(matrix.shape[1], dtype=dtype)) ** 2, axis=(1, 2))
        penalty = 1e-3 * ops.mean(distances) if training else 0.0
        example_loss = cross_entropy(labels, expected) + penalty
    assert_equal([logits, loss], [expected, example_loss], tolerance)
    pairs = paired_weights(network, example)
    # The moving averages, too; the momentum has float32's digits.
    assert_equal(*zip(*pairs, strict=True), max(tolerance, 1e-7))
    ours, theirs = zip(*[(a.value, b.value) for a, b in pairs if b.trainable], strict=True)
    assert len(ours) == len(network.trainable_weights)
    zero = tf.UnconnectedGradients.ZERO
    gradients = tape.gradient(loss, [points, *ours], unconnected_gradients=zero)
    expected = tape.gradient(example_loss, [points, *theirs], unconnected_gradients=zero)
    assert_equal(gradients, expected, tolerance)


def test_biases_before_batch_norm_change_nothing_in_training():
    biased, without = make(BIASED), make(POINTNET)
    shared = [w for w in biased.weights if w.name != "bias" or w.path.endswith("transform/bias")]
    without.set_weights([np.asarray(weight) for weight in shared])
    points = clouds()
    logits = biased(points, training=True)
    np.testing.assert_allclose(without(points, training=True), logits, rtol=0, atol=1e-12)


def test_t_net_starts_as_the_identity():
    transform = TransformNet(7, (4, 6), (5,))(clouds(3, 70).reshape(3, 30, 7).astype(np.float32))
    np.testing.assert_array_equal(transform, np.broadcast_to(np.eye(7), (3, 7, 7)))


def test_orthogonality_is_each_clouds_own():
    rng = np.random.default_rng(1)
    transform = rng.normal(size=(7, 5, 5))
    distances = [np.linalg.norm(t @ t.T - np.eye(5), ord="fro") ** 2 for t in transform]
    assert float(orthogonality(transform)) == pytest.approx(np.mean(distances), rel=1e-12)
    rotations = np.linalg.qr(rng.normal(size=(6, 8, 8)))[0]
    assert float(orthogonality(rotations)) == pytest.approx(0.0, abs=1e-25)
    one_bad = np.concatenate([rotations[:5], 2 * np.eye(8)[None]])
    assert float(orthogonality(one_bad)) == pytest.approx(8 * 9 / 6)
    network = make(POINTNET.model_copy(update={"orthogonality": 0.0}))
    network(clouds(), training=True)
    assert not network.losses


def test_dropout_acts_in_training_only():
    network, points = make(POINTNET.model_copy(update={"dropout": 0.5})), clouds()
    assert (network(points, training=True) != network(points, training=True)).numpy().any()
    np.testing.assert_array_equal(network(points), network(points))


@pytest.mark.parametrize("width", [0, -5])
@pytest.mark.parametrize("field", [f for f in PointNetSettings.model_fields if "_widths" in f])
def test_widths_below_one_are_refused(field, width):
    with pytest.raises(pydantic.ValidationError, match=field):
        PointNetSettings(**{field: (8, width)})


def test_scaled_multiplies_every_width():
    scaled = PointNetSettings().scaled(0.005)
    assert (scaled.local_widths, scaled.global_widths) == ((1, 1, 1), (3, 10))
    assert (scaled.transform_widths, scaled.transform_dense_widths) == ((1, 1, 5), (3, 1))
    assert (scaled.head_widths, scaled.dropout) == ((1,), 0.2)
