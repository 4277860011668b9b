"""What several workers need of each other: to start at one place, to end together, to be there.

TensorFlow's coordination service watches the workers: where one dies, the collective operations of
all others end with an error within its heartbeat timeout, 10 seconds. It is turned into a sentence
here; the processes end, and training goes on from the checkpoint when all are started again.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from schema.errors import UserError

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)
_ABORTED = "Collective ops is aborted"
# Object storage raises the same types of errors.
_OF_WORKERS = re.compile(r"[Cc]ollective|/job:|[Hh]eartbeat|[Cc]oordination")
_TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")
_START_AGAIN = "Start the same command on all machines again"
# Vertex AI tells the workers of a custom job of each other in this variable.
_OF_VERTEX = "CLUSTER_SPEC"
# The status of a process that aborts: Vertex AI starts such a one again, and ends the whole
# job where one ends with 1 ("Understand the custom training service", on permanent errors).
_VERTEX_STARTS_AGAIN = 134


def workers_of_environment() -> dict[str, list[str]]:
    """The addresses of the jobs `chief` and `worker` that TF_CONFIG names; empty without it.

    Raises:
      UserError: TF_CONFIG is not what TensorFlow reads.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        cluster = json.loads(text).get("cluster") or {}
        return {job: list(cluster[job]) for job in ("chief", "worker") if cluster.get(job)}
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
    if resolver is None:
        return 1
    jobs = resolver.cluster_spec().as_dict()
    return max(sum(len(jobs.get(job, ())) for job in ("chief", "worker")), 1)


@contextmanager
def lost_workers_named(strategy: tf.distribute.Strategy, then: str) -> Iterator[None]:
    """Turns what TensorFlow raises where a worker is gone into a sentence.

    In a custom job of Vertex AI the process ends at once, with a status that has it started again.

    Args:
      strategy: how a step is shared; with one worker nothing is changed.
      then: what a new start will do, such as "training goes on from its last checkpoint".

    Raises:
      UserError: a worker was lost.
    """
    try:
        yield
    except tf.errors.OpError as error:
        lost = isinstance(error, _LOST) and _OF_WORKERS.search(str(error))
        if number_of_workers(strategy) == 1 or not (lost or _ABORTED in str(error)):
            raise
        sentence = (
            f"{_name(strategy, str(error))} was lost in mid-training: it was stopped, its machine "
            f"is gone or cannot be reached; its own log may say why ({_reason(str(error))})"
        )
        if _OF_VERTEX in os.environ:
            print(
                f"{sentence}. Vertex AI starts this one again: {then}", file=sys.stderr, flush=True
            )
            os._exit(_VERTEX_STARTS_AGAIN)
        raise UserError("cannot_train", f"{sentence}. {_START_AGAIN}: {then}") from error


def check_same_start(strategy: tf.distribute.Strategy, steps: int) -> None:
    """Sees to it that all workers have found the same checkpoint.

    Args:
      strategy: how a step is shared.
      steps: how many steps this worker has behind it.

    Raises:
      UserError: others have another number.
    """
    if number_of_workers(strategy) == 1:
        return
    mean = _mean_over_workers(strategy, float(steps))
    if mean != steps:
        raise UserError(
            "cannot_train",
            f"this worker found the training state behind step {steps}, and others another one "
            f"(step {mean:g} in the mean): the training state must lie in a place that all workers "
            "see, such as gs:// or a shared disk. Give such a place, or remove the training state "
            "on all machines",
        )


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Waits till every worker has come here.

    A worker that left while the chief still exports the model would be taken for a lost one, and
    TFX looks for the model as soon as any of them is done.
    """
    if number_of_workers(strategy) > 1:
        _mean_over_workers(strategy, 0.0)


def _mean_over_workers(strategy: tf.distribute.Strategy, value: float) -> float:
    @tf.function
    def mean() -> Any:
        def on_replica() -> Any:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.constant(value, tf.float64))

        return strategy.experimental_local_results(strategy.run(on_replica))[0]

    return float(mean())


def _name(strategy: tf.distribute.Strategy, message: str) -> str:
    """The lost worker, with its address, where TensorFlow names one."""
    resolver = strategy.cluster_resolver
    for job, index in _TASK.findall(message):
        hosts = resolver.cluster_spec().as_dict().get(job, [])
        here = (job, int(index)) == (resolver.task_type, resolver.task_id)
        if not here and int(index) < len(hosts):
            return f"worker {job}:{index} ({hosts[int(index)]})"
    return "a worker"


def _reason(message: str) -> str:
    """The first sentence of what the collective operations were ended by."""
    _, _, cause = message.partition(f"{_ABORTED} by: ")
    first = (cause or message).strip().split("\n", 1)[0]
    return first.partition(". ")[0].rstrip(".")[:200]
