"""PointNet's layers, written in `keras.ops` alone.

    PointwiseLayer   [..., I] -> relu(batchnorm(x W)) [..., O], the same for every point
    PooledLayer      [B, N, I] -> max_n relu(batchnorm(x W)) [B, O]
    SplitLayer       local features [B, N, *] and global ones [B, *] -> [B, N, O], as if the global
                     ones had been repeated for every point and joined to the local ones
    TransformNet     [B, N, I] -> one matrix a cloud [B, D, D] (T-Net)

A layer multiplies in the type of its input and answers in its compute type; weights, statistics
and normalisation keep the variable type. So under `mixed_bfloat16` the coordinates, which come in
float32, are never rounded, and batch norm stays float32.

Reference: Qi et al., PointNet (https://arxiv.org/abs/1612.00593), section 4.2 and appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from model.batch_norm import EPSILON, relu_batch_norm
from model.pooled_layer import max_relu_batch_norm

PACKAGE = "pointnet_parts"
# Features of a max-pooled layer that are computed at once, at rest.
_COLUMNS = 512


@keras.saving.register_keras_serializable(package=PACKAGE)
class PointwiseLayer(keras.layers.Layer):
    """The same dense layer, batch norm and ReLU for every point: [..., I] -> [..., width].

    Statistics are taken over all axes but the last. The momentum of their moving averages is a
    variable, so that a schedule can move it while a compiled step runs; it is state of training
    and counts among `variables`, not among `weights`.

    Args:
      width: O, the number of output features.
      use_bias: add a bias before batch norm. Batch norm takes it away again; only the published
        example's layers have one. Without batch norm there is always one.
      normalize: apply batch norm; without it the layer is relu(x W + b), for inference.
      momentum: first value of the moving averages' momentum.
    """

    def __init__(
        self,
        width: int,
        *,
        use_bias: bool = False,
        normalize: bool = True,
        momentum: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.width = width
        self.use_bias = use_bias or not normalize
        self.normalize = normalize
        self.initial_momentum = momentum

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of shape [..., I]."""
        self._add_weights(input_shape[-1])

    def _add_weights(self, num_features: int | None) -> None:
        # Keras casts the weights of an outermost layer even where `autocast` is off.
        add = partial(self.add_weight, autocast=False)
        width = (self.width,)
        self.kernel = add((num_features, self.width), "glorot_uniform", name="kernel")
        if self.use_bias:
            self.bias = add(width, "zeros", name="bias")
        if not self.normalize:
            return
        self.gamma = add(width, "ones", name="gamma")
        self.beta = add(width, "zeros", name="beta")
        self.moving_mean = add(width, "zeros", name="moving_mean", trainable=False)
        self.moving_variance = add(width, "ones", name="moving_variance", trainable=False)
        momentum = keras.initializers.Constant(self.initial_momentum)
        self.momentum = add((), momentum, name="momentum", trainable=False)

    @property
    def weights(self) -> list[keras.Variable]:
        """The layer's parameters and moving averages, without the momentum."""
        weights = super().weights
        if not self.built or not self.normalize:
            return weights
        return [weight for weight in weights if weight is not self.momentum]

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs [..., I] -> [..., width]; `training` takes the statistics from the inputs."""
        num_features = inputs.shape[-1]
        if not self._uses_batch_statistics(training):
            kernel, offset = self.folded_weights()
            return self._relu(matmul(inputs, kernel), offset)
        if len(inputs.shape) < 3 or num_features > self.width:
            return self._normalized_relu(matmul(inputs, self.kernel))
        flat = ops.reshape(inputs, (-1, num_features))
        features, mean, variance = relu_batch_norm(flat, *self._batch_norm_weights())
        self._update_moving_averages(mean, variance)
        shape = (*ops.shape(inputs)[:-1], self.width)
        return ops.reshape(ops.cast(features, self.compute_dtype), shape)

    def folded_weights(self) -> tuple[Any, Any]:
        """Kernel [I, O] and offset [O] with which the layer at rest is relu(x kernel + offset)."""
        kernel = ops.convert_to_tensor(self.kernel)
        if not self.normalize:
            return kernel, ops.convert_to_tensor(self.bias)
        scale = self.gamma * ops.rsqrt(self.moving_variance + EPSILON)
        mean = self.moving_mean - self.bias if self.use_bias else self.moving_mean
        return kernel * scale, self.beta - mean * scale

    def _uses_batch_statistics(self, training: bool) -> bool:
        return training and self.trainable and self.normalize

    def _batch_norm_weights(self) -> tuple[Any, Any, Any]:
        """Kernel, gamma and beta for training; a bias takes part, but its gradient is zero."""
        beta = self.beta + 0.0 * self.bias if self.use_bias else self.beta
        # Copies, because a custom gradient takes tensors: TensorFlow's variables are none.
        return ops.copy(self.kernel), ops.copy(self.gamma), ops.copy(beta)

    def _relu(self, product: Any, offset: Any) -> Any:
        """ReLU of product plus offset, added in the product's type, in the compute type."""
        return ops.cast(ops.relu(product + ops.cast(offset, product.dtype)), self.compute_dtype)

    def _normalized_relu(self, product: Any) -> Any:
        """ReLU of the product's batch norm under its own statistics, in the compute type."""
        product = ops.cast(product, self.variable_dtype)
        mean, variance = ops.moments(product, axes=list(range(len(product.shape) - 1)))
        self._update_moving_averages(mean, variance)
        _, gamma, beta = self._batch_norm_weights()
        normalized = ops.batch_normalization(
            product, mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=EPSILON
        )
        return ops.cast(ops.relu(normalized), self.compute_dtype)

    def _update_moving_averages(self, mean: Any, variance: Any) -> None:
        """Move the averages towards a batch's statistics, those of the product without the bias."""
        if self.use_bias:
            mean = mean + self.bias
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * (1.0 - keep))
        self.moving_variance.assign(self.moving_variance * keep + variance * (1.0 - keep))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """[..., I] -> [..., width]."""
        return (*input_shape[:-1], self.width)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same layer."""
        return {
            **super().get_config(),
            "width": self.width,
            "use_bias": self.use_bias,
            "normalize": self.normalize,
            "momentum": self.initial_momentum,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PointwiseLayer:
        """The layer that `get_config` described."""
        return cls(**config)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PooledLayer(PointwiseLayer):
    """A pointwise layer and the maximum over a cloud's points: [B, N, I] -> [B, width]."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs [B, N, I] -> [B, width]."""
        if not self._uses_batch_statistics(training):
            kernel, offset = self.folded_weights()
            # Some columns at a time: all of [B, N, O] would be by far the largest tensor there is.
            columns = [
                ops.max(matmul(inputs, kernel[:, start : start + _COLUMNS]), axis=1)
                for start in range(0, self.width, _COLUMNS)
            ]
            largest = ops.concatenate(columns, axis=-1) if len(columns) > 1 else columns[0]
            # Offset and ReLU keep the order, so the maximum may come first: [B, N, O] -> [B, O]
            return self._relu(largest, offset)
        features, mean, variance = max_relu_batch_norm(inputs, *self._batch_norm_weights())
        self._update_moving_averages(mean, variance)
        return ops.cast(features, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """[B, N, I] -> [B, width]."""
        return (input_shape[0], self.width)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SplitLayer(PointwiseLayer):
    """A pointwise layer over local and global features that never stand side by side in memory.

    `concatenate(local, tile(global)) @ W` is `local @ W[:L] + (global @ W[L:])[:, None]`, and a
    product with joined features is the sum of products. The kernel keeps the joined form's layout:
    rows of the local features first, in their order.

    Args:
      local_widths: widths of the local features [B, N, *].
      global_width: width of the global ones [B, *].
      width: O.
    """

    def __init__(
        self, local_widths: Sequence[int], global_width: int, width: int, **kwargs: Any
    ) -> None:
        super().__init__(width, **kwargs)
        self.local_widths = tuple(local_widths)
        self.global_width = global_width

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; the widths are known without any input."""
        self._add_weights(sum(self.local_widths) + self.global_width)

    def call(self, inputs: tuple[Sequence[Any], Any], training: bool = False) -> Any:
        """Local features, each [B, N, *], and global ones [B, *] -> [B, N, width]."""
        if self._uses_batch_statistics(training):
            return self._normalized_relu(self._split_product(inputs, self.kernel))
        kernel, offset = self.folded_weights()
        return self._relu(self._split_product(inputs, kernel), offset)

    def _split_product(self, inputs: tuple[Sequence[Any], Any], kernel: Any) -> Any:
        local_features, global_features = inputs
        product, start = None, 0
        # The global features come last, also in time: until then only one sum has to be kept.
        for features, width in zip(local_features, self.local_widths, strict=True):
            part = matmul(features, kernel[start : start + width])
            product = part if product is None else product + part
            start += width
        return product + matmul(global_features, kernel[start:])[:, None]  # [B, O] -> [B, 1, O]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Local features, each [B, N, *] -> [B, N, width]."""
        return (*input_shape[0][0][:-1], self.width)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same layer."""
        return {
            **super().get_config(),
            "local_widths": self.local_widths,
            "global_width": self.global_width,
        }


@keras.saving.register_keras_serializable(package=PACKAGE)
class TransformNet(keras.layers.Layer):
    """T-Net: from a cloud's features to the matrix that turns them, [B, N, I] -> [B, I, I].

    It starts as the identity (appendix C): the last layer's kernel is zero, its bias the identity
    matrix. The matrix is answered in the variable type, as the orthogonality loss wants it.

    Args:
      widths: pointwise layers; the last one is max-pooled.
      dense_widths: dense layers behind the maximum.
      use_bias: biases before batch norm, see `PointwiseLayer`.
      normalize: apply batch norm, see `PointwiseLayer`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        dense_widths: Sequence[int],
        *,
        use_bias: bool = False,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.widths = tuple(widths)
        self.dense_widths = tuple(dense_widths)
        self.use_bias = use_bias
        self.normalize = normalize
        options = {"use_bias": use_bias, "normalize": normalize, "dtype": self.dtype_policy}
        self.pointwise = [
            PointwiseLayer(width, name=f"pointwise_{i}", **options)
            for i, width in enumerate(self.widths[:-1])
        ]
        self.pooled = PooledLayer(self.widths[-1], name="pooled", **options)
        self.dense = [
            PointwiseLayer(width, name=f"dense_{i}", **options)
            for i, width in enumerate(self.dense_widths)
        ]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of shape [..., I]."""
        self.size = int(input_shape[-1] or 0)
        shape: tuple[int | None, ...] = tuple(input_shape)
        for layer in (*self.pointwise, self.pooled, *self.dense):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        add = partial(self.add_weight, autocast=False)
        self.kernel = add((shape[-1], self.size**2), "zeros", name="kernel")
        self.bias = add((self.size**2,), _flat_identity, name="bias")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs [B, N, I] -> matrices [B, I, I]."""
        features = inputs
        for layer in (*self.pointwise, self.pooled, *self.dense):
            features = layer(features, training=training)
        features = ops.cast(features, self.variable_dtype)
        # [B, I * I] -> [B, I, I]
        return ops.reshape(matmul(features, self.kernel) + self.bias, (-1, self.size, self.size))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """[B, N, I] -> [B, I, I]."""
        return (input_shape[0], input_shape[-1], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same layer."""
        return {
            **super().get_config(),
            "widths": self.widths,
            "dense_widths": self.dense_widths,
            "use_bias": self.use_bias,
            "normalize": self.normalize,
        }


def _flat_identity(shape: Sequence[int], dtype: Any = None) -> Any:
    size = round(shape[0] ** 0.5)
    return ops.reshape(ops.eye(size, dtype=dtype), shape)


def matmul(inputs: Any, kernel: Any) -> Any:
    """Inputs [..., I] times kernel [I, O] -> [..., O], in the inputs' type, as one flat product."""
    num_features, width = kernel.shape
    leading = tuple(inputs.shape[:-1])
    kernel = ops.cast(kernel, inputs.dtype)
    if len(leading) == 1:
        return ops.matmul(inputs, kernel)
    flat = ops.matmul(ops.reshape(inputs, (-1, num_features)), kernel)
    return ops.reshape(flat, (*ops.shape(inputs)[:-1], width))
