"""Layers that every point goes through alike.

A layer multiplies in the type of its input and returns its compute type; weights, statistics and
normalisation keep the variable type. So under `mixed_bfloat16` the coordinates, which are float32,
are never rounded, and batch norm stays float32. All weights are made in the constructors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from model.networks.pooled import EPSILON, batch_norm_relu, max_relu_batch_norm

# Features of a max-pooled layer that are computed at once at inference.
_COLUMNS = 512


class PointwiseLayer(keras.layers.Layer):
    """Dense layer, batch norm and ReLU: [..., num_features] -> [..., width].

    Statistics are taken over all axes but the last. The momentum of the moving averages is a
    variable that a schedule sets while a compiled step runs; it is not one of the `weights`.
    A bias before batch norm (`use_bias`) has no effect; only the published example has it.
    """

    def __init__(
        self,
        num_features: int,
        width: int,
        *,
        use_bias: bool = False,
        momentum: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.width = width
        self.use_bias = use_bias
        self.folded = False
        # Keras casts the weights of an outermost layer even where `autocast` is off.
        add = partial(self.add_weight, autocast=False)
        self.kernel = add((num_features, width), "glorot_uniform", name="kernel")
        if use_bias:
            self.bias = add((width,), "zeros", name="bias")
        self.gamma = add((width,), "ones", name="gamma")
        self.beta = add((width,), "zeros", name="beta")
        self.moving_mean = add((width,), "zeros", name="moving_mean", trainable=False)
        self.moving_variance = add((width,), "ones", name="moving_variance", trainable=False)
        initial = keras.initializers.Constant(momentum)
        self.momentum = add((), initial, name="momentum", trainable=False)
        self.built = True

    @property
    def weights(self) -> list[keras.Variable]:
        """The layer's parameters and moving averages, without the momentum."""
        return [weight for weight in super().weights if weight.name != "momentum"]

    def call(self, inputs: Any, training: bool = False) -> Any:
        """[..., num_features] -> [..., width]; `training` takes the statistics from the inputs."""
        if not (training and self.trainable):
            kernel, offset = self.folded_weights()
            return self._relu(self._product(inputs, kernel), offset)
        product = self._product(inputs, self.kernel)
        features, mean, variance = batch_norm_relu(product, *self._gamma_and_beta())
        self._update_moving_averages(mean, variance)
        return ops.cast(features, self.compute_dtype)

    def folded_weights(self) -> tuple[Any, Any]:
        """Kernel [I, O] and offset [O] of the layer at inference, relu(x kernel + offset)."""
        kernel, offset = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.beta)
        if self.folded:
            return kernel, offset
        scale = self.gamma * ops.rsqrt(self.moving_variance + EPSILON)
        mean = self.moving_mean - self.bias if self.use_bias else self.moving_mean
        return kernel * scale, offset - mean * scale

    def fold(self) -> None:
        """Folds batch norm into kernel and beta, once and for all: for inference only."""
        kernel, offset = self.folded_weights()
        self.kernel.assign(kernel)
        self.beta.assign(offset)
        self.folded = True

    def _product(self, inputs: Any, kernel: Any) -> Any:
        return matmul(inputs, kernel)

    def _gamma_and_beta(self) -> tuple[Any, Any]:
        """Both as tensors; a bias takes part, but its gradient is zero."""
        beta = self.beta + 0.0 * self.bias if self.use_bias else self.beta
        # Copies, because a custom gradient takes tensors, not variables.
        return ops.copy(self.gamma), ops.copy(beta)

    def _relu(self, product: Any, offset: Any) -> Any:
        """ReLU of product plus offset, added in the product's type, in the compute type."""
        return ops.cast(ops.relu(product + ops.cast(offset, product.dtype)), self.compute_dtype)

    def _update_moving_averages(self, mean: Any, variance: Any) -> None:
        """Moves the averages towards a batch's statistics, those of the product without bias."""
        if self.use_bias:
            mean = mean + self.bias
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * (1.0 - keep))
        self.moving_variance.assign(self.moving_variance * keep + variance * (1.0 - keep))


class PooledLayer(PointwiseLayer):
    """A pointwise layer and the maximum over a cloud's points: [B, N, I] -> [B, width]."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """[B, N, I] -> [B, width]."""
        if training and self.trainable:
            kernel = ops.copy(self.kernel)
            features, mean, variance = max_relu_batch_norm(inputs, kernel, *self._gamma_and_beta())
            self._update_moving_averages(mean, variance)
            return ops.cast(features, self.compute_dtype)
        kernel, offset = self.folded_weights()
        # Some columns at a time: all of [B, N, O] would be by far the largest tensor there is.
        columns = [
            ops.max(matmul(inputs, kernel[:, start : start + _COLUMNS]), axis=1)
            for start in range(0, self.width, _COLUMNS)
        ]
        # Offset and ReLU keep the order, so the maximum may come first: [B, N, O] -> [B, O]
        return self._relu(ops.concatenate(columns, axis=-1), offset)


class SplitLayer(PointwiseLayer):
    """Dense layer, batch norm and ReLU over local and global features without joining them.

    `concatenate(local, tile(global)) @ W` is `local @ W[:L] + (global @ W[L:])[:, None]`. The
    kernel keeps the joined form's layout: rows of the local features first, in their order.
    """

    def __init__(
        self, local_widths: Sequence[int], global_width: int, width: int, **kwargs: Any
    ) -> None:
        super().__init__(sum(local_widths) + global_width, width, **kwargs)
        self.local_widths = tuple(local_widths)

    def _product(self, inputs: tuple[Sequence[Any], Any], kernel: Any) -> Any:
        """Local features, each [B, N, *], and global ones [B, *] -> [B, N, O]."""
        local_features, global_features = inputs
        product, start = None, 0
        # The global features come last, also in time: until then only one sum has to be kept.
        for features, width in zip(local_features, self.local_widths, strict=True):
            part = matmul(features, kernel[start : start + width])
            product = part if product is None else product + part
            start += width
        return product + matmul(global_features, kernel[start:])[:, None]  # [B, O] -> [B, 1, O]


def matmul(inputs: Any, kernel: Any) -> Any:
    """Inputs [..., I] times kernel [I, O] -> [..., O], in the inputs' type, as one flat product."""
    num_features, width = kernel.shape
    kernel = ops.cast(kernel, inputs.dtype)
    if len(inputs.shape) == 2:
        return ops.matmul(inputs, kernel)
    flat = ops.matmul(ops.reshape(inputs, (-1, num_features)), kernel)
    return ops.reshape(flat, (*ops.shape(inputs)[:-1], width))
