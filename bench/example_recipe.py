"""The published Keras example's training recipe, its faults included, on the same network.

It serves as the baseline of `bench.quality` and of nothing else:

- points are drawn once for each shape, and normalised after that; jitter is all augmentation;
- a shape that lacks a part is dropped, and one of fewer points than are drawn is skipped;
- unannotated points are a class of their own;
- both T-Nets are pulled by a regulariser that multiplies the matrices of different clouds;
- batch norm keeps no history: its momentum is 0, so validation sees the last batch's statistics;
- Adam without clipping; the learning rate falls once, to a quarter, after a quarter of the epochs;
- the epoch with the lowest validation loss is kept.

The example knows one category; here it is told the category, as ours is, which helps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from model.network import PointNet
from model.settings import NetworkSettings
from schema.categories import Category, class_ranges
from schema.record import CATEGORY, POINTS, Cloud

JITTER = 0.005
LEARNING_RATE = 1e-3
REGULARISATION = 1e-3


class ExampleModel(keras.Model):
    """The network with the example's loss."""

    def __init__(self, network: PointNet) -> None:
        super().__init__(name="example")
        self.network = network

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Logits [B, N, K + 1] and the T-Nets' matrices."""
        several = self.network.num_categories > 1
        points = inputs if several else inputs[POINTS]
        return self.network(points, training=training, return_transforms=True)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Cross-entropy over all points, and the regulariser of both T-Nets."""
        logits, transforms = y_pred
        loss = ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))
        return loss + sum(mixed_orthogonality(matrix) for matrix in transforms.values())


def mixed_orthogonality(matrices: Any) -> Any:
    """The example's regulariser of [B, C, C], divided by B as Keras divides it."""
    batch, size = ops.shape(matrices)[0], matrices.shape[-1]
    products = ops.tensordot(matrices, matrices, axes=((2,), (2,)))  # [B, C, B, C]
    products = ops.reshape(products, (-1, size, size))
    total = ops.sum(ops.square(products - ops.eye(size, dtype=matrices.dtype)))
    return REGULARISATION * total / ops.cast(batch, matrices.dtype)


def train_example(
    training: Sequence[Cloud],
    validation: Sequence[Cloud],
    categories: tuple[Category, ...],
    settings: NetworkSettings,
    epochs: int,
    batch_size: int,
    count: int,
    seed: int,
    folder: Path,
) -> PointNet:
    """Trains a network as the example does.

    Args:
      training: raw clouds.
      validation: raw clouds.
      categories: in the order of the classes; one more class stands behind them, "none".
      settings: widths.
      epochs: how many.
      batch_size: clouds a step; the last batch may be smaller.
      count: points drawn of each cloud.
      seed: of weights, draws and order.
      folder: for the checkpoint.
    """
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    num_classes = class_ranges(categories)[-1][1]
    network = PointNet(settings, num_classes + 1, len(categories))
    network.set_batch_norm_momentum(0.0)
    model = ExampleModel(network)
    train, val = (
        _arrays(records, categories, count, rng, num_classes) for records in (training, validation)
    )
    size = len(train[1])
    steps = -(-size // batch_size)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [max(steps * epochs // 4, 1)], [LEARNING_RATE, LEARNING_RATE / 4]
    )
    model.compile(optimizer=keras.optimizers.Adam(schedule))
    shuffled = tf.data.Dataset.from_tensor_slices(train).shuffle(size, seed=seed)
    checkpoint = folder / "example.weights.h5"
    model.fit(
        shuffled.batch(batch_size).map(_jittered),
        validation_data=tf.data.Dataset.from_tensor_slices(val).batch(batch_size),
        epochs=epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(
                checkpoint, monitor="val_loss", save_best_only=True, save_weights_only=True
            )
        ],
    )
    if checkpoint.exists():
        model.load_weights(checkpoint)
    return network


def _arrays(
    records: Sequence[Cloud],
    categories: tuple[Category, ...],
    count: int,
    rng: np.random.Generator,
    none: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The clouds that the example keeps: normalised draws, and classes."""
    ranges = class_ranges(categories)
    names = [category.name for category in categories]
    points, labels, kinds = [], [], []
    for record in records:
        kind = names.index(record.category)
        found = set(np.unique(record.labels)) - {-1}
        if len(record.points) < count or len(found) < len(categories[kind].parts):
            continue
        drawn = rng.choice(len(record.points), count, replace=False)
        sample = record.points[drawn].astype(np.float64)
        sample -= sample.mean(axis=0)
        points.append(sample / np.linalg.norm(sample, axis=1).max())
        known = record.labels[drawn]
        labels.append(np.where(known < 0, none, known + ranges[kind][0]))
        kinds.append(kind)
    inputs = {
        POINTS: np.array(points, np.float32),
        CATEGORY: np.array(kinds, np.int32),
    }
    return inputs, np.array(labels, np.int32)


def _jittered(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> Any:
    noise = tf.random.uniform(tf.shape(inputs[POINTS]), -JITTER, JITTER)
    return {**inputs, POINTS: inputs[POINTS] + noise}, labels
