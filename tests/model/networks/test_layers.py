"""Layers against NumPy and against the plain form's values and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from model.networks.layers import PointwiseLayer, PooledLayer, SplitLayer
from model.networks.pooled import EPSILON, batch_norm_relu, max_relu_batch_norm
from tests.model.networks.tiny import assert_equal, randomise


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def plain(product, gamma, beta, mean=None, variance=None):
    """Batch norm and ReLU, the plain form, differentiated by TensorFlow."""
    moments = tf.nn.moments(product, list(range(len(product.shape) - 1)))
    mean, variance = moments if mean is None else (mean, variance)
    return tf.nn.relu((product - mean) / tf.sqrt(variance + EPSILON) * gamma + beta)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("shape", [(4, 7, 5), (6, 5)])
def test_pointwise_layer(rng, use_bias, shape):
    layer = randomise(PointwiseLayer(5, 3, use_bias=use_bias, dtype="float64"))
    points, gamma_beta = rng.normal(size=shape), (layer.gamma.value, layer.beta.value)
    product = tf.constant(points @ np.asarray(layer.kernel))
    product += layer.bias.value if use_bias else 0.0
    inference = plain(product, *gamma_beta, layer.moving_mean.value, layer.moving_variance.value)
    np.testing.assert_allclose(layer(points), inference, atol=1e-12)
    training = plain(product, *gamma_beta)
    np.testing.assert_allclose(layer(points, training=True), training, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_moving_averages_by_hand_in_a_compiled_step(dtype):
    layer = PointwiseLayer(2, 2, momentum=0.75, dtype=dtype)
    layer.kernel.assign(np.eye(2))
    step = tf.function(lambda: layer(np.array([[[1, 2], [3, 2]]], dtype), training=True))
    # mean 2, 2; biased variance 1, 0; moving from 0 and 1
    for momentum, mean, variance in ((0.75, 0.5, 0.75), (0.5, 1.25, 0.375)):
        layer.momentum.assign(momentum)
        step()
        np.testing.assert_allclose(layer.moving_mean, [mean, mean], rtol=1e-6)
        np.testing.assert_allclose(layer.moving_variance, [1.0, variance], rtol=1e-6)
    assert not any(weight is layer.momentum for weight in layer.weights)
    assert any(variable is layer.momentum for variable in layer.non_trainable_variables)


def test_a_frozen_layer_keeps_its_statistics(rng):
    layer = randomise(PointwiseLayer(5, 3, dtype="float64"))
    layer.trainable = False
    before, points = layer.get_weights(), rng.normal(size=(2, 4, 5))
    np.testing.assert_array_equal(layer(points, training=True), layer(points))
    for weight, value in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("width", "use_bias"), [(6, False), (6, True), (1100, True)])
def test_pooled_layer_is_the_maximum_of_the_pointwise_one(rng, training, width, use_bias):
    pooled = randomise(PooledLayer(5, width, use_bias=use_bias, dtype="float64"))
    pointwise = PointwiseLayer(5, width, use_bias=use_bias, dtype="float64")
    assert np.asarray(pooled.gamma).min() < 0 < np.asarray(pooled.gamma).max()
    pointwise.set_weights(pooled.get_weights())
    points = rng.normal(size=(4, 9, 5)) + 1.0
    expected = np.asarray(pointwise(points, training=training)).max(axis=1)
    np.testing.assert_allclose(pooled(points, training=training), expected, atol=1e-12)
    for ours, theirs in zip(pooled.get_weights(), pointwise.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_split_layer_is_the_tiled_and_joined_one(rng, training):
    split = randomise(SplitLayer((3, 4), 5, 6, use_bias=True, dtype="float64"))
    joined = PointwiseLayer(12, 6, use_bias=True, dtype="float64")
    joined.set_weights(split.get_weights())
    local = [rng.normal(size=(2, 7, width)) for width in (3, 4)]
    overall = rng.normal(size=(2, 5))
    tiled = np.concatenate([*local, np.repeat(overall[:, None], 7, axis=1)], axis=-1)
    expected = joined(tiled, training=training)
    np.testing.assert_allclose(split((local, overall), training=training), expected, atol=1e-12)


def test_low_precision_keeps_coordinates_and_statistics_in_float32(rng):
    layer = PointwiseLayer(3, 8, dtype="mixed_bfloat16")
    points = (rng.normal(size=(2, 50, 3)) + 100).astype(np.float32)
    features = layer(points, training=True)
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(layer.moving_variance.dtype) == "float32"
    expected = plain(points @ np.asarray(layer.kernel), layer.gamma.value, layer.beta.value)
    # Half a unit in bfloat16's last place: the coordinates themselves were not rounded.
    np.testing.assert_allclose(tf.cast(features, tf.float32), expected, rtol=2**-8, atol=1e-3)


def pooled(*given):
    return max_relu_batch_norm(*given)[0]


def arguments(shape=(4, 30), shift=1.0):
    """Inputs [*shape, 6], kernel, gamma of both signs, beta: float32 numbers in float64."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(*shape, 6)) + shift, rng.normal(size=(6, 9)))
    values += (rng.normal(size=9), rng.normal(size=9))
    assert values[2].min() < 0 < values[2].max()
    return [tf.constant(value.astype(np.float32).astype(np.float64)) for value in values]


