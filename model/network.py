"""PointNet for part segmentation: points [B, N, 3] -> logits [B, N, K], for any N >= 1.

    points --input T-Net--> pointwise 64, 128, 128 --feature T-Net--> pointwise 512 --> pooled 2048
                                  |    |    |                |              |              |
                                  +----+----+---- local -----+--------------+    global, category
                                                    |                                 |
                                                    +------------> head <-------------+

Widths are `NetworkSettings`; the figures here are its defaults, those of the published Keras
example. Nothing in the network knows N or the order of the points.

Reference: Qi et al., PointNet (https://arxiv.org/abs/1612.00593), section 4.2 and appendix C. As in
the paper's figure, and unlike its published code, the head does not see the layer before the
maximum point by point.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from model.layers import PACKAGE, PointwiseLayer, PooledLayer, SplitLayer, TransformNet, matmul
from model.settings import NetworkSettings

# Far below any logit, yet finite in bfloat16 and float32: its softmax is 0 and never NaN.
EXCLUDED_LOGIT = -1e9


def build_network(
    settings: NetworkSettings, num_classes: int, num_categories: int = 1
) -> keras.Model:
    """A new PointNet with its weights made, under Keras's global dtype policy.

    Args:
      settings: widths and options.
      num_classes: K, parts over all categories.
      num_categories: with more than one, the network is told each cloud's category.

    Returns:
      A `PointNet`, to be called with points [B, N, 3] or, where num_categories > 1, with
      {"points": [B, N, 3], "category": int [B]}.

    Raises:
      ValueError: num_classes or num_categories is less than 1.
    """
    return PointNet(settings, num_classes, num_categories)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PointNet(keras.Model):
    """See the module's docstring; made by `build_network`, or by `folding.fold_batch_norm`.

    Args:
      settings: widths and options.
      num_classes: K.
      num_categories: with more than one, the network is told each cloud's category.
      normalize: apply batch norm; without it the layers hold folded weights, for inference.
    """

    def __init__(
        self,
        settings: NetworkSettings | dict[str, Any],
        num_classes: int,
        num_categories: int = 1,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        for name, value in (("num_classes", num_classes), ("num_categories", num_categories)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        self.settings = NetworkSettings.model_validate(settings)
        self.num_classes = num_classes
        self.num_categories = num_categories
        self.normalize = normalize
        self.logits_kernel: Any = None
        self._make_layers()
        self.build()

    def _make_layers(self) -> None:
        settings = self.settings
        dtype: dict[str, Any] = {"dtype": self.dtype_policy}
        options = {
            "use_bias": settings.bias_before_batch_norm,
            "normalize": self.normalize,
            **dtype,
        }
        tnet = (settings.transform_widths, settings.transform_dense_widths)
        self.input_transform = (
            TransformNet(*tnet, name="input_transform", **options)
            if settings.input_transform
            else None
        )
        self.local_layers = [
            PointwiseLayer(width, name=f"local_{i}", **options)
            for i, width in enumerate(settings.local_widths)
        ]
        self.feature_transform = (
            TransformNet(*tnet, name="feature_transform", **options)
            if settings.feature_transform
            else None
        )
        self.global_layers = [
            PointwiseLayer(width, name=f"global_{i}", **options)
            for i, width in enumerate(settings.global_widths[:-1])
        ]
        self.pooled_layer = PooledLayer(settings.global_widths[-1], name="pooled", **options)
        # The transformed features are features of their own, as wide as what was transformed.
        transformed = settings.local_widths[-1:] if settings.feature_transform else ()
        local_widths = (*settings.local_widths, *transformed, *settings.global_widths[:-1])
        global_width = settings.global_widths[-1] + self._category_width
        self.split_layer = SplitLayer(
            local_widths, global_width, settings.head_widths[0], name="head_0", **options
        )
        self.head_layers = [
            PointwiseLayer(width, name=f"head_{i}", **options)
            for i, width in enumerate(settings.head_widths[1:], start=1)
        ]
        self.dropouts = [
            keras.layers.Dropout(settings.dropout, name=f"dropout_{i}", **dtype)
            for i in range(len(settings.head_widths))
        ]

    @property
    def _category_width(self) -> int:
        return self.num_categories if self.num_categories > 1 else 0

    def build(self, input_shape: Any = None) -> None:
        """Make all weights; their shapes depend on the settings alone."""
        if self.logits_kernel is not None:
            return
        shape: tuple[int | None, ...] = (None, None, 3)
        if self.input_transform:
            self.input_transform.build(shape)
        for layer in self.local_layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        if self.feature_transform:
            self.feature_transform.build(shape)
        for layer in (*self.global_layers, self.pooled_layer):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.split_layer.build()
        shape = (None, None, self.settings.head_widths[0])
        for layer in self.head_layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        # Keras casts the weights of an outermost layer even where `autocast` is off.
        add = partial(self.add_weight, autocast=False)
        self.logits_kernel = add(
            (shape[-1], self.num_classes), "glorot_uniform", name="logits_kernel"
        )
        self.logits_bias = add((self.num_classes,), "zeros", name="logits_bias")
        self.built = True

    def call(self, inputs: Any, training: bool = False, return_transforms: bool = False) -> Any:
        """Logits of every point's part.

        Args:
          inputs: points float [B, N, 3]; where num_categories > 1 a dict with `points` and
            `category` int [B].
          training: normalise with the batch's statistics, update the moving ones, drop out.
          return_transforms: also answer the T-Nets' matrices, for the orthogonality loss.

        Returns:
          Logits [B, N, K] in the variable type (float32 unless the policy is float64); with
          `return_transforms` a pair of these and a dict of the transforms that the network has:
          `input` [B, 3, 3] and `feature` [B, C, C], also in the variable type.

        Raises:
          ValueError: the category is missing, or given to a network of one category.
        """
        points, category = self._take_apart(inputs)
        transforms = {}
        features = ops.cast(points, self.variable_dtype)
        if self.input_transform:
            transforms["input"] = self.input_transform(features, training=training)
            features = ops.matmul(features, transforms["input"])
        local_features = []
        for layer in self.local_layers:
            features = layer(features, training=training)
            local_features.append(features)
        if self.feature_transform:
            transforms["feature"] = self.feature_transform(features, training=training)
            features = ops.matmul(features, ops.cast(transforms["feature"], features.dtype))
            local_features.append(features)
        for layer in self.global_layers:
            features = layer(features, training=training)
            local_features.append(features)
        global_features = self.pooled_layer(features, training=training)
        if category is not None:
            one_hot = ops.one_hot(category, self.num_categories, dtype=global_features.dtype)
            # [B, G] -> [B, G + C]
            global_features = ops.concatenate([global_features, one_hot], axis=-1)
        features = self.split_layer((local_features, global_features), training=training)
        features = self.dropouts[0](features, training=training)
        for layer, dropout in zip(self.head_layers, self.dropouts[1:], strict=True):
            features = dropout(layer(features, training=training), training=training)
        logits = ops.cast(matmul(features, self.logits_kernel), self.variable_dtype)
        logits = logits + self.logits_bias
        return (logits, transforms) if return_transforms else logits

    def _take_apart(self, inputs: Any) -> tuple[Any, Any]:
        if self.num_categories == 1:
            if isinstance(inputs, dict):
                raise ValueError(
                    "this network knows one category and is called with points alone; it got "
                    f"{', '.join(sorted(inputs))}"
                )
            return inputs, None
        if not isinstance(inputs, dict) or set(inputs) != {"points", "category"}:
            raise ValueError(
                f"this network knows {self.num_categories} categories and is called with "
                '{"points": [B, N, 3], "category": [B]}'
            )
        return inputs["points"], inputs["category"]

    def set_batch_norm_momentum(self, momentum: float) -> None:
        """Set the momentum of every batch norm's moving averages; compiled steps see it too."""
        for layer in self._flatten_layers():
            if isinstance(layer, PointwiseLayer) and layer.normalize:
                layer.momentum.assign(momentum)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same network."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "settings": self.settings.model_dump(mode="json"),
            "num_classes": self.num_classes,
            "num_categories": self.num_categories,
            "normalize": self.normalize,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PointNet:
        """The network that `get_config` described."""
        config = dict(config)
        config["dtype"] = keras.saving.deserialize_keras_object(config["dtype"])
        return cls(**config)


def limit_to_category(logits: Any, category: Any, class_ranges: Any) -> Any:
    """Logits in which only the parts of each cloud's category can win.

    Args:
      logits: float [B, N, K].
      category: int [B].
      class_ranges: int [C, 2], each category's first class and the one after its last.

    Returns:
      Logits [B, N, K]; classes of other categories hold `EXCLUDED_LOGIT`.
    """
    ranges = ops.take(ops.convert_to_tensor(np.asarray(class_ranges), "int32"), category, axis=0)
    classes = ops.arange(logits.shape[-1], dtype="int32")
    inside = ops.logical_and(classes >= ranges[:, :1], classes < ranges[:, 1:])
    excluded = ops.cast(EXCLUDED_LOGIT, logits.dtype)
    return ops.where(inside[:, None], logits, excluded)
