"""The training loop: epochs, validation, checkpoints.

The weights with the highest instance mIoU on `val` are kept. Given checkpoints, a training that is
stopped at any moment is resumed and ends with the very numbers of one that was never stopped: a
checkpoint holds all that changes, and what a step gets follows from the seed and its number.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from model.networks.interface import SegmentationNetwork
from model.training.checkpoints import Checkpoints
from model.training.curves import Curves
from model.training.devices import dtype_policy, is_chief, training_device, training_strategy
from model.training.input_pipeline import training_batches
from model.training.job import Job
from model.training.optimizer import batch_norm_momentum, make_optimizer
from model.training.step import TrainingStep
from model.training.validation import MONITORED, VALIDATED, Validation
from model.training.workers import check_same_start, number_of_workers, of_chief
from schema.errors import UserError

# Workers ask the chief this often (in steps) whether a checkpoint is due.
_STEPS_BETWEEN_QUESTIONS = 100


def train(
    job: Job,
    directory: str,
    checkpoints: Checkpoints | None = None,
    strategy: tf.distribute.Strategy | None = None,
    initial_weights: list[np.ndarray] | None = None,
) -> SegmentationNetwork:
    """Trains and returns the network with the weights of its best epoch, in float32.

    `directory` gets curves.csv and TensorBoard's events. The checkpoints must be this job's own
    (`Job.identity`) and seen by all workers; without them a training cannot be resumed.
    `initial_weights` are those of a network that fits.

    Raises UserError if the job does not fit data or devices, the workers found different
    checkpoints, the loss is not finite, or memory or disk ran out.
    """
    strategy = strategy or training_strategy()
    job = job.fitted(strategy.num_replicas_in_sync)
    # GPUs from Ampere on would else round float32's factors to 10 bits, coordinates among them.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    loop = TrainingLoop(job, strategy, directory, checkpoints, initial_weights)
    try:
        loop.run()
    except tf.errors.ResourceExhaustedError as error:
        settings = job.settings
        draw = settings.points_per_draw or job.training.points.shape[1]
        raise UserError(
            "cannot_train",
            f"memory ran out at {loop.place}: lower training.batch_size (now "
            f"{settings.batch_size}) or training.points_per_draw (now {draw}), or set "
            f"training.precision to bfloat16 or float16 (now {dtype_policy(settings.precision)})",
        ) from error
    trained = job.new_network()
    trained.set_weights(loop.best)
    return trained


class TrainingLoop:
    """Runs epochs, validates and writes checkpoints; the chief alone writes files.

    `finished` counts steps, `rows` are the finished epochs' rows of curves.csv, and `best` are the
    weights of the best epoch.
    """

    def __init__(
        self,
        job: Job,
        strategy: tf.distribute.Strategy,
        directory: str,
        checkpoints: Checkpoints | None,
        initial_weights: list[np.ndarray] | None,
    ):
        settings, replicas = job.settings, strategy.num_replicas_in_sync
        policy = dtype_policy(settings.precision)
        logging.info("Training on %s, in %s, %d replicas.", training_device(), policy, replicas)
        self.job, self.strategy, self.checkpoints = job, strategy, checkpoints
        self.finished, self.learning_rate = 0, 0.0
        self.rows: list[dict[str, float]] = []
        with strategy.scope():
            keras.utils.set_random_seed(settings.seed)
            self.network = job.new_network(policy)
            if initial_weights is not None:
                self.network.set_weights(initial_weights)
            warmup = job.steps_until(settings.warmup_epochs)
            optimizer = make_optimizer(settings, job.steps_until(settings.epochs), warmup, replicas)
            self.step = TrainingStep(self.network, optimizer, job.class_weights())
            self.best = self.network.get_weights()
            if checkpoints is not None and (checkpoint := checkpoints.load()):
                self._restore(*checkpoint)
        check_same_start(strategy, self.finished)
        self.validation = Validation(self.network, job)
        self.is_chief = is_chief(strategy)
        self.curves = Curves(directory, self.rows) if self.is_chief else None
        self.saved_at = time.monotonic()

    def _restore(self, about: dict[str, Any], arrays: list[np.ndarray]) -> None:
        variables = self.step.variables
        for variable, value in zip(variables, arrays, strict=False):
            variable.assign(value)
        self.best = arrays[len(variables) :]
        self.finished, self.learning_rate, self.rows = about.values()
        logging.info("Training is resumed after step %d.", self.finished)

    @property
    def place(self) -> str:
        """The next step, for a person."""
        epoch = len(self.rows)
        return f"step {self.finished + 1 - self.job.steps_until(epoch)} of epoch {epoch + 1}"

    @property
    def best_epoch(self) -> int:
        """Number of the epoch whose weights are kept, from 1; 0 before the first one."""
        return 1 + int(np.argmax([row[MONITORED] for row in self.rows])) if self.rows else 0

    def run(self) -> None:
        """Trains to the end, or until nothing gets better for `patience` epochs."""
        batches = iter(self._batches())
        while not self._is_finished():
            self._train_epoch(batches)
            self._validate()
            self._save_if_due()
        if self.curves:
            self.curves.close()

    def _is_finished(self) -> bool:
        done, patience = len(self.rows), self.job.settings.patience
        if patience is not None and done - self.best_epoch >= patience:
            logging.info("Stopped: no better epoch than %d.", self.best_epoch)
            return True
        return done >= self.job.settings.epochs

    def _batches(self) -> Any:
        batches = training_batches(self.job.training, self.job.settings, self.finished)
        if self.step.replicas == 1:
            return batches
        options = tf.data.Options()
        by_data = tf.data.experimental.AutoShardPolicy.DATA
        options.experimental_distribute.auto_shard_policy = by_data
        return self.strategy.experimental_distribute_dataset(batches.with_options(options))

    def _train_epoch(self, batches: Iterator[Any]) -> None:
        epoch = len(self.rows)
        first, end = self.job.steps_until(epoch), self.job.steps_until(epoch + 1)
        self.network.set_batch_norm_momentum(batch_norm_momentum(self.job.settings, epoch))
        if self.finished == first:
            self.step.start_epoch()
            self.learning_rate = float(self.step.adamw.learning_rate)
        bar = None
        if self.is_chief and sys.stdout.isatty():
            names = list(self.step.epoch_results())
            bar = keras.utils.Progbar(end - first, stateful_metrics=names)
        while self.finished < end:
            loss = self.step(next(batches))
            if not np.isfinite(loss):
                message = f"the loss became {loss} at {self.place}. Lower training.learning_rate or"
                raise UserError("cannot_train", f"{message} training.clip_norm")
            self.finished += 1
            if bar:
                bar.update(self.finished - first, list(self.step.epoch_results().items()))
            if self.finished < end:
                self._save_if_due()
        if self.step.is_stuck():
            # Steps that overflow are left out, which the loss does not show.
            raise UserError(
                "cannot_train",
                f"float16 cannot hold the gradients: steps of epoch {epoch + 1} were left out. "
                "Set training.precision to float32, or to bfloat16 on a GPU of compute capability "
                "8.0 or later",
            )

    def _validate(self) -> None:
        self.step.sync_moving_statistics()
        row = {"epoch": float(len(self.rows) + 1), **self.step.epoch_results()}
        with self.step.averaged_weights():
            # The chief's numbers count: near ties would let workers choose different epochs.
            measured = self.validation.measure() if self.is_chief else dict.fromkeys(VALIDATED, 0.0)
            row |= zip(measured, of_chief(self.strategy, list(measured.values())), strict=True)
            self.rows.append({**row, "learning_rate": self.learning_rate})
            if self.best_epoch == len(self.rows):
                self.best = self.network.get_weights()
        if self.curves:
            self.curves.add(self.rows[-1])

    def _save_if_due(self) -> None:
        """Writes a checkpoint if the last one is old enough, or at the end of training."""
        at_end = self.finished == self.job.steps_until(len(self.rows))
        asks = at_end or self.finished % _STEPS_BETWEEN_QUESTIONS == 0
        if self.checkpoints is None or (number_of_workers(self.strategy) > 1 and not asks):
            return
        age = time.monotonic() - self.saved_at
        due = age >= self.job.settings.checkpoint_seconds or (at_end and self._is_finished())
        if not of_chief(self.strategy, [float(due)])[0]:
            return
        # All workers take part in averaging; one writes.
        self.step.sync_moving_statistics()
        arrays = [variable.numpy() for variable in self.step.variables]
        about = {"step": self.finished, "learning_rate": self.learning_rate, "rows": self.rows}
        self.checkpoints.save(about, arrays + self.best)
        self.saved_at = time.monotonic()
