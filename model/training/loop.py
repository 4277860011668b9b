"""The training loop: epochs, validation, checkpoints.

The weights with the highest instance mIoU on `val` are kept. Given checkpoints, a training that is
stopped at any moment is resumed and ends with the very numbers of one that was never stopped: a
checkpoint holds all that changes, and what a step gets follows from the seed and its number.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from model.networks.interface import SegmentationNetwork
from model.training.checkpoints import Checkpoint, Checkpoints
from model.training.curves import Curves
from model.training.devices import dtype_policy, is_chief, training_device, training_strategy
from model.training.input_pipeline import training_batches
from model.training.job import Job
from model.training.optimizer import batch_norm_momentum, make_optimizer
from model.training.step import TrainingStep
from model.training.validation import MONITORED, Validation
from model.training.workers import check_same_start, number_of_workers, of_chief
from schema.errors import UserError

# Workers ask the chief this often (in steps) whether a checkpoint is due.
_STEPS_BETWEEN_QUESTIONS = 100


@dataclass
class Progress:
    """Finished steps, the learning rate at the epoch's start, and the finished epochs' rows."""

    step: int = 0
    learning_rate: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """Number of the epoch whose weights are kept, from 1; 0 before the first one."""
        return 1 + int(np.argmax([row[MONITORED] for row in self.rows])) if self.rows else 0


def train(
    job: Job,
    directory: str,
    *,
    checkpoints: Checkpoints | None = None,
    strategy: tf.distribute.Strategy | None = None,
    initial_weights: str | None = None,
) -> SegmentationNetwork:
    """Trains and returns the network with the weights of its best epoch, in float32.

    `directory` gets curves.csv and TensorBoard's events. The checkpoints must be this job's own
    (`Job.identity`) and seen by all workers; without them a training cannot be resumed.
    `initial_weights` is a weights file of a network that fits.

    Raises UserError if the job does not fit data or devices, the workers found different
    checkpoints, the loss is not finite, or memory or disk ran out.
    """
    strategy = strategy or training_strategy()
    job = job.fitted(strategy.num_replicas_in_sync)
    settings = job.settings
    policy = dtype_policy(settings.precision)
    # GPUs from Ampere on would else round float32's factors to 10 bits, coordinates among them.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    replicas = strategy.num_replicas_in_sync
    logging.info("Training on %s, in %s, %d replicas.", training_device(), policy, replicas)
    with strategy.scope():
        keras.utils.set_random_seed(settings.seed)
        network = job.network.build(job.num_classes, len(job.categories), policy)
        if initial_weights is not None:
            network.load_weights(initial_weights)
        warmup = job.steps_until(settings.warmup_epochs)
        optimizer = make_optimizer(settings, job.steps_until(settings.epochs), warmup, replicas)
        step = TrainingStep(network, optimizer, job.class_weights())
        progress, best = Progress(), network.get_weights()
        checkpoint = checkpoints.load() if checkpoints is not None else None
        if checkpoint is not None:
            variables = step.variables
            for variable, value in zip(variables, checkpoint.arrays, strict=False):
                variable.assign(value)
            progress, best = Progress(**checkpoint.about), checkpoint.arrays[len(variables) :]
            logging.info("Training is resumed after step %d.", progress.step)
    check_same_start(strategy, progress.step)
    loop = TrainingLoop(job, step, directory, checkpoints, progress, best)
    try:
        loop.run(Validation(network, job.validation, job.categories, settings.batch_size))
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(
            "cannot_train",
            f"memory ran out at {loop.place}: lower training.batch_size (now "
            f"{settings.batch_size}) or training.points_per_draw (now "
            f"{settings.points_per_draw or job.training.points.shape[1]}), or set "
            f"training.precision to bfloat16 or float16 (now {policy})"
            + ("; the last checkpoint is kept" if checkpoints is not None else ""),
        ) from error
    trained = job.network.build(job.num_classes, len(job.categories))
    trained.set_weights(loop.best)
    return trained


class TrainingLoop:
    """Runs epochs, validates and writes checkpoints; the chief alone writes files."""

    def __init__(
        self,
        job: Job,
        step: TrainingStep,
        directory: str,
        checkpoints: Checkpoints | None,
        progress: Progress,
        best: list[np.ndarray],
    ):
        self.job = job
        self.step = step
        self.strategy = step.strategy
        self.checkpoints = checkpoints
        self.progress = progress
        self.best = best
        self.is_chief = is_chief(step.strategy)
        self.curves = Curves(directory, progress.rows) if self.is_chief else None
        self.saved_at = time.monotonic()

    @property
    def place(self) -> str:
        """The next step, for a person."""
        epoch = len(self.progress.rows)
        return f"step {self.progress.step + 1 - self.job.steps_until(epoch)} of epoch {epoch + 1}"

    def run(self, validation: Validation) -> None:
        """Trains to the end, or until nothing gets better for `patience` epochs."""
        batches = iter(self._batches())
        while not self._is_finished():
            self._train_epoch(batches)
            self._validate(validation)
            self._save_if_due()
        if self.curves:
            self.curves.close()

    def _is_finished(self) -> bool:
        done, patience = len(self.progress.rows), self.job.settings.patience
        if patience is not None and done - self.progress.best_epoch >= patience:
            logging.info("Stopped: no better epoch than %d.", self.progress.best_epoch)
            return True
        return done >= self.job.settings.epochs

    def _batches(self) -> Any:
        batches = training_batches(self.job.training, self.job.settings, self.progress.step)
        if self.step.replicas == 1:
            return batches
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return self.strategy.experimental_distribute_dataset(batches.with_options(options))

    def _train_epoch(self, batches: Iterator[Any]) -> None:
        progress, settings, epoch = self.progress, self.job.settings, len(self.progress.rows)
        first, end = self.job.steps_until(epoch), self.job.steps_until(epoch + 1)
        self.step.network.set_batch_norm_momentum(batch_norm_momentum(settings, epoch))
        if progress.step == first:
            self.step.start_epoch()
            progress.learning_rate = float(self.step.adamw.learning_rate)
        bar = _bar(end - first) if self.is_chief else None
        while progress.step < end:
            loss = self.step(next(batches))
            if not np.isfinite(loss):
                raise UserError(
                    "cannot_train",
                    f"the loss became {loss} at {self.place}. Lower training.learning_rate or "
                    "training.clip_norm",
                )
            progress.step += 1
            if bar:
                bar.update(progress.step - first, list(self.step.epoch_results().items()))
            if progress.step < end:
                self._save_if_due()
        if self.step.is_stuck():
            # Steps that overflow are left out, which the loss does not show.
            raise UserError(
                "cannot_train",
                f"float16 cannot hold the gradients: steps of epoch {epoch + 1} were left out. "
                "Set training.precision to float32, or to bfloat16 on a GPU of compute capability "
                "8.0 or later",
            )

    def _validate(self, validation: Validation) -> None:
        self.step.sync_moving_statistics()
        row = {"epoch": float(len(self.progress.rows) + 1), **self.step.epoch_results()}
        with self.step.averaged_weights():
            # The chief's numbers count: near ties would let workers choose different epochs.
            names = ("val_loss", "val_point_accuracy", MONITORED)
            measured = validation.measure() if self.is_chief else dict.fromkeys(names, 0.0)
            values = of_chief(self.strategy, [measured[name] for name in names])
            row.update(zip(names, values, strict=True))
            row["learning_rate"] = self.progress.learning_rate
            self.progress.rows.append(row)
            if self.progress.best_epoch == row["epoch"]:
                self.best = self.step.network.get_weights()
        if self.curves:
            self.curves.add(row)

    def _save_if_due(self) -> None:
        """Writes a checkpoint if the last one is old enough, or at the end of training."""
        at_end = self.progress.step == self.job.steps_until(len(self.progress.rows))
        several = number_of_workers(self.strategy) > 1
        if self.checkpoints is None or (
            several and not at_end and self.progress.step % _STEPS_BETWEEN_QUESTIONS
        ):
            return
        age = time.monotonic() - self.saved_at
        due = age >= self.job.settings.checkpoint_seconds or (at_end and self._is_finished())
        if not of_chief(self.strategy, [float(due)])[0]:
            return
        # All workers take part in averaging; one writes.
        self.step.sync_moving_statistics()
        arrays = [variable.numpy() for variable in self.step.variables]
        self.checkpoints.save(Checkpoint(asdict(self.progress), arrays + self.best))
        self.saved_at = time.monotonic()


def _bar(steps: int) -> keras.utils.Progbar | None:
    """Progress bar, on a terminal only."""
    if not sys.stdout.isatty():
        return None
    return keras.utils.Progbar(steps, stateful_metrics=["loss", "point_accuracy"])
