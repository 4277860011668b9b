"""Trains the tiny set in a process of its own, which a test may lose.

python driver.py killed FOLDER CHECKPOINTS STEPS   kill -9 itself before step STEPS + 1
python driver.py two_replicas                      one step on two devices and on one
python driver.py worker ARGUMENTS [STEPS]          run_fn as one worker of TF_CONFIG

ARGUMENTS is a JSON file with the attributes of TFX's FnArgs.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

from model.training import loop, trainer
from model.training.checkpoints import Checkpoints
from model.training.optimizer import make_optimizer
from model.training.step import TrainingStep
from schema.errors import UserError
from schema.record import CATEGORY, POINTS
from tests.model.training.tiny import NARROW, SETTINGS, clouds, job

# A checkpoint after each step, and all that a step draws or averages.
RESUMED = {"epochs": 3, "checkpoint_seconds": 0, "ema_decay": 0.9, "batch_size": 6}


def die_before(steps):
    """Kills this process before step `steps` + 1."""
    step, done = TrainingStep.__call__, []

    def step_or_die(self, batch):
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(True)
        return step(self, batch)

    TrainingStep.__call__ = step_or_die


def killed(folder, checkpoints, steps):
    die_before(int(steps))
    loop.train(job(**RESUMED), folder, checkpoints=Checkpoints(checkpoints))


def two_replicas():
    """Prints the loss of one step and how far the new weights are apart, as JSON.

    Every cloud is twice in the batch, once for each replica, so that both replicas' batch norm has
    the statistics of the whole batch, and only rounding may differ. The labels do differ: one
    replica has fewer annotated points.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one = clouds(4, 0)
    labels = np.concatenate([one.labels, np.where(np.arange(32) < 20, -1, one.labels)])
    inputs = {POINTS: tf.concat([one.points] * 2, 0), CATEGORY: tf.zeros([8], tf.int32)}
    batches = tf.data.Dataset.from_tensors((inputs, tf.constant(labels, tf.int32)))
    # Gradients of this network are longer than this: clipping must see the whole batch's.
    settings = SETTINGS.model_copy(update={"clip_norm": 0.01})
    results = []
    for strategy in (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    ):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            network = NARROW.model_copy(update={"dropout": 0.0}).build(2)
            before = network.get_weights()
            replicas = strategy.num_replicas_in_sync
            step = TrainingStep(network, make_optimizer(settings, 20, 4, replicas))
        (batch,) = strategy.experimental_distribute_dataset(batches)
        loss = step(batch)
        momenta = [v.numpy().ravel() for v in step.adamw.variables if "_momentum" in v.path]
        step.sync_moving_statistics()
        moving = [v.numpy().ravel() for v in network.variables if v.name.startswith("moving_")]
        results.append(
            (loss, step.epoch_results(), np.concatenate(momenta), np.concatenate(moving))
        )
        assert any((a != b).any() for a, b in zip(before, network.get_weights(), strict=True))
    (loss, epoch, momenta, moving), (other_loss, other_epoch, other_momenta, other) = results
    norm = np.linalg.norm(momenta.astype(np.float64))
    print(
        json.dumps(
            {
                "losses": [loss, other_loss],
                "epochs": [epoch, other_epoch],
                "momentum_norm": norm,
                "apart": np.linalg.norm(momenta.astype(np.float64) - other_momenta) / norm,
                "statistics_apart": float(abs(moving - other).max()),
                "replicas": step.replicas,
            }
        )
    )


def worker(arguments, steps=None):
    """A UserError ends it with its message and status 1.

    The second half of every batch repeats the clouds of the first, with labels left out: both
    workers' batch norm has the statistics of the whole batch, and only rounding may tell two
    workers from one process.
    """
    batches = loop.training_batches

    def paired(*given):
        def twice(inputs, labels):
            half = tf.shape(labels)[0] // 2
            left_out = tf.where(tf.range(tf.shape(labels)[1]) < 10, -1, labels[:half])
            return (
                {key: tf.concat([inputs[key][:half]] * 2, 0) for key in (POINTS, CATEGORY)},
                tf.concat([labels[:half], left_out], 0),
            )

        return batches(*given).map(twice)

    loop.training_batches = paired
    # Most of a small training's time; the folder is there all the same.
    trainer.export = lambda network, categories, path, settings: os.makedirs(path)
    if steps is not None:
        die_before(int(steps))
    arguments = json.loads(Path(arguments).read_text("utf-8"))
    try:
        trainer.run_fn(SimpleNamespace(**arguments))
    except UserError as error:
        sys.exit(f"UserError: {error}")
    # What TFX's executor looks for as soon as run_fn is done, on every worker.
    print("the model is there:", Path(arguments["serving_model_dir"]).exists())


if __name__ == "__main__":
    {"killed": killed, "two_replicas": two_replicas, "worker": worker}[sys.argv[1]](*sys.argv[2:])
