"""The layers one by one, against NumPy."""

import keras
import numpy as np
import pytest

from model.layers import EPSILON, PointwiseLayer, PooledLayer, SplitLayer, TransformNet


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def randomise(layer, rng):
    """Give every weight a value that would show if it were left out."""
    for weight in layer.weights:
        value = rng.normal(size=weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)


def numpy_layer(layer, product, mean=None, variance=None):
    axes = tuple(range(product.ndim - 1))
    mean = product.mean(axes) if mean is None else mean
    variance = product.var(axes) if variance is None else variance
    gamma, beta = np.asarray(layer.gamma), np.asarray(layer.beta)
    return np.maximum((product - mean) / np.sqrt(variance + EPSILON) * gamma + beta, 0)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("shape", [(4, 7, 5), (6, 5)])
def test_pointwise_layer(rng, use_bias, shape):
    layer = PointwiseLayer(3, use_bias=use_bias, dtype="float64")
    layer.build(shape)
    randomise(layer, rng)
    points = rng.normal(size=shape)
    product = points @ np.asarray(layer.kernel) + (np.asarray(layer.bias) if use_bias else 0)
    at_rest = numpy_layer(
        layer, product, np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    )
    np.testing.assert_allclose(layer(points), at_rest, atol=1e-12)
    np.testing.assert_allclose(
        layer(points, training=True), numpy_layer(layer, product), atol=1e-12
    )


def test_moving_averages_by_hand(rng):
    layer = PointwiseLayer(2, momentum=0.75, dtype="float64")
    layer.build((None, None, 2))
    layer.kernel.assign(np.eye(2))
    layer(np.array([[[1.0, 2.0], [3.0, 2.0]]]), training=True)
    # mean 2, 2; variance 1, 0; moving from 0 and 1
    np.testing.assert_allclose(layer.moving_mean, [0.5, 0.5])
    np.testing.assert_allclose(layer.moving_variance, [1.0, 0.75])


def test_momentum_changes_a_compiled_step(rng):
    tf = pytest.importorskip("tensorflow")
    layer = PointwiseLayer(1, momentum=0.9, dtype="float64")
    layer.build((None, None, 1))
    layer.kernel.assign([[1.0]])
    step = tf.function(lambda points: layer(points, training=True))
    points = tf.constant([[[1.0], [3.0]]], tf.float64)
    step(points)
    np.testing.assert_allclose(layer.moving_mean, [0.2], rtol=1e-6)
    layer.momentum.assign(0.5)
    step(points)
    np.testing.assert_allclose(layer.moving_mean, [1.1], rtol=1e-6)
    assert layer.momentum not in layer.weights
    assert any(variable is layer.momentum for variable in layer.non_trainable_variables)


def test_a_frozen_layer_keeps_its_statistics(rng):
    layer = PointwiseLayer(3, dtype="float64")
    layer.build((None, None, 5))
    randomise(layer, rng)
    layer.trainable = False
    before = np.asarray(layer.moving_mean)
    points = rng.normal(size=(2, 4, 5))
    np.testing.assert_array_equal(layer(points, training=True), layer(points))
    np.testing.assert_array_equal(layer.moving_mean, before)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("width", "use_bias"), [(6, False), (6, True), (1100, True)])
def test_pooled_layer_is_the_maximum_of_the_pointwise_one(rng, training, width, use_bias):
    pooled = PooledLayer(width, use_bias=use_bias, dtype="float64")
    pointwise = PointwiseLayer(width, use_bias=use_bias, dtype="float64")
    for layer in (pooled, pointwise):
        layer.build((None, None, 5))
    randomise(pooled, rng)
    assert np.asarray(pooled.gamma).min() < 0 < np.asarray(pooled.gamma).max()
    pointwise.set_weights(pooled.get_weights())
    points = rng.normal(size=(4, 9, 5)) + 1.0
    expected = np.asarray(pointwise(points, training=training)).max(axis=1)
    np.testing.assert_allclose(pooled(points, training=training), expected, atol=1e-12)
    for ours, theirs in zip(pooled.get_weights(), pointwise.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_split_layer_is_the_tiled_and_joined_one(rng, training):
    split = SplitLayer((3, 4), 5, 6, use_bias=True, dtype="float64")
    joined = PointwiseLayer(6, use_bias=True, dtype="float64")
    split.build()
    joined.build((None, None, 12))
    randomise(split, rng)
    joined.set_weights(split.get_weights())
    local = [rng.normal(size=(2, 7, width)) for width in (3, 4)]
    overall = rng.normal(size=(2, 5))
    tiled = np.concatenate([*local, np.repeat(overall[:, None], 7, axis=1)], axis=-1)
    np.testing.assert_allclose(
        split((local, overall), training=training), joined(tiled, training=training), atol=1e-12
    )


def test_t_net_starts_as_the_identity(rng):
    layer = TransformNet((4, 6), (5,))
    transform = layer(rng.normal(size=(3, 10, 7)).astype(np.float32))
    np.testing.assert_array_equal(transform, np.broadcast_to(np.eye(7), (3, 7, 7)))


def test_low_precision_keeps_coordinates_and_statistics_in_float32(rng):
    layer = PointwiseLayer(8, dtype="mixed_bfloat16")
    points = (rng.normal(size=(2, 50, 3)) + 100).astype(np.float32)
    features = layer(points, training=True)
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(layer.moving_variance.dtype) == "float32"
    product = points @ np.asarray(layer.kernel)
    # Half a unit in bfloat16's last place: the coordinates themselves were not rounded.
    np.testing.assert_allclose(
        np.asarray(keras.ops.cast(features, "float32")),
        numpy_layer(layer, product),
        rtol=2**-8,
        atol=1e-3,
    )
