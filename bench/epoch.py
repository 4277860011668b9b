"""A training epoch with everything in it, beside its parts: input pipeline alone, steps alone.

    python -m bench.epoch [--batch 32] [--points 1024] [--steps 8]

The clouds are random numbers, 2,048 points each, as Transform stores them; each batch is drawn,
augmented and gathered afresh, as in training.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from bench.results import Measurement, record
from model.input_pipeline import TransformedClouds, training_batches
from model.network import build_network
from model.settings import NetworkSettings, TrainingSettings
from model.training import TrainingStep

STORED = 2048
NUM_CLASSES = 5


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    settings = TrainingSettings(batch_size=arguments.batch, points_per_draw=arguments.points)
    count = arguments.batch * (arguments.steps + 1)
    rng = np.random.default_rng(0)
    clouds = TransformedClouds(
        tf.constant(rng.normal(size=(count, STORED, 3)), tf.float32),
        tf.constant(rng.integers(0, NUM_CLASSES, (count, STORED)), tf.int32),
        tf.zeros([count], tf.int32),
    )
    step = TrainingStep(build_network(NetworkSettings(), NUM_CLASSES, 1), settings, count)
    batches = iter(training_batches(clouds, settings))
    batch = next(batches)
    step(batch)  # traces the graph

    def seconds(work: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(arguments.steps):
            work()
        return (time.perf_counter() - start) / arguments.steps

    alone = seconds(lambda: step(batch))
    together = seconds(lambda: step(next(batches)))
    fresh = iter(training_batches(clouds, settings))
    next(fresh)
    # More than what is prefetched, so that the mean is that of making them.
    many = 10 * arguments.steps
    start = time.perf_counter()
    for _ in itertools.islice(fresh, many):
        pass
    made = (time.perf_counter() - start) / many
    command = (
        f"python -m bench.epoch --batch {arguments.batch} --points {arguments.points} "
        f"--steps {arguments.steps}"
    )
    what = f"example's widths, B {arguments.batch}, N {arguments.points}"
    record(
        [
            Measurement(
                "input_pipeline_speedup",
                alone / made,
                "ratio",
                f"batches a second of the input pipeline alone against training steps; {what}",
                command,
            ),
            Measurement(
                "epoch_step_ratio",
                together / alone,
                "ratio",
                f"a step of an epoch with its input pipeline against the step alone; {what}",
                command,
            ),
            Measurement(
                "epoch_clouds_per_second", arguments.batch / together, "clouds/s", what, command
            ),
        ]
    )


if __name__ == "__main__":
    main()
