"""Batch norm of a product x W, taken from the moments of x, so that x W itself need not be kept.

Every pointwise layer of PointNet is relu(batchnorm(x W)), with x [M, I] the features of all M
points of a batch. As usually written, each of the M O products passes through batch norm's several
reads and writes, forward and backward. But the products' moments follow from those of x,

    mean = W' m,   variance = diag(W' C W),   m and C being mean [I] and covariance [I, I] of x

so that batch norm becomes one more scale and offset of the product, known before it is computed:
relu(x (W s) + beta - mean s) with s = gamma / sqrt(variance + epsilon). The gradient needs no
product either. With d = dL/d(batchnorm) [M, O] and P = x' d - m sum(d):

    dL/dbeta  = sum(d)
    dL/dgamma = diag(W' P) / sqrt(variance + epsilon)
    dL/dW     = s (P - C W dL/dgamma / sqrt(variance + epsilon))
    dL/dx     = d (W s)' - (x - m) K - W (s dL/dbeta / M)
    K         = W diag(s dL/dgamma / sqrt(variance + epsilon)) W' / M

That is the very function and the very gradient of the usual form, up to rounding, in fewer reads
and writes as long as x is not wider than the product. x is centred before C is taken: the
difference E[xx'] - mm' would lose digits where the mean is large against the spread.

Moments, batch norm and the gradients of its weights are in the weights' type; products of whole
batches are in the type of x.

Reference: Ioffe and Szegedy, Batch Normalization (https://arxiv.org/abs/1502.03167), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

# Keras's and the published example's value.
EPSILON = 1e-3


class ProductMoments(NamedTuple):
    """Moments of x [M, I] and of its product with W [I, O].

    Attributes:
      input_mean: m [I].
      weighted_covariance: C W [I, O].
      mean: of each column of x W, [O].
      variance: of each column of x W, [O], biased as batch norm's is.
    """

    input_mean: Any
    weighted_covariance: Any
    mean: Any
    variance: Any


def product_moments(inputs: Any, kernel: Any) -> ProductMoments:
    """Moments of inputs [M, I] times kernel [I, O], in the kernel's type."""
    dtype = kernel.dtype
    rows = num_rows(inputs, dtype)
    input_mean = ops.sum(ops.cast(inputs, dtype), axis=0) / rows
    centred = inputs - ops.cast(input_mean, inputs.dtype)
    if keras.backend.standardize_dtype(inputs.dtype) == "float16":
        # It ends at 65504, which a sum over a batch's points passes: the mean is taken at once.
        centred = centred * ops.cast(ops.rsqrt(rows), inputs.dtype)
        rows = 1.0
    products = ops.cast(ops.einsum("mi,mj->ij", centred, centred), dtype)
    weighted_covariance = ops.matmul(products / rows, kernel)
    # Rounding may leave a variance of zero slightly below it.
    variance = ops.maximum(ops.sum(kernel * weighted_covariance, axis=0), 0)
    mean = ops.matmul(input_mean[None], kernel)[0]
    return ProductMoments(input_mean, weighted_covariance, mean, variance)


def num_rows(inputs: Any, dtype: Any) -> Any:
    """M of inputs [M, I], as a number of the given type."""
    return ops.cast(ops.shape(inputs)[0], dtype)


def relu_batch_norm(inputs: Any, kernel: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
    """relu(batchnorm(inputs kernel)) with the batch's own statistics.

    Args:
      inputs: float [M, I], of any float type.
      kernel: [I, O], in the weights' type, like what follows.
      gamma: [O], batch norm's scale.
      beta: [O], its offset.

    Returns:
      Features [M, O] in the inputs' type; mean [O] and variance [O] of the products, for the moving
      averages. No gradient flows through these two.
    """
    return ops.custom_gradient(_relu_batch_norm)(inputs, kernel, gamma, beta)


def _relu_batch_norm(
    inputs: Any, kernel: Any, gamma: Any, beta: Any
) -> tuple[tuple[Any, Any, Any], Callable[..., tuple[Any, Any, Any, Any]]]:
    dtype = inputs.dtype
    moments = product_moments(inputs, kernel)
    per_deviation = ops.rsqrt(moments.variance + EPSILON)
    scale = gamma * per_deviation
    scaled_kernel = ops.cast(kernel * scale, dtype)
    offset = ops.cast(beta - moments.mean * scale, dtype)
    features = ops.relu(ops.matmul(inputs, scaled_kernel) + offset)

    def gradient(*cotangents: Any) -> tuple[Any, Any, Any, Any]:
        d = ops.where(features > 0, first(cotangents), ops.zeros_like(features))
        beta_gradient = ops.sum(ops.cast(d, kernel.dtype), axis=0)
        direct = ops.cast(ops.einsum("mi,mo->io", inputs, d), kernel.dtype)
        direct = direct - moments.input_mean[:, None] * beta_gradient
        gamma_gradient = per_deviation * ops.sum(kernel * direct, axis=0)
        kernel_gradient, statistics = backpropagate(
            inputs, kernel, moments, gamma, direct, gamma_gradient, beta_gradient
        )
        inputs_gradient = ops.einsum("mo,io->mi", d, scaled_kernel) + statistics
        return inputs_gradient, kernel_gradient, gamma_gradient, beta_gradient

    return (features, moments.mean, moments.variance), gradient


def backpropagate(
    inputs: Any,
    kernel: Any,
    moments: ProductMoments,
    gamma: Any,
    direct: Any,
    gamma_gradient: Any,
    beta_gradient: Any,
) -> tuple[Any, Any]:
    """What a gradient owes to batch norm's statistics; see the module for the symbols.

    Args:
      inputs: x [M, I].
      kernel: W [I, O].
      moments: of inputs and kernel.
      gamma: [O].
      direct: P [I, O].
      gamma_gradient: dL/dgamma [O].
      beta_gradient: dL/dbeta [O].

    Returns:
      dL/dW [I, O], and of dL/dx [M, I] all but d (W s)', in the inputs' type.
    """
    per_deviation = ops.rsqrt(moments.variance + EPSILON)
    scale = gamma * per_deviation
    correction = gamma_gradient * per_deviation
    kernel_gradient = scale * (direct - moments.weighted_covariance * correction)
    rows = num_rows(inputs, kernel.dtype)
    k = ops.matmul(kernel * (scale * correction / rows), ops.transpose(kernel))
    offset = ops.matmul(moments.input_mean[None], k) - ops.matmul(
        (scale * beta_gradient / rows)[None], ops.transpose(kernel)
    )
    statistics = ops.matmul(inputs, ops.cast(-k, inputs.dtype)) + ops.cast(offset, inputs.dtype)
    return kernel_gradient, statistics


def first(cotangents: tuple[Any, ...]) -> Any:
    """The first output's cotangent: JAX hands over one tuple, TensorFlow one argument an output."""
    return cotangents[0][0] if len(cotangents) == 1 else cotangents[0]
