"""The published Keras example, rewritten from its description: data loops, formulation, recipe.

https://keras.io/examples/vision/pointnet_segmentation/. These are baselines, so they do what the
example does, its faults included:

- a shape that lacks the file of one part, or has fewer points than are drawn, is skipped;
- points are drawn once for each shape, before it is normalised; jitter is the only augmentation;
- unannotated points are a class of their own;
- the regulariser of both T-Nets multiplies the matrices of different clouds;
- batch norm has momentum 0, so that validation sees the last batch's statistics;
- Adam without clipping; the learning rate falls once, to a quarter, after a quarter of the epochs;
- the epoch with the lowest validation loss is kept.

The example has one category; here the network gets the category, as ours does, which helps it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from model.networks.families import NetworkSettings
from model.networks.interface import SegmentationNetwork
from schema.categories import Category, class_ranges
from schema.record import CATEGORY, POINTS, Cloud

Loaded = tuple[np.ndarray, np.ndarray, list[str]]
JITTER = 0.005
LEARNING_RATE = 1e-3
REGULARISATION = 1e-3


def load(folder: Path, parts: Sequence[str], names: Sequence[str], count: int) -> list[Loaded]:
    """The example's first loop: a category's folder -> points, one-hot labels, names of parts.

    Shapes with fewer than `count` points are skipped.
    """
    loaded = []
    for name in names:
        points = np.loadtxt(folder / "points" / f"{name}.pts")
        if len(points) < count:
            continue
        files = {part: folder / "points_label" / part / f"{name}.seg" for part in parts}
        masks = {p: np.loadtxt(f).astype("float32") for p, f in files.items() if f.exists()}
        part_of = ["none"] * len(points)
        for part in parts:
            if part not in masks:
                break
            for index, value in enumerate(masks[part]):
                part_of[index] = part if value == 1 else part_of[index]
        else:
            labels = [parts.index(part) if part != "none" else len(parts) for part in part_of]
            one_hot = keras.utils.to_categorical(labels, num_classes=len(parts) + 1)
            loaded.append((points, one_hot, part_of))
    return loaded


def preprocess(clouds: Sequence[Loaded], count: int) -> list[Loaded]:
    """The example's second loop: draws `count` points of each cloud, then normalises them."""
    prepared = []
    for points, one_hot, part_of in clouds:
        drawn = random.sample(list(range(len(points))), count)
        sample = np.array([points[index] for index in drawn])
        labels = np.array([one_hot[index] for index in drawn])
        names = np.array([part_of[index] for index in drawn])
        sample = sample - np.mean(sample, axis=0)
        sample /= np.max(np.linalg.norm(sample, axis=1))
        prepared.append((sample, labels, names))
    return prepared


def example_network(settings: NetworkSettings, num_classes: int, num_points: int) -> keras.Model:
    """The example's formulation: points [B, N, 3] -> (logits, feature transform).

    Keras's layers one after the other; the global feature is tiled and concatenated.
    """

    def block(tensor: Any, width: int) -> Any:
        linear = layers.Conv1D(width, 1) if tensor.ndim == 3 else layers.Dense(width)
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(linear(tensor)))

    def transformed(tensor: Any) -> tuple[Any, Any]:
        size = tensor.shape[-1]
        hidden = tensor
        for width in settings.transform_widths:
            hidden = block(hidden, width)
        hidden = layers.GlobalMaxPooling1D()(hidden)
        for width in settings.transform_dense_widths:
            hidden = block(hidden, width)
        identity = keras.initializers.Constant(np.eye(size).ravel())
        matrix = layers.Dense(size**2, kernel_initializer="zeros", bias_initializer=identity)
        transform = layers.Reshape((size, size))(matrix(hidden))
        return layers.Dot(axes=(2, 1))([tensor, transform]), transform

    points = keras.Input((num_points, 3))
    features, _ = transformed(points)
    joined = []
    for width in settings.local_widths:
        features = block(features, width)
        joined.append(features)
    features, transform = transformed(features)
    joined.append(features)
    *before_pooled, pooled = settings.global_widths
    for width in before_pooled:
        features = block(features, width)
        joined.append(features)
    global_feature = layers.MaxPooling1D(num_points)(block(features, pooled))
    joined.append(ops.tile(global_feature, (1, num_points, 1)))
    features = layers.Concatenate()(joined)
    for width in settings.head_widths:
        features = block(features, width)
    return keras.Model(points, [layers.Conv1D(num_classes, 1)(features), transform])


