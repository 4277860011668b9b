"""A max-pooled pointwise layer for half the operations: g[b] = max_n relu(batchnorm(x[b, n] W)).

PointNet has three such layers, and they take most of its operations. Batch norm and ReLU are
monotone in each channel, so only one point of each cloud matters to a channel: the one with the
largest product where gamma >= 0, with the smallest where gamma < 0. What is kept for the backward
pass is that point's number and product, [B, O] of each, and nothing of size [B, N, O].

The moments come from the inputs (`normalization`). In the gradient, d = dL/d(batchnorm) is zero but
in the picked rows, so that x' d and d (W s)' are sums over B O rows instead of products over all
points. For I = 512, O = 2048, N = 1024 that is 1,610 million multiply-adds a cloud instead of
3,221.

Where several points share the maximum the gradient goes to the first of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from model.batch_norm import EPSILON, backpropagate, first, product_moments
from model.row_sums import picked_rows, scattered_rows


def max_relu_batch_norm(inputs: Any, kernel: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
    """Maximum over points of relu(batchnorm(inputs kernel)) with the batch's own statistics.

    Args:
      inputs: float [B, N, I], of any float type.
      kernel: [I, O], in the weights' type, like what follows.
      gamma: [O], batch norm's scale.
      beta: [O], its offset.

    Returns:
      Features [B, O] in the weights' type; mean [O] and variance [O] of the products, for the
      moving averages. No gradient flows through these two.
    """
    return ops.custom_gradient(_max_relu_batch_norm)(inputs, kernel, gamma, beta)


def _max_relu_batch_norm(
    inputs: Any, kernel: Any, gamma: Any, beta: Any
) -> tuple[tuple[Any, Any, Any], Callable[..., tuple[Any, Any, Any, Any]]]:
    batch, num_points = ops.shape(inputs)[:2]
    num_features, width = kernel.shape
    flat = ops.reshape(inputs, (-1, num_features))
    moments = product_moments(flat, kernel)
    per_deviation = ops.rsqrt(moments.variance + EPSILON)

    # A channel with negative gamma is turned over, so that its smallest product is the largest.
    sign = ops.where(gamma < 0, -ops.ones_like(gamma), ops.ones_like(gamma))
    turned = ops.cast(kernel * sign, inputs.dtype)
    # Points last, where the maximum's search is fast: [O, M] -> [O, B, N]
    products = ops.reshape(ops.einsum("io,mi->om", turned, flat), (width, batch, num_points))
    point = ops.argmax(products, axis=-1)
    # [O, B, N] -> [B, O]
    largest = ops.transpose(ops.cast(ops.max(products, axis=-1), kernel.dtype)) * sign
    normalized = (largest - moments.mean) * per_deviation
    before_relu = normalized * gamma + beta
    features = ops.relu(before_relu)

    def gradient(*cotangents: Any) -> tuple[Any, Any, Any, Any]:
        d = ops.where(before_relu > 0, first(cotangents), ops.zeros_like(before_relu))
        beta_gradient = ops.sum(d, axis=0)
        gamma_gradient = ops.sum(d * normalized, axis=0)
        rows = ops.cast(point, "int64") + ops.arange(batch, dtype="int64") * num_points
        weights = ops.transpose(d)
        direct = ops.transpose(picked_rows(rows, weights, flat))
        direct = direct - moments.input_mean[:, None] * beta_gradient
        kernel_gradient, statistics = backpropagate(
            flat, kernel, moments, gamma, direct, gamma_gradient, beta_gradient
        )
        scaled_kernel = ops.transpose(kernel * (gamma * per_deviation))
        scattered = scattered_rows(rows, weights, scaled_kernel, ops.shape(flat)[0])
        inputs_gradient = statistics + ops.cast(scattered, inputs.dtype)
        return (
            ops.reshape(inputs_gradient, ops.shape(inputs)),
            kernel_gradient,
            gamma_gradient,
            beta_gradient,
        )

    return (features, moments.mean, moments.variance), gradient


def repeat_first_point(points: Any, valid: Any) -> Any:
    """Turns padding into copies of the cloud's first point.

    Repeating a point does not change a maximum over points, so a max-pooled network needs no mask.

    Args:
      points: [B, N, 3].
      valid: bool [B, N].

    Returns:
      [B, N, 3]
    """
    return ops.where(valid[:, :, None], points, points[:, :1, :])
