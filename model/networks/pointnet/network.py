"""PointNet for part segmentation: points [B, N, 3] -> logits [B, N, K], for any N >= 1.

    points --input T-Net--> pointwise 64, 128, 128 --feature T-Net--> pointwise 512 --> pooled 2048
                                  |    |    |                |              |              |
                                  +----+----+---- local -----+--------------+    global, category
                                                    |                                 |
                                                    +------------> head <-------------+

The widths in the figure are the defaults, those of the published Keras example.

Reference: Qi et al., PointNet (https://arxiv.org/abs/1612.00593), section 4.2 and appendix C. As in
the paper's figure, and unlike its published code, the head does not get the features of the layer
before the maximum for each point.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from model.networks.interface import SegmentationNetwork
from model.networks.layers import PointwiseLayer, PooledLayer, SplitLayer, matmul
from model.networks.pointnet.settings import PointNetSettings


class TransformNet(keras.layers.Layer):
    """T-Net: a matrix for each cloud, [B, N, I] -> [B, I, I], in the variable type.

    It starts as the identity (appendix C): the last layer's kernel is zero, its bias the identity
    matrix. `widths` are pointwise layers, the last one max-pooled; `dense_widths` follow it.
    """

    def __init__(
        self,
        size: int,
        widths: Sequence[int],
        dense_widths: Sequence[int],
        *,
        use_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.size = size
        options = {"use_bias": use_bias, "dtype": self.dtype_policy}
        self.pointwise = [
            PointwiseLayer(*pair, name=f"pointwise_{i}", **options)
            for i, pair in enumerate(itertools.pairwise((size, *widths[:-1])))
        ]
        self.pooled = PooledLayer((size, *widths)[-2], widths[-1], name="pooled", **options)
        self.dense = [
            PointwiseLayer(*pair, name=f"dense_{i}", **options)
            for i, pair in enumerate(itertools.pairwise((widths[-1], *dense_widths)))
        ]
        add = partial(self.add_weight, autocast=False)
        self.kernel = add(((*widths, *dense_widths)[-1], size**2), "zeros", name="kernel")
        self.bias = add((size**2,), _flat_identity, name="bias")
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """[B, N, I] -> [B, I, I]."""
        features = inputs
        for layer in (*self.pointwise, self.pooled, *self.dense):
            features = layer(features, training=training)
        features = ops.cast(features, self.variable_dtype)
        # [B, I * I] -> [B, I, I]
        return ops.reshape(matmul(features, self.kernel) + self.bias, (-1, self.size, self.size))


class Network(SegmentationNetwork):
    """See the module's docstring."""

    settings: PointNetSettings

    def __init__(
        self,
        settings: PointNetSettings,
        num_classes: int,
        num_categories: int = 1,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(settings, num_classes, num_categories, dtype)
        options: dict[str, Any] = {
            "use_bias": settings.bias_before_batch_norm,
            "dtype": self.dtype_policy,
        }

        def transform(name: str, size: int) -> TransformNet:
            widths = (settings.transform_widths, settings.transform_dense_widths)
            return TransformNet(size, *widths, name=name, **options)

        def pointwise(name: str, *widths: int, number: int = 0) -> list[PointwiseLayer]:
            pairs = enumerate(itertools.pairwise(widths), number)
            return [PointwiseLayer(*pair, name=f"{name}_{i}", **options) for i, pair in pairs]

        self.input_transform = transform("input_transform", 3) if settings.input_transform else None
        self.local_layers = pointwise("local", 3, *settings.local_widths)
        last = settings.local_widths[-1]
        self.feature_transform = (
            transform("feature_transform", last) if settings.feature_transform else None
        )
        *before_pooled, pooled = settings.global_widths
        self.global_layers = pointwise("global", last, *before_pooled)
        self.pooled_layer = PooledLayer(
            before_pooled[-1] if before_pooled else last, pooled, name="pooled", **options
        )
        transformed = (last,) if settings.feature_transform else ()
        category_width = self.num_categories if self.num_categories > 1 else 0
        self.split_layer = SplitLayer(
            (*settings.local_widths, *transformed, *before_pooled),
            pooled + category_width,
            settings.head_widths[0],
            name="head_0",
            **options,
        )
        self.head_layers = pointwise("head", *settings.head_widths, number=1)
        self.dropouts = [
            keras.layers.Dropout(settings.dropout, name=f"dropout_{i}", dtype=self.dtype_policy)
            for i in range(len(settings.head_widths))
        ]
        add = partial(self.add_weight, autocast=False)
        shape = (settings.head_widths[-1], self.num_classes)
        self.logits_kernel = add(shape, "glorot_uniform", name="logits_kernel")
        self.logits_bias = add((self.num_classes,), "zeros", name="logits_bias")

    def call(
        self, points: Any, category: Any = None, valid: Any = None, training: bool = False
    ) -> Any:
        """Logits [B, N, K]; see `SegmentationNetwork.call`."""
        features = ops.cast(points, self.variable_dtype)
        if valid is not None:
            # Copies of the first point change no maximum over points.
            features = ops.where(valid[:, :, None], features, features[:, :1, :])
        if self.input_transform:
            features = ops.matmul(features, self.input_transform(features, training=training))
        local_features = []
        for layer in self.local_layers:
            features = layer(features, training=training)
            local_features.append(features)
        if self.feature_transform:
            transform = self.feature_transform(features, training=training)
            if training and self.settings.orthogonality:
                self.add_loss(self.settings.orthogonality * orthogonality(transform))
            features = ops.matmul(features, ops.cast(transform, features.dtype))
            local_features.append(features)
        for layer in self.global_layers:
            features = layer(features, training=training)
            local_features.append(features)
        global_features = self.pooled_layer(features, training=training)
        if self.num_categories > 1:
            one_hot = ops.one_hot(category, self.num_categories, dtype=global_features.dtype)
            # [B, G] -> [B, G + C]
            global_features = ops.concatenate([global_features, one_hot], axis=-1)
        features = self.split_layer((local_features, global_features), training=training)
        features = self.dropouts[0](features, training=training)
        for layer, dropout in zip(self.head_layers, self.dropouts[1:], strict=True):
            features = dropout(layer(features, training=training), training=training)
        logits = ops.cast(matmul(features, self.logits_kernel), self.variable_dtype)
        return logits + self.logits_bias


def orthogonality(transform: Any) -> Any:
    """Mean over clouds of ||T T' - I||_F^2 of transforms [B, C, C] (appendix C, equation 2)."""
    gram = ops.matmul(transform, ops.transpose(transform, (0, 2, 1)))
    distance = gram - ops.eye(transform.shape[-1], dtype=transform.dtype)
    # Not `ops.mean`, which on JAX rounds float64 to float32.
    return ops.sum(ops.square(distance)) / ops.cast(ops.shape(gram)[0], gram.dtype)


def _flat_identity(shape: Sequence[int], dtype: Any = None) -> Any:
    size = round(shape[0] ** 0.5)
    return ops.reshape(ops.eye(size, dtype=dtype), shape)
