"""The training loop: the recipe of `TrainingSettings`, and the weights with the best validation.

    training and validation clouds -> trained network, learning curves

What is kept are the weights with the highest instance mIoU on `val`. Given a `TrainingState`, a
training that is stopped at any moment goes on at its last checkpoint and ends with the very
numbers of one that was never stopped: a checkpoint holds all that changes, and what an epoch sees
follows from the seed and the epoch's number.

On several GPUs each replica takes its share of a batch. Loss and gradients are those of the whole
batch on one device; batch norm takes a step's statistics from each replica's share, and those for
inference are the replicas' mean. Dropout is the same on each replica. Validation is on one device.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from keras import ops

from model.curves import Curves
from model.devices import dtype_policy, is_chief, training_device, training_strategy
from model.input_pipeline import (
    TransformedClouds,
    steps_per_epoch,
    training_batches,
    validation_batches,
)
from model.loss import class_weights, cross_entropy, orthogonality, point_weights
from model.metrics import Scores, confusion, evaluate
from model.network import PointNet, build_network, limit_to_category
from model.settings import NetworkSettings, TrainingSettings
from model.training_state import Checkpoint, TrainingState
from model.workers import check_same_start
from schema.categories import Category, class_ranges
from schema.errors import UserError
from schema.record import CATEGORY, POINTS, UNANNOTATED

MONITORED = "val_instance_miou"
BAD_BATCH_FILE = "bad_batch.npz"


class TrainingStep:
    """One step on a batch: loss, gradients, new weights, on all replicas.

    Made under the strategy's scope.

    Args:
      network: what is trained.
      settings: the recipe.
      steps: steps of an epoch.
      weights: of the classes, None for equal ones.
    """

    def __init__(
        self,
        network: PointNet,
        settings: TrainingSettings,
        steps: int,
        weights: Sequence[float] | None = None,
    ):
        self.strategy = tf.distribute.get_strategy()
        self.replicas = self.strategy.num_replicas_in_sync
        self.network = network
        self.orthogonality_weight = settings.orthogonality
        self.class_weights = weights
        self.optimizer = make_optimizer(settings, steps, self.replicas)
        self.adamw = self.optimizer
        if network.compute_dtype == "float16":
            # Small gradients would be 0 in float16: the loss is scaled up, the gradients down.
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
        self.optimizer.build(network.trainable_variables)
        self.loss = keras.metrics.Mean(name="loss")
        self.accuracy = keras.metrics.Mean(name="point_accuracy")
        # XLA takes no collective operations of several replicas.
        compiled = bool(tf.config.list_physical_devices("GPU")) and self.replicas == 1
        self._run = tf.function(self._on_all_replicas, jit_compile=compiled, reduce_retracing=True)
        self._means = tf.function(self._mean_statistics)

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a step changes: weights, statistics, seeds, the optimizer's, the epoch's."""
        return [
            *self.network.variables,
            *self.optimizer.variables,
            *self.loss.variables,
            *self.accuracy.variables,
        ]

    def __call__(self, batch: tuple[Any, Any]) -> float:
        """Trains on a batch of (inputs, labels).

        Returns:
          Its loss before the step; NaN where the loss or its gradients are no numbers.
        """
        return float(self._run(batch))

    def _on_all_replicas(self, batch: tuple[Any, Any]) -> Any:
        losses = self.strategy.run(self._on_one_replica, args=batch)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _on_one_replica(self, inputs: dict[str, Any], labels: Any) -> Any:
        """This replica's share of the batch's loss, so that the shares add up to it."""
        points = inputs if self.network.num_categories > 1 else inputs[POINTS]
        share = self._share(labels)
        trained = [variable.value for variable in self.network.trainable_variables]
        with tf.GradientTape() as tape:
            logits, transforms = self.network(points, training=True, return_transforms=True)
            loss = share * cross_entropy(labels, logits, self.class_weights)
            if "feature" in transforms and self.orthogonality_weight > 0:
                weight = self.orthogonality_weight / self.replicas
                loss += orthogonality(transforms["feature"], weight)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, trained)
        if self.replicas > 1:
            # Keras clips each replica's gradients and then adds them up. Given their mean on each,
            # and the norm that goes with it, the sum is that of the whole batch, clipped.
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        self.optimizer.apply(gradients, self.network.trainable_variables)
        self.loss.update_state(loss * self.replicas)
        correct = ops.equal(ops.cast(ops.argmax(logits, axis=-1), labels.dtype), labels)
        annotated = ops.cast(ops.not_equal(labels, UNANNOTATED), "float32")
        self.accuracy.update_state(correct, sample_weight=annotated)
        if self.network.compute_dtype == "float16":
            return loss  # Gradients too large for float16 are usual: the step is left out.
        # relu(NaN) is 0 on some CPUs: a bad batch may show in its gradients alone.
        finite = ops.isfinite(tf.linalg.global_norm(gradients))
        return tf.where(finite, loss, float("nan"))

    def _share(self, labels: Any) -> Any:
        """How much of the batch's points, by weight, are this replica's."""
        if self.replicas == 1:
            return 1.0
        mine = ops.sum(point_weights(labels, self.class_weights))
        context = tf.distribute.get_replica_context()
        return tf.math.divide_no_nan(mine, context.all_reduce(tf.distribute.ReduceOp.SUM, mine))

    def agree(self) -> None:
        """Averages batch norm's moving statistics over the replicas.

        Each replica has moved its own. They are linear, so that it does not matter when they are
        averaged; it must be done before they are used or saved.
        """
        if self.replicas == 1:
            return
        for variable, value in zip(self._statistics(), self._means(), strict=True):
            variable.assign(value)

    def _statistics(self) -> list[Any]:
        return [v.value for v in self.network.variables if v.name.startswith("moving_")]

    def _mean_statistics(self) -> list[Any]:
        found = self.strategy.run(lambda: [tf.identity(v) for v in self._statistics()])
        mean = tf.distribute.ReduceOp.MEAN
        return [self.strategy.reduce(mean, value, axis=None) for value in found]

    def is_stuck(self) -> bool:
        """Whether float16 holds no gradients any more: the loss would have to be scaled down."""
        scale = getattr(self.optimizer, "dynamic_scale", None)
        return scale is not None and float(scale) < 1

    def start_epoch(self) -> None:
        """Forgets the epoch's loss and accuracy."""
        self.loss.reset_state()
        self.accuracy.reset_state()

    def epoch_results(self) -> dict[str, float]:
        """Loss and point accuracy of the epoch so far."""
        return {m.name: float(m.result()) for m in (self.loss, self.accuracy)}

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Puts the weights' moving average in their place, where one is kept.

        Not Keras's SwapEMAWeights: it swaps by adding and subtracting, which leaves its rounding in
        the weights after each epoch.
        """
        if not self.adamw.use_ema:
            yield
            return
        weights = self.network.trainable_variables
        averages = self.adamw._model_variables_moving_average
        kept = [weight.numpy() for weight in weights]
        for weight, average in zip(weights, averages, strict=True):
            weight.assign(average.numpy())
        try:
            yield
        finally:
            for weight, value in zip(weights, kept, strict=True):
                weight.assign(value)


class Validation:
    """Measures the network on the validation clouds, on one device."""

    def __init__(
        self,
        network: PointNet,
        clouds: TransformedClouds,
        categories: tuple[Category, ...],
        batch_size: int,
    ):
        self.network = network
        self.categories = categories
        self.ranges = class_ranges(categories)
        self.batches = validation_batches(clouds, batch_size)
        self.category = clouds.category.numpy()
        self.labels = clouds.labels.numpy()
        several = len(categories) > 1

        @tf.function(reduce_retracing=True)
        def predict(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> Any:
            logits = network(inputs if several else inputs[POINTS], training=False)
            annotated = tf.reduce_sum(tf.cast(labels >= 0, tf.float32))
            loss = cross_entropy(labels, logits)
            if several:
                logits = limit_to_category(logits, inputs[CATEGORY], self.ranges)
            finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
            return tf.where(finite, tf.argmax(logits, axis=-1), -1), loss, annotated

        self.predict = predict

    def measure(self) -> dict[str, float]:
        """val_loss, val_point_accuracy and val_instance_miou of the network as it is."""
        predicted, losses, weights = [], [], []
        for inputs, labels in self.batches:
            classes, loss, annotated = self.predict(inputs, labels)
            predicted.append(classes.numpy())
            losses.append(float(loss))
            weights.append(float(annotated))
        scores = self.score(np.concatenate(predicted))
        return {
            "val_loss": float(np.average(losses, weights=np.maximum(weights, 1e-9))),
            "val_point_accuracy": scores.point_accuracy,
            MONITORED: scores.instance_miou,
        }

    def score(self, predicted: np.ndarray) -> Scores:
        """The metrics of predicted classes, int [M, P]."""
        confusions = []
        for truth, answer, category in zip(self.labels, predicted, self.category, strict=True):
            start, end = self.ranges[category]
            truth = np.where(truth >= 0, truth - start, truth)
            confusions.append(confusion(truth, answer - start, end - start))
        return evaluate(confusions, [self.categories[i].name for i in self.category])


def batch_norm_momentum(settings: TrainingSettings, epoch: int) -> float:
    """Momentum of batch norm's moving averages in an epoch.

    Early statistics are forgotten soon, late ones are averaged over many steps.
    """
    share = epoch / max(settings.epochs - 1, 1)
    first, last = settings.batch_norm_momentum, settings.final_batch_norm_momentum
    return first + (last - first) * share


def make_optimizer(
    settings: TrainingSettings, steps: int, replicas: int = 1
) -> keras.optimizers.Optimizer:
    """AdamW under a linear warm-up and a cosine decay, gradients clipped by their global norm.

    Args:
      settings: the recipe.
      steps: steps of an epoch.
      replicas: what each gets are the mean gradients, and the sum of what each makes of them is
        applied; so the norm is divided among them.
    """
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
        schedule,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm / replicas,
        use_ema=settings.ema_decay is not None,
        ema_momentum=settings.ema_decay or 0.0,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@dataclass
class Progress:
    """How far a training is.

    Attributes:
      epoch: finished epochs.
      step: finished steps of the epoch behind them.
      learning_rate: at that epoch's beginning.
      rows: each finished epoch's row of curves.csv.
    """

    epoch: int = 0
    step: int = 0
    learning_rate: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """Number of the epoch whose weights are kept, from 1; 0 before the first one."""
        return 1 + int(np.argmax([row[MONITORED] for row in self.rows])) if self.rows else 0


def identity(
    training: TransformedClouds,
    validation: TransformedClouds,
    categories: tuple[Category, ...],
    network_settings: NetworkSettings,
    settings: TrainingSettings,
    **others: Any,
) -> str:
    """Names a training by all that decides it: equal names mean equal results on one machine.

    Args:
      training: as in `train`, like what follows.
      validation: ...
      categories: ...
      network_settings: ...
      settings: ...
      **others: plain values, such as the code's fingerprint.
    """
    decides = {
        "training": training.fingerprint(),
        "validation": validation.fingerprint(),
        "categories": [category.to_json() for category in categories],
        "network": network_settings.model_dump(mode="json"),
        # How often a checkpoint is written changes no number.
        "settings": settings.model_dump(mode="json", exclude={"checkpoint_steps"}),
        "policy": dtype_policy(settings.precision),
        "versions": [tf.__version__, keras.__version__],
        **others,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def train(
    training: TransformedClouds,
    validation: TransformedClouds,
    categories: tuple[Category, ...],
    network_settings: NetworkSettings,
    settings: TrainingSettings,
    directory: str,
    *,
    state: TrainingState | None = None,
    strategy: tf.distribute.Strategy | None = None,
    initial_weights: str | None = None,
) -> PointNet:
    """Trains a network and returns it with the weights of its best epoch.

    Args:
      training: clouds to learn from.
      validation: clouds that choose the epoch.
      categories: in the order of the model's classes.
      network_settings: widths.
      settings: the recipe.
      directory: the folder for curves.csv, curves.png and TensorBoard's events.
      state: where checkpoints are, to go on from and to write; None: training cannot go on. Its
        folder must be this training's own, see `identity`, and seen by all workers.
      strategy: how a step is shared; None: `training_strategy()`.
      initial_weights: a weights file of a network of the same shape, to start from.

    Returns:
      The network, its weights in float32.

    Raises:
      UserError: a split has no annotated point, the settings do not fit data or devices, the
        workers found different checkpoints, the loss became NaN or infinite, memory or disk ran
        out.
    """
    strategy = strategy or training_strategy()
    for split, clouds in (("train", training), ("val", validation)):
        if not bool(tf.reduce_any(clouds.labels >= 0)):
            raise UserError(
                "cannot_train",
                f"no cloud of {split} has an annotated point; give labelled shapes for it",
            )
    settings = _fitting(settings, training, strategy.num_replicas_in_sync)
    policy = dtype_policy(settings.precision)
    # GPUs from Ampere on would else round float32's factors to 10 bits, coordinates among them.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    logging.info(
        "Training on %s, in %s, %d replicas.",
        training_device(),
        policy,
        strategy.num_replicas_in_sync,
    )
    num_classes = class_ranges(categories)[-1][1]
    steps = steps_per_epoch(training, settings)
    weights = _class_weights(settings, training.class_points, num_classes)
    with strategy.scope():
        keras.utils.set_random_seed(settings.seed)
        keras.config.set_dtype_policy(policy)
        try:
            network = build_network(network_settings, num_classes, len(categories))
        finally:
            keras.config.set_dtype_policy("float32")
        if initial_weights is not None:
            _warm_start(network, initial_weights)
        step = TrainingStep(network, settings, steps, weights)
        progress = Progress()
        best = network.get_weights()
        checkpoint = state.load() if state is not None else None
        if checkpoint is not None:
            progress, best = _restore(checkpoint, step)
            logging.info(
                "Training goes on behind step %d of epoch %d.", progress.step, progress.epoch + 1
            )
    check_same_start(strategy, progress.epoch * steps + progress.step)
    # Without a state there is nothing to write; all but the chief leave writing to it.
    run = _Run(
        training, settings, step, steps, directory, state, is_chief(strategy), progress, best
    )
    try:
        run.train(Validation(network, validation, categories, settings.batch_size))
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(
            "cannot_train",
            f"memory ran out at step {run.progress.step + 1} of epoch {run.progress.epoch + 1}: "
            f"lower training.batch_size (now {settings.batch_size}) or training.points_per_draw "
            f"(now {settings.points_per_draw or training.points.shape[1]}), or take "
            f"training.precision bfloat16 or float16 (now {policy})"
            + ("; the last checkpoint is kept" if state is not None else ""),
        ) from error
    trained = build_network(network_settings, num_classes, len(categories))
    trained.set_weights(run.best)
    return trained


@dataclass
class _Run:
    """A training at work; see `train`."""

    training: TransformedClouds
    settings: TrainingSettings
    step: TrainingStep
    steps: int
    directory: str
    state: TrainingState | None
    writes: bool
    progress: Progress
    best: list[np.ndarray]

    def train(self, validation: Validation) -> None:
        """Trains to the end, or till nothing gets better."""
        curves = Curves(self.directory, self.progress.rows) if self.writes else None
        batches = iter(self._batches())
        while not self._finished():
            self._train_epoch(batches)
            row = {"epoch": self.progress.epoch + 1, **self.step.epoch_results()}
            self.step.agree()
            with self.step.averaged_weights():
                row.update(validation.measure())
                row["learning_rate"] = self.progress.learning_rate
                self.progress.rows.append(row)
                if self.progress.best_epoch == row["epoch"]:
                    self.best = self.step.network.get_weights()
            self.progress.epoch, self.progress.step = self.progress.epoch + 1, 0
            if curves:
                curves.add(row)
            self._save()
        if curves:
            curves.finish()

    def _finished(self) -> bool:
        done, patience = self.progress.epoch, self.settings.patience
        if patience is not None and done - self.progress.best_epoch >= patience:
            logging.info("Stopped: no better epoch than %d.", self.progress.best_epoch)
            return True
        return done >= self.settings.epochs

    def _batches(self) -> Any:
        batches = training_batches(
            self.training, self.settings, self.progress.epoch, self.progress.step
        )
        if self.step.replicas == 1:
            return batches
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return self.step.strategy.experimental_distribute_dataset(batches.with_options(options))

    def _train_epoch(self, batches: Iterator[Any]) -> None:
        progress, every = self.progress, self.settings.checkpoint_steps
        self.step.network.set_batch_norm_momentum(
            batch_norm_momentum(self.settings, progress.epoch)
        )
        if progress.step == 0:
            self.step.start_epoch()
            progress.learning_rate = float(self.step.adamw.learning_rate)
        bar = _bar(self.steps) if self.writes else None
        while progress.step < self.steps:
            loss = self.step(next(batches))
            if not np.isfinite(loss):
                self._stop_on(loss)
            progress.step += 1
            if bar:
                bar.update(progress.step, list(self.step.epoch_results().items()))
            if every and progress.step % every == 0 and progress.step < self.steps:
                self._save()
        if self.step.is_stuck():
            # Steps that overflow are left out, and the loss says nothing of it.
            raise UserError(
                "cannot_train",
                f"float16 does not hold the gradients: step after step of epoch "
                f"{progress.epoch + 1} was left out. Set training.precision to float32, or to "
                "bfloat16 on a GPU of compute capability 8.0 or later",
            )

    def _save(self) -> None:
        if self.state is None:
            return
        # Every worker takes part in summing and averaging over them; one writes.
        self.step.agree()
        arrays = [variable.numpy() for variable in self.step.variables]
        if self.writes:
            self.state.save(Checkpoint(asdict(self.progress), arrays + self.best))

    def _stop_on(self, loss: float) -> None:
        """Saves the batch beside `directory`, which TFX removes with all that a failure leaves."""
        progress = self.progress
        folder = f"{self.directory.rstrip('/')}-stopped"
        path = os.path.join(folder, BAD_BATCH_FILE)
        saved = ""
        if self.writes:
            inputs, labels = next(
                iter(training_batches(self.training, self.settings, progress.epoch, progress.step))
            )
            try:
                tf.io.gfile.makedirs(folder)
                content = io.BytesIO()
                np.savez(
                    content,
                    points=inputs[POINTS].numpy(),
                    labels=labels.numpy(),
                    category=inputs[CATEGORY].numpy(),
                    epoch=progress.epoch + 1,
                    step=progress.step + 1,
                    loss=loss,
                )
                with tf.io.gfile.GFile(path, "wb") as file:
                    file.write(content.getvalue())
                saved = f"; its batch is in {path}"
            except (OSError, tf.errors.OpError) as error:
                saved = f"; its batch could not be saved ({' '.join(str(error).split())})"
        raise UserError(
            "cannot_train",
            f"the loss became {loss} at step {progress.step + 1} of epoch {progress.epoch + 1}"
            f"{saved}. Lower training.learning_rate or training.clip_norm",
        )


def _restore(checkpoint: Checkpoint, step: TrainingStep) -> tuple[Progress, list[np.ndarray]]:
    variables = step.variables
    for variable, value in zip(variables, checkpoint.arrays, strict=False):
        variable.assign(value)
    return Progress(**checkpoint.about), checkpoint.arrays[len(variables) :]


def _fitting(
    settings: TrainingSettings, training: TransformedClouds, replicas: int
) -> TrainingSettings:
    """The settings with a batch that the split has and the replicas can share.

    Raises:
      UserError: there is none, or a draw asks for more points than there are.
    """
    if settings.batch_size % replicas:
        raise UserError(
            "cannot_train",
            f"training.batch_size is {settings.batch_size}; it must be a multiple of the "
            f"{replicas} replicas that share a batch",
        )
    available = training.points.shape[1]
    if (settings.points_per_draw or 0) > available:
        raise UserError(
            "cannot_train",
            f"training.points_per_draw is {settings.points_per_draw}, and the clouds have "
            f"{available} points each; lower it or raise transform.points_per_cloud",
        )
    size = min(settings.batch_size, len(training)) // replicas * replicas
    if size == 0:
        raise UserError(
            "cannot_train",
            f"train holds {len(training)} clouds, fewer than the {replicas} replicas that share a "
            "batch; train on one device",
        )
    if size < settings.batch_size:
        logging.warning(
            "train holds %d clouds, fewer than training.batch_size (%d); a step takes %d.",
            len(training),
            settings.batch_size,
            size,
        )
    return settings.model_copy(update={"batch_size": size})


def _class_weights(
    settings: TrainingSettings, class_points: tf.Tensor | None, num_classes: int
) -> list[float] | None:
    if settings.class_weights == "none":
        return None
    if class_points is None or class_points.shape[0] != num_classes:
        raise UserError(
            "cannot_train",
            f"training.class_weights is {settings.class_weights}, and Transform's output does not "
            f"say how many points each of the {num_classes} classes has; run Transform again",
        )
    weights = class_weights(class_points.numpy(), settings.class_weights)
    logging.info("Class weights: %s", ", ".join(f"{weight:.2f}" for weight in weights))
    return weights


def _warm_start(network: PointNet, path: str) -> None:
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise UserError(
            "cannot_train",
            f"the weights in {path} do not fit this network, which has other widths or other "
            "parts, or the file is damaged; take training.warm_start none, or the settings and the "
            f"data of the model that they are from ({' '.join(str(error).split())[:200]})",
        ) from error


def _bar(steps: int) -> keras.utils.Progbar | None:
    """A bar where a person watches; elsewhere each epoch's line will do."""
    if not sys.stdout.isatty():
        return None
    return keras.utils.Progbar(steps, stateful_metrics=["loss", "point_accuracy"])
