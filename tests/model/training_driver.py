"""Trains the tiny set of tiny_training.py in a process of its own, which a test may lose.

python training_driver.py killed FOLDER STATE STEPS   kill -9 itself before step STEPS + 1
python training_driver.py two_replicas                one step on two devices and on one
"""

import json
import os
import signal
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from tiny_training import NARROW, RESUMED, ROCKET, SETTINGS, made

from model import training
from model.network import build_network
from model.training_state import TrainingState


def killed(folder: str, state: str, steps: str) -> None:
    """Dies without a word in the middle of an epoch."""
    step = training.TrainingStep.__call__
    done = []

    def step_or_die(self, batch):
        if len(done) == int(steps):
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(True)
        return step(self, batch)

    training.TrainingStep.__call__ = step_or_die
    training.train(
        made(16, 0), made(6, 1), ROCKET, NARROW, RESUMED, folder, state=TrainingState(state)
    )


def two_replicas() -> None:
    """Prints the loss of one step and how far the new weights are apart, as JSON.

    Every cloud stands twice in the batch, once for each replica, so that both replicas' batch norm
    has the statistics of the whole batch, and nothing but rounding may differ. The labels do
    differ: one replica has fewer annotated points.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    clouds = made(4, 0)
    labels = np.concatenate([clouds.labels, np.where(np.arange(32) < 20, -1, clouds.labels)])
    inputs = {
        "points": tf.concat([clouds.points, clouds.points], 0),
        "category": tf.zeros([8], tf.int32),
    }
    batches = tf.data.Dataset.from_tensors((inputs, tf.constant(labels, tf.int32)))
    # Gradients of this network are longer than this: clipping must see the whole batch's.
    settings = SETTINGS.model_copy(update={"clip_norm": 0.01})
    found = []
    for strategy in (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    ):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            network = build_network(NARROW.model_copy(update={"dropout": 0.0}), 2)
            before = network.get_weights()
            step = training.TrainingStep(network, settings, 4)
        (batch,) = strategy.experimental_distribute_dataset(batches)
        loss = step(batch)
        momenta = [v.numpy() for v in step.adamw.variables if v.path.endswith("_momentum")]
        step.agree()
        moved = [v.numpy() for v in network.variables if v.name.startswith("moving_")]
        found.append((loss, step.epoch_results(), momenta, moved))
        assert any((a != b).any() for a, b in zip(before, network.get_weights(), strict=True))
    (loss, results, momenta, moved), (other_loss, other_results, other_momenta, other_moved) = found
    norm = np.sqrt(sum((m.astype(np.float64) ** 2).sum() for m in momenta))
    apart = np.sqrt(
        sum(
            ((a - b).astype(np.float64) ** 2).sum()
            for a, b in zip(momenta, other_momenta, strict=True)
        )
    )
    print(
        json.dumps(
            {
                "losses": [loss, other_loss],
                "results": [results, other_results],
                "momentum_norm": norm,
                "apart": apart / norm,
                "statistics_apart": max(
                    float(abs(a - b).max()) for a, b in zip(moved, other_moved, strict=True)
                ),
                "replicas": [1, step.replicas],
            }
        )
    )


if __name__ == "__main__":
    {"killed": killed, "two_replicas": two_replicas}[sys.argv[1]](*sys.argv[2:])
