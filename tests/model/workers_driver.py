"""Runs `run_fn` as one worker of TF_CONFIG, in a process of its own, which a test may lose.

TF_CONFIG=... python workers_driver.py ARGUMENTS [STEPS]

ARGUMENTS is a JSON file with the attributes of TFX's FnArgs. With STEPS the process kills itself
with -9 before step STEPS + 1. A UserError ends it with its sentence and status 1.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf

from model import trainer, training
from schema.errors import UserError
from schema.record import CATEGORY, POINTS


def pair_clouds() -> None:
    """Has the second half of every batch repeat the clouds of the first, with labels left out.

    Both workers' batch norm then has the statistics of the whole batch, and nothing but rounding
    may tell two workers from one process. The halves' labels do differ.
    """
    batches = training.training_batches

    def paired(*arguments):
        def twice(inputs, labels):
            half = tf.shape(labels)[0] // 2
            left_out = tf.where(tf.range(tf.shape(labels)[1]) < 10, -1, labels[:half])
            return (
                {key: tf.concat([inputs[key][:half]] * 2, 0) for key in (POINTS, CATEGORY)},
                tf.concat([labels[:half], left_out], 0),
            )

        return batches(*arguments).map(twice)

    training.training_batches = paired


def die_before(steps: int) -> None:
    """Has this process end without a word in mid-training."""
    step, done = training.TrainingStep.__call__, []

    def step_or_die(self, batch):
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(True)
        return step(self, batch)

    training.TrainingStep.__call__ = step_or_die


def leave_export_out() -> None:
    """Leaves out what takes most of a small training's time; the folder is there all the same."""
    trainer.export = lambda network, categories, path, settings: os.makedirs(path)


if __name__ == "__main__":
    arguments = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    pair_clouds()
    leave_export_out()
    if len(sys.argv) > 2:
        die_before(int(sys.argv[2]))
    try:
        trainer.run_fn(SimpleNamespace(**arguments))
    except UserError as error:
        sys.exit(f"UserError: {error}")
    # What TFX's executor looks for as soon as run_fn is done, on every worker.
    print("the model is there:", Path(arguments["serving_model_dir"]).exists())
