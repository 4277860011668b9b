"""Batch norm and ReLU of a product in training, and the same with a maximum over points.

`batch_norm_relu` is TensorFlow's fused operation where there is one. `max_relu_batch_norm` computes
g[b] = max_n relu(batchnorm(x[b, n] W)) and its gradient with half of the usual form's operations.
PointNet has three such layers, which are most of its operations.

Batch norm and ReLU are monotone in each channel, so only one point of a cloud matters to a
channel: the one with the largest product where gamma >= 0, with the smallest where gamma < 0.
Nothing of size [B, N, O] is kept for the backward pass. The moments of x W follow from those of x,
with m the mean of x [M, I] and C its covariance [I, I]: mean m W, variance diag(W' C W). With
d = dL/d(batchnorm), zero but at the chosen points, P = x' d - m sum(d), s = gamma e and
e = 1 / sqrt(variance + epsilon):

    dL/dbeta  = sum(d)
    dL/dgamma = e diag(W' P)
    dL/dW     = s (P - C W e dL/dgamma)
    dL/dx     = d (W s)' - (x - m) K - W (s dL/dbeta / M),   K = W diag(s e dL/dgamma) W' / M

For I = 512, O = 2048, N = 1024 these are 1,610 million multiply-adds a cloud instead of 3,221.
Where several points share the maximum, the gradient goes to the first of them.

Reference: Ioffe and Szegedy, Batch Normalization (https://arxiv.org/abs/1502.03167), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

# Keras's and the published example's value.
EPSILON = 1e-3


def batch_norm_relu(product: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
    """relu(batchnorm(product)) with statistics over all axes but the last.

    `product` is float [..., O]; gamma and beta [O] are in the variable type. Returns features like
    `product` and its mean and biased variance [O] in the variable type, through which no gradient
    flows.
    """
    dtype = keras.backend.standardize_dtype(product.dtype)
    if keras.backend.backend() == "tensorflow" and dtype != "float64":
        return _fused(product, gamma, beta)
    product = ops.cast(product, gamma.dtype)
    axes = list(range(len(product.shape) - 1))
    mean, variance = ops.moments(product, axes=axes)
    normalized = ops.batch_normalization(product, mean, variance, -1, beta, gamma, EPSILON)
    features = ops.cast(ops.relu(normalized), dtype)
    return features, ops.stop_gradient(mean), ops.stop_gradient(variance)


def _fused(product: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
    import tensorflow as tf

    shape = tf.shape(product)
    features, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        tf.reshape(product, [1, -1, 1, product.shape[-1]]), gamma, beta, epsilon=EPSILON
    )
    # The operation returns the unbiased variance.
    rows = tf.cast(tf.reduce_prod(shape[:-1]), variance.dtype)
    variance = tf.stop_gradient(variance) * (rows - 1.0) / rows
    return tf.reshape(tf.nn.relu(features), shape), tf.stop_gradient(mean), variance


def max_relu_batch_norm(inputs: Any, kernel: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
    """Maximum over points of relu(batchnorm(inputs kernel)) with the batch's statistics.

    `inputs` is float [B, N, I] of any type; kernel [I, O], gamma and beta [O] are in the variable
    type. Returns features [B, O] and the products' mean and biased variance [O], all in that type;
    no gradient flows through mean and variance.
    """
    return ops.custom_gradient(_max_relu_batch_norm)(inputs, kernel, gamma, beta)


def _max_relu_batch_norm(
    inputs: Any, kernel: Any, gamma: Any, beta: Any
) -> tuple[tuple[Any, Any, Any], Callable[..., tuple[Any, Any, Any, Any]]]:
    batch, num_points = ops.shape(inputs)[:2]
    num_features, width = kernel.shape
    flat = ops.reshape(inputs, (-1, num_features))  # [M, I]
    rows = ops.cast(ops.shape(flat)[0], kernel.dtype)
    input_mean, weighted_covariance = _moments(flat, kernel, rows)
    mean = ops.matmul(input_mean[None], kernel)[0]
    # Rounding may leave a variance of zero slightly below it.
    variance = ops.maximum(ops.sum(kernel * weighted_covariance, axis=0), 0)
    per_deviation = ops.rsqrt(variance + EPSILON)
    scale = gamma * per_deviation

    # The sign turns a channel's smallest product into the largest where gamma is negative.
    sign = ops.where(gamma < 0, -ops.ones_like(gamma), ops.ones_like(gamma))
    signed_kernel = ops.cast(kernel * sign, inputs.dtype)
    # Points last, where the search is fast: [O, M] -> [O, B, N]
    products = ops.einsum("io,mi->om", signed_kernel, flat)
    products = ops.reshape(products, (width, batch, num_points))
    point = ops.argmax(products, axis=-1)
    largest = ops.transpose(ops.cast(ops.max(products, axis=-1), kernel.dtype)) * sign  # [B, O]
    normalized = (largest - mean) * per_deviation
    before_relu = normalized * gamma + beta

    def gradient(*cotangents: Any) -> tuple[Any, Any, Any, Any]:
        # JAX passes one tuple, TensorFlow one argument for each output.
        cotangent = cotangents[0][0] if len(cotangents) == 1 else cotangents[0]
        d = ops.where(before_relu > 0, cotangent, ops.zeros_like(before_relu))
        beta_gradient = ops.sum(d, axis=0)
        gamma_gradient = ops.sum(d * normalized, axis=0)
        correction = gamma_gradient * per_deviation

        chosen = ops.cast(point, "int64") + ops.arange(batch, dtype="int64") * num_points  # [O, B]
        weights = ops.transpose(d)[:, :, None]  # [O, B, 1]
        chosen_inputs = ops.cast(ops.take(flat, chosen, axis=0), kernel.dtype)  # [O, B, I]
        direct = ops.transpose(ops.sum(chosen_inputs * weights, axis=1))
        direct = direct - input_mean[:, None] * beta_gradient
        kernel_gradient = scale * (direct - weighted_covariance * correction)

        k = ops.matmul(kernel * (scale * correction / rows), ops.transpose(kernel))  # [I, I]
        shift = ops.matmul((scale * beta_gradient / rows)[None], ops.transpose(kernel))
        offset = ops.matmul(input_mean[None], k) - shift
        updates = ops.reshape(weights * ops.transpose(kernel * scale)[:, None], (-1, num_features))
        scattered = ops.segment_sum(updates, ops.reshape(chosen, (-1,)), ops.shape(flat)[0])
        statistics = ops.matmul(flat, ops.cast(-k, inputs.dtype)) + ops.cast(offset, inputs.dtype)
        inputs_gradient = statistics + ops.cast(scattered, inputs.dtype)
        shape = ops.shape(inputs)
        return ops.reshape(inputs_gradient, shape), kernel_gradient, gamma_gradient, beta_gradient

    return (ops.relu(before_relu), mean, variance), gradient


def _moments(flat: Any, kernel: Any, rows: Any) -> tuple[Any, Any]:
    """Mean m [I] of inputs [M, I] and their covariance times the kernel, C W [I, O].

    In the kernel's type: a variance is a difference of covariances, whose digits a sum in bfloat16
    would lose. Centred first: E[xx'] - mm' would lose digits where the mean is large.
    """
    flat = ops.cast(flat, kernel.dtype)
    mean = ops.sum(flat, axis=0) / rows
    centred = flat - mean
    covariance = ops.matmul(ops.transpose(centred), centred) / rows
    return mean, ops.matmul(covariance, kernel)