def paired_weights(network: Any, example: keras.Model) -> list[tuple[Any, Any]]:
    """Each weight of our PointNet, made with biases, and the same one of `example_network`."""
    ours: list[Any] = []

    def blocks(*chain: Any) -> None:
        for layer in chain:
            ours.extend((layer.kernel, layer.bias, layer.gamma, layer.beta))
            ours.extend((layer.moving_mean, layer.moving_variance))

    def transform(net: Any) -> None:
        blocks(*net.pointwise, net.pooled, *net.dense)
        ours.extend((net.kernel, net.bias))

    transform(network.input_transform)
    blocks(*network.local_layers)
    transform(network.feature_transform)
    blocks(*network.global_layers, network.pooled_layer, network.split_layer, *network.head_layers)
    ours.extend((network.logits_kernel, network.logits_bias))
    # The example's layers have the same order.
    theirs = [weight for layer in example.layers for weight in layer.weights]
    return list(zip(ours, theirs, strict=True))


def copy_weights(network: SegmentationNetwork, example: keras.Model) -> None:
    """Gives the example's layers our network's weights."""
    for weight, target in paired_weights(network, example):
        target.assign(ops.reshape(weight, target.shape))


def fit(
    network: SegmentationNetwork,
    training: Any,
    validation: Any,
    epochs: int,
    rate: Any,
    folder: Path,
) -> None:
    """Trains with Adam by Keras's `fit`; keeps the epoch with the lowest validation loss."""
    inputs = {POINTS: keras.Input((None, 3)), CATEGORY: keras.Input((), dtype="int32")}
    model = keras.Model(inputs, network(inputs[POINTS], category=inputs[CATEGORY]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model.compile(keras.optimizers.Adam(rate), loss)
    best = folder / "best.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True)
    model.fit(training, validation_data=validation, epochs=epochs, verbose=0, callbacks=[keep])
    model.load_weights(best)


def learning_rate(steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The example's schedule over so many steps."""
    boundaries, values = [max(steps // 4, 1)], [LEARNING_RATE, LEARNING_RATE / 4]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


def mixed_orthogonality(matrices: Any) -> Any:
    """The example's regulariser of [B, C, C], divided by B as Keras 2 divides it."""
    batch, size = ops.shape(matrices)[0], matrices.shape[-1]
    products = ops.tensordot(matrices, matrices, axes=((2,), (2,)))  # [B, C, B, C]
    products = ops.reshape(products, (-1, size, size))
    total = ops.sum(ops.square(products - ops.eye(size, dtype=matrices.dtype)))
    return REGULARISATION * total / ops.cast(batch, matrices.dtype)


def drawn_samples(
    clouds: Sequence[Cloud], categories: tuple[Category, ...], count: int, rng: Any
) -> tf.data.Dataset:
    """Normalised draws of the clouds that the example keeps; one more class, "none", comes last."""
    names, ranges = [category.name for category in categories], class_ranges(categories)
    points, labels, kinds = [], [], []
    for cloud in clouds:
        kind = names.index(cloud.category)
        present = set(np.unique(cloud.labels)) - {-1}
        if len(cloud.points) < count or len(present) < len(categories[kind].parts):
            continue
        drawn = rng.choice(len(cloud.points), count, replace=False)
        sample = cloud.points[drawn].astype(np.float64)
        sample -= sample.mean(axis=0)
        points.append(sample / np.linalg.norm(sample, axis=1).max())
        known = cloud.labels[drawn]
        labels.append(np.where(known < 0, ranges[-1][1], known + ranges[kind][0]))
        kinds.append(kind)
    inputs = {POINTS: np.array(points, np.float32), CATEGORY: np.array(kinds, np.int32)}
    return tf.data.Dataset.from_tensor_slices((inputs, np.array(labels, np.int32)))


def jittered(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> Any:
    """The example's augmentation."""
    noise = tf.random.uniform(tf.shape(inputs[POINTS]), -JITTER, JITTER)
    return {**inputs, POINTS: inputs[POINTS] + noise}, labels
