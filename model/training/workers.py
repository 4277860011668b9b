"""Several workers: one start, one end, and an error if one of them is lost.

TensorFlow's coordination service watches the workers: if one dies, the collective operations of
the others end with an error within its heartbeat timeout, 10 seconds. Training is resumed from the
checkpoint when all are started again.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from schema.errors import UserError

# Object storage raises the same types of errors, without these words.
_OF_WORKERS = re.compile(r"[Cc]ollective|/job:|[Hh]eartbeat|[Cc]oordination")
# Vertex AI describes the workers of a custom job to each other in this variable.
_OF_VERTEX = "CLUSTER_SPEC"
# The status of a process that aborts: Vertex AI restarts it, and ends the whole job where one ends
# with 1 ("Understand the custom training service", on permanent errors).
_VERTEX_RESTARTS = 134


def workers_of_environment() -> list[str]:
    """The addresses of the jobs `chief` and `worker` in TF_CONFIG; empty without it.

    Raises UserError if TF_CONFIG is not what TensorFlow reads.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        cluster = json.loads(text).get("cluster") or {}
        return [host for job in ("chief", "worker") for host in cluster.get(job) or ()]
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            "cannot_train",
            f"the environment variable TF_CONFIG is {text[:200]!r}; expected JSON such as "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", '
            '"index": 0}}',
        ) from error


def number_of_workers(strategy: tf.distribute.Strategy) -> int:
    """Processes that share a step."""
    resolver = getattr(strategy, "cluster_resolver", None)
    jobs = resolver.cluster_spec().as_dict() if resolver else {}
    return max(sum(len(jobs.get(job, ())) for job in ("chief", "worker")), 1)


@contextmanager
def lost_workers_reported(strategy: tf.distribute.Strategy, next_start: str) -> Iterator[None]:
    """Turns TensorFlow's errors for a lost worker into a UserError; others stay as they are.

    `next_start` says what a new start will do. In a custom job of Vertex AI the process ends at
    once, with a status after which it is restarted.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if number_of_workers(strategy) == 1 or not _OF_WORKERS.search(str(error)):
            raise
        message = (
            "a worker was lost: it was stopped, its machine is gone or cannot be reached; its own "
            f"log may say why. TensorFlow reports: {' '.join(str(error).split())[:300]}"
        )
        if _OF_VERTEX in os.environ:
            print(f"{message}. Vertex AI restarts this one: {next_start}", file=sys.stderr)
            sys.stderr.flush()
            os._exit(_VERTEX_RESTARTS)
        raise UserError(
            "cannot_train", f"{message}. Start the same command on all machines again: {next_start}"
        ) from error


def check_same_start(strategy: tf.distribute.Strategy, steps: int) -> None:
    """Raises UserError on every worker if not all of them found the same number of steps."""
    total, replicas = sum_over_workers(strategy, [float(steps), 1.0])
    if total != steps * replicas:
        raise UserError(
            "cannot_train",
            f"this worker found a checkpoint of step {steps}, and others another one (step "
            f"{total / replicas:g} in the mean): the checkpoints must be in a place that all "
            "workers see, such as gs:// or a shared disk. Give such a place, or remove the "
            "checkpoints on all machines",
        )


def of_chief(strategy: tf.distribute.Strategy, values: Sequence[float]) -> list[float]:
    """The chief's values on every worker, so that all decide alike; waits for all workers."""
    return sum_over_workers(strategy, values, of_chief=True)


def sum_over_workers(
    strategy: tf.distribute.Strategy, values: Sequence[float], of_chief: bool = False
) -> list[float]:
    """Sums values over all replicas of all workers, or takes those of the chief's first one."""
    if number_of_workers(strategy) == 1:
        return list(values)

    @tf.function
    def total() -> Any:
        def on_replica() -> Any:
            context = tf.distribute.get_replica_context()
            counts = not of_chief or context.replica_id_in_sync_group == 0
            own = tf.constant(values, tf.float64) * tf.cast(counts, tf.float64)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

        return strategy.experimental_local_results(strategy.run(on_replica))[0]

    return [float(value) for value in total().numpy()]
