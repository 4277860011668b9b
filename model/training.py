"""The training loop: the recipe of `TrainingSettings`, and the checkpoint with the best validation.

    training and validation clouds -> trained network, learning curves

The checkpoint that is kept is the one with the highest instance mIoU on `val`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from keras import ops

from model.input_pipeline import (
    TransformedClouds,
    steps_per_epoch,
    training_batches,
    validation_batches,
)
from model.loss import cross_entropy, orthogonality
from model.metrics import Scores, confusion, evaluate
from model.network import PointNet, build_network, limit_to_category
from model.settings import NetworkSettings, TrainingSettings
from schema.categories import Category, class_ranges
from schema.record import CATEGORY, POINTS, UNANNOTATED

MONITORED = "val_instance_miou"
CURVES_FILE = "curves.csv"


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""


def training_device() -> str:
    """Names what this run trains on, as a person wants to read it."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "the CPU (TensorFlow sees no GPU)"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    return f"{len(gpus)} GPU: " + ", ".join(name or "unnamed" for name in names)


def dtype_policy(precision: str) -> str:
    """Keras's policy for a precision: `auto` takes bfloat16 where every GPU multiplies in it."""
    gpus = tf.config.list_physical_devices("GPU")
    if precision == "auto":
        capabilities = [
            tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
            for gpu in gpus
        ]
        precision = "bfloat16" if gpus and min(capabilities) >= (8, 0) else "float32"
    return "mixed_bfloat16" if precision == "bfloat16" else precision


