"""What training, export and evaluation know of a network."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Self

from model.networks.layers import PointwiseLayer
from model.networks.settings import FamilySettings

# Far below any logit, yet finite in bfloat16 and float32: its softmax is 0 and never NaN.
EXCLUDED_LOGIT = -1e9


class SegmentationNetwork(keras.Model):
    """Logits of each point's part; made by `FamilySettings.build`, with its weights.

    Regularisation losses are added by `add_loss`: read `losses` after a call.
    """

    def __init__(
        self,
        settings: FamilySettings,
        num_classes: int,
        num_categories: int = 1,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(autocast=False, dtype=dtype)
        self.settings = settings
        self.num_classes = num_classes
        self.num_categories = num_categories
        # Families make all weights in their constructors.
        self.built = True

    def call(
        self, points: Any, category: Any = None, valid: Any = None, training: bool = False
    ) -> Any:
        """Logits [B, N, K] in the variable type, for any N >= 1.

        `points` is float [B, N, 3], normalised; `category`, int [B], is ignored by a network of
        one category; `valid`, bool [B, N], is False in padding, None without padding. `training`
        normalises with the batch's statistics, updates the moving ones and applies dropout.
        """
        raise NotImplementedError

    def for_inference(self) -> Self:
        """A new network with the same predictions and batch norm folded into its weights."""
        network = self.settings.build(self.num_classes, self.num_categories)
        network.set_weights(self.get_weights())
        for layer in network._flatten_layers():
            if isinstance(layer, PointwiseLayer):
                layer.fold()
        network.trainable = False
        return network  # type: ignore[return-value]

    def set_batch_norm_momentum(self, momentum: float) -> None:
        """Sets the momentum of all moving averages; compiled steps see it too."""
        for layer in self._flatten_layers():
            if isinstance(layer, PointwiseLayer):
                layer.momentum.assign(momentum)


def limit_to_category(logits: Any, category: Any, class_ranges: Any) -> Any:
    """Logits [B, N, K] in which classes of other categories than a cloud's hold `EXCLUDED_LOGIT`.

    `category` is int [B]; `class_ranges`, int [C, 2], has each category's first class and the one
    after its last.
    """
    ranges = ops.take(ops.convert_to_tensor(np.asarray(class_ranges), "int32"), category, axis=0)
    classes = ops.arange(logits.shape[-1], dtype="int32")
    inside = ops.logical_and(classes >= ranges[:, :1], classes < ranges[:, 1:])  # [B, K]
    return ops.where(inside[:, None], logits, ops.cast(EXCLUDED_LOGIT, logits.dtype))