def value_and_gradients(function, given):
    """The function's value and the gradients of a weighted sum of it, by each argument."""
    with tf.GradientTape() as tape:
        tape.watch(given)
        features = function(*given)
        weights = np.random.default_rng(9).normal(size=features.shape)
        loss = tf.reduce_sum(features * tf.constant(weights, features.dtype))
    return [features, *tape.gradient(loss, given)]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6)])
@pytest.mark.parametrize(("pool", "shape"), [(True, (4, 30)), (False, (4, 30)), (False, (8,))])
def test_values_and_gradients_are_the_plain_forms(pool, shape, dtype, tolerance, compiled):
    def dense(inputs, kernel, *others):
        return batch_norm_relu(inputs @ kernel, *others)[0]

    def plain_form(inputs, kernel, *others):
        features = plain(inputs @ kernel, *others)
        return tf.reduce_max(features, axis=1) if pool else features

    given, form = arguments(shape), pooled if pool else dense
    expected = value_and_gradients(plain_form, given)
    given = [tf.cast(value, dtype) for value in given]
    actual = value_and_gradients(tf.function(form) if compiled else form, given)
    assert_equal(actual, expected, tolerance)


def test_copies_of_a_point_share_one_gradient():
    inputs, *weights = arguments(shift=0.0)
    once = value_and_gradients(pooled, [inputs, *weights])
    both = value_and_gradients(pooled, [tf.concat([inputs, inputs], axis=1), *weights])
    both[1] = both[1][:, :30] + both[1][:, 30:]
    assert_equal(both, once, 1e-12)


def test_constant_inputs_have_no_variance_and_finite_gradients():
    given = [tf.ones((2, 5, 3)), tf.ones((3, 4)), tf.ones(4), tf.ones(4)]
    features, *gradients = value_and_gradients(pooled, given)
    np.testing.assert_allclose(features, np.ones((2, 4)), atol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def correlated(own_part):
    """Features with a large common and a small own part, [8, 256, 64]."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(8, 256, 1)) + own_part * rng.normal(size=(8, 256, 64))


KERNEL = np.random.default_rng(2).normal(size=(64, 32))
DIFFERENCES = KERNEL - KERNEL.mean(axis=0)
MANY = np.random.default_rng(3).normal(0.5, 1.5, (64, 1024, 4))


@pytest.mark.parametrize(
    ("dtype", "inputs", "kernel", "tolerance"),
    [
        # Issue 23, case 4: kernels that look at differences between correlated features.
        ("mixed_bfloat16", correlated(0.1), DIFFERENCES, 0.03),
        ("mixed_bfloat16", correlated(0.03), DIFFERENCES, 0.03),
        # A sum of 65,536 squares of this size does not fit into float16.
        ("mixed_float16", MANY, np.eye(4), 5e-3),
        ("float32", 300 + correlated(1.0), KERNEL, 1e-3),
    ],
    ids=["10 % own part", "3 % own part", "many points", "a mean far from zero"],
)
def test_moving_averages_are_batch_norms_of_the_same_inputs(dtype, inputs, kernel, tolerance):
    layer = PooledLayer(*kernel.shape, momentum=0.0, dtype=dtype)
    layer.kernel.assign(kernel)
    inputs = tf.cast(inputs, layer.compute_dtype)
    layer(inputs, training=True)
    product = tf.cast(inputs, tf.float64).numpy() @ np.asarray(layer.kernel, np.float64)
    np.testing.assert_allclose(layer.moving_variance, product.var((0, 1)), rtol=tolerance)
    error = np.abs(layer.moving_mean - product.mean((0, 1)))
    assert (error < tolerance * product.std((0, 1))).all()
