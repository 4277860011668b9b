"""Batch norm from the inputs' moments and the pooled layer, against the plain form's autodiff."""

import numpy as np
import pytest

from model.batch_norm import EPSILON, product_moments, relu_batch_norm
from model.pooled_layer import max_relu_batch_norm

tf = pytest.importorskip("tensorflow")


def arguments(dtype="float64", shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(4, 30, 6)) + shift
    values = (inputs, rng.normal(size=(6, 9)), rng.normal(size=9), rng.normal(size=9))
    assert values[2].min() < 0 < values[2].max()
    return tuple(tf.constant(value.astype(dtype)) for value in values)


def plain(inputs, kernel, gamma, beta):
    product = inputs @ kernel
    mean, variance = tf.nn.moments(product, list(range(len(product.shape) - 1)))
    return tf.nn.relu((product - mean) / tf.sqrt(variance + EPSILON) * gamma + beta)


def value_and_gradients(function, given):
    with tf.GradientTape() as tape:
        tape.watch(given)
        features = function(*given)
        weights = np.random.default_rng(9).normal(size=features.shape)
        loss = tf.reduce_sum(features * tf.constant(weights, features.dtype))
    return [features, *tape.gradient(loss, given)]


@pytest.mark.parametrize("compiled", [False, True])
def test_pooled_layer_is_the_plain_form_and_its_gradient(compiled):
    def ours(*given):
        return max_relu_batch_norm(*given)[0]

    given = arguments(shift=1.0)
    expected = value_and_gradients(lambda *x: tf.reduce_max(plain(*x), axis=1), given)
    actual = value_and_gradients(tf.function(ours) if compiled else ours, given)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_moments_of_the_inputs_give_the_plain_form_and_its_gradient(compiled):
    def ours(*given):
        return relu_batch_norm(*given)[0]

    inputs, *weights = arguments(shift=1.0)
    given = (tf.reshape(inputs, (-1, 6)), *weights)
    expected = value_and_gradients(plain, given)
    actual = value_and_gradients(tf.function(ours) if compiled else ours, given)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12, rtol=1e-12)


def test_a_mean_far_from_zero_costs_no_digits_in_float32():
    inputs, kernel, _, _ = arguments(shift=300.0)
    product = np.asarray(inputs) @ np.asarray(kernel)
    moments = product_moments(
        tf.cast(tf.reshape(inputs, (-1, 6)), tf.float32), tf.cast(kernel, tf.float32)
    )
    np.testing.assert_allclose(moments.variance, product.var((0, 1)), rtol=1e-3)


def test_the_moments_of_many_points_fit_into_float16():
    """A sum of 65,536 squares of this size does not."""
    inputs = np.random.default_rng(0).normal(0.5, 1.5, (65536, 4)).astype(np.float16)
    moments = product_moments(tf.constant(inputs), tf.eye(4))
    exact = inputs.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(0), rtol=1e-3)
    np.testing.assert_allclose(moments.variance, exact.var(0), rtol=5e-3)
    assert moments.variance.dtype == tf.float32


def test_copies_of_a_point_share_one_gradient():
    inputs, *weights = arguments()
    twice = (tf.concat([inputs, inputs], axis=1), *weights)
    once = value_and_gradients(lambda *x: max_relu_batch_norm(*x)[0], (inputs, *weights))
    both = value_and_gradients(lambda *x: max_relu_batch_norm(*x)[0], twice)
    np.testing.assert_allclose(both[0], once[0], atol=1e-12)
    shared = both[1][:, :30] + both[1][:, 30:]
    np.testing.assert_allclose(shared, once[1], atol=1e-12)
    for a, b in zip(both[2:], once[2:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_constant_inputs_have_no_variance_and_finite_gradients():
    given = (tf.ones((2, 5, 3)), tf.ones((3, 4)), tf.ones(4), tf.ones(4))
    features, *gradients = value_and_gradients(lambda *x: max_relu_batch_norm(*x)[0], given)
    np.testing.assert_allclose(features, np.ones((2, 4)), atol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