class Segmentation(keras.Model):
    """The network with its loss, as `fit` trains it.

    Args:
      network: what is trained.
      settings: weight of the orthogonality loss.
    """

    def __init__(self, network: PointNet, settings: TrainingSettings):
        super().__init__(name="segmentation")
        self.network = network
        self.orthogonality_weight = settings.orthogonality
        self.accuracy = keras.metrics.Mean(name="point_accuracy")

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        conditional = self.network.num_categories > 1
        points = inputs if conditional else inputs[POINTS]
        return self.network(points, training=training, return_transforms=True)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Cross-entropy over annotated points, and the feature transform's orthogonality."""
        logits, transforms = y_pred
        loss = cross_entropy(y, logits)
        if "feature" in transforms and self.orthogonality_weight > 0:
            loss += orthogonality(transforms["feature"], self.orthogonality_weight)
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Loss and point accuracy so far in this epoch."""
        logits, _ = y_pred
        annotated = ops.not_equal(y, UNANNOTATED)
        correct = ops.equal(ops.cast(ops.argmax(logits, axis=-1), y.dtype), y)
        self.accuracy.update_state(correct, sample_weight=ops.cast(annotated, "float32"))
        return self.get_metrics_result()


class Validation(keras.callbacks.Callback):
    """Measures the validation clouds after each epoch and adds the result to the epoch's logs."""

    def __init__(
        self, clouds: TransformedClouds, categories: tuple[Category, ...], batch_size: int
    ):
        super().__init__()
        self.categories = categories
        self.ranges = class_ranges(categories)
        self.batches = validation_batches(clouds, batch_size)
        self.category = clouds.category.numpy()
        self.labels = clouds.labels.numpy()

    def set_model(self, model: Segmentation) -> None:
        super().set_model(model)

        @tf.function(reduce_retracing=True)
        def predict(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> Any:
            logits, _ = model(inputs, training=False)
            annotated = tf.reduce_sum(tf.cast(labels >= 0, tf.float32))
            loss = cross_entropy(labels, logits)
            if len(self.categories) > 1:
                logits = limit_to_category(logits, inputs[CATEGORY], self.ranges)
            finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
            return tf.where(finite, tf.argmax(logits, axis=-1), -1), loss, annotated

        self.predict = predict

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.learning_rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        predicted, losses, weights = [], [], []
        for inputs, labels in self.batches:
            classes, loss, annotated = self.predict(inputs, labels)
            predicted.append(classes.numpy())
            losses.append(float(loss))
            weights.append(float(annotated))
        scores = self.score(np.concatenate(predicted))
        assert logs is not None  # Keras always gives it
        logs["val_loss"] = float(np.average(losses, weights=np.maximum(weights, 1e-9)))
        logs["val_point_accuracy"] = scores.point_accuracy
        logs[MONITORED] = scores.instance_miou
        logs["learning_rate"] = self.learning_rate

    def score(self, predicted: np.ndarray) -> Scores:
        """The metrics of predicted classes, int [M, P]."""
        confusions = []
        for truth, answer, category in zip(self.labels, predicted, self.category, strict=True):
            start, end = self.ranges[category]
            truth = np.where(truth >= 0, truth - start, truth)
            confusions.append(confusion(truth, answer - start, end - start))
        return evaluate(confusions, [self.categories[i].name for i in self.category])


class BatchNormMomentum(keras.callbacks.Callback):
    """Raises the momentum of batch norm's moving averages from epoch to epoch.

    Early statistics are forgotten soon, late ones are averaged over many steps.
    """

    def __init__(self, settings: TrainingSettings):
        super().__init__()
        self.settings = settings

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        share = epoch / max(self.settings.epochs - 1, 1)
        first, last = self.settings.batch_norm_momentum, self.settings.final_batch_norm_momentum
        self.model.network.set_batch_norm_momentum(first + (last - first) * share)


class StopOnBadLoss(keras.callbacks.Callback):
    """Ends training with an error when the loss is no number; nothing would be learnt after it."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {batch + 1} of an epoch; lower "
                "training.learning_rate or training.clip_norm"
            )


class Curves(keras.callbacks.Callback):
    """Appends each epoch's logs to a CSV file, which the report draws."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {"epoch": epoch + 1, **{k: float(v) for k, v in sorted((logs or {}).items())}}
        first = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if first:
                writer.writeheader()
            writer.writerow(row)


def make_optimizer(settings: TrainingSettings, steps: int) -> keras.optimizers.Optimizer:
    """AdamW under a linear warm-up and a cosine decay, gradients clipped by their global norm."""
    total = steps * settings.epochs
    warmup = min(int(settings.warmup_epochs * steps), max(total - 1, 0))
    schedule: Any
    if warmup > 0:
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=settings.learning_rate / warmup,
            warmup_target=settings.learning_rate,
            warmup_steps=warmup,
            decay_steps=max(total - warmup, 1),
            alpha=settings.final_learning_rate / settings.learning_rate,
        )
    else:
        schedule = keras.optimizers.schedules.CosineDecay(
            settings.learning_rate,
            decay_steps=max(total, 1),
            alpha=settings.final_learning_rate / settings.learning_rate,
        )
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=settings.weight_decay, global_clipnorm=settings.clip_norm
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def train(
    training: TransformedClouds,
    validation: TransformedClouds,
    categories: tuple[Category, ...],
    network_settings: NetworkSettings,
    settings: TrainingSettings,
    directory: str,
) -> PointNet:
    """Trains a network and returns it with the weights of its best epoch.

    Args:
      training: clouds to learn from.
      validation: clouds that choose the epoch.
      categories: in the order of the model's classes.
      network_settings: widths.
      settings: the recipe.
      directory: a local folder for checkpoints, curves.csv and TensorBoard's events.

    Returns:
      The network, its weights in float32.

    Raises:
      TrainingError: a split has no annotated point, or the loss became NaN or infinite.
    """
    for split, clouds in (("train", training), ("val", validation)):
        if not bool(tf.reduce_any(clouds.labels >= 0)):
            raise TrainingError(
                f"no cloud of {split} has an annotated point; give labelled shapes for it"
            )
    keras.utils.set_random_seed(settings.seed)
    policy = dtype_policy(settings.precision)
    logging.info("Training on %s, in %s.", training_device(), policy)
    num_classes = class_ranges(categories)[-1][1]
    keras.config.set_dtype_policy(policy)
    try:
        network = build_network(network_settings, num_classes, len(categories))
    finally:
        keras.config.set_dtype_policy("float32")
    model = Segmentation(network, settings)
    steps = steps_per_epoch(training, settings)
    model.compile(
        optimizer=make_optimizer(settings, steps),
        jit_compile=bool(tf.config.list_physical_devices("GPU")),
    )
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CURVES_FILE).unlink(missing_ok=True)
    checkpoint = str(folder / "best.weights.h5")
    model.fit(
        training_batches(training, settings),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        callbacks=[
            BatchNormMomentum(settings),
            StopOnBadLoss(),
            Validation(validation, categories, settings.batch_size),
            Curves(folder / CURVES_FILE),
            keras.callbacks.ModelCheckpoint(
                checkpoint,
                monitor=MONITORED,
                mode="max",
                save_best_only=True,
                save_weights_only=True,
            ),
            keras.callbacks.TensorBoard(str(folder), write_graph=False),
        ],
        # A bar where a person watches, one line an epoch in a log.
        verbose=1 if sys.stdout.isatty() else 2,
    )
    model.load_weights(checkpoint)
    best = build_network(network_settings, num_classes, len(categories))
    best.set_weights(network.get_weights())
    return best
