"""What training runs on: which devices, how many replicas, in which compute type."""

from __future__ import annotations

import tensorflow as tf
from absl import logging

from model.training_error import TrainingError
from model.workers import workers_of_environment

_TENSOR_FLOAT16, _TENSOR_BFLOAT16 = (7, 0), (8, 0)


def training_device() -> str:
    """Names what this run trains on, as a person wants to read it."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "the CPU (TensorFlow sees no GPU)"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    return f"{len(gpus)} GPU: " + ", ".join(name or "unnamed" for name in names)


def dtype_policy(precision: str) -> str:
    """Keras's policy for a precision.

    Args:
      precision: float32, bfloat16, float16; auto takes what every GPU of this machine multiplies
        fast: bfloat16 from compute capability 8.0 on, float16 from 7.0 on, else float32. A CPU
        trains in float32: even where it multiplies bfloat16 (AMX), most of a training step is
        memory traffic in float32, and what rounding costs in quality is not paid back.
    """
    if precision == "auto":
        precision = _auto_precision()
    return precision if precision == "float32" else f"mixed_{precision}"


def _auto_precision() -> str:
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    weakest = min(capabilities, default=(0, 0))
    if weakest >= _TENSOR_BFLOAT16:
        return "bfloat16"
    return "float16" if weakest >= _TENSOR_FLOAT16 else "float32"


def training_strategy() -> tf.distribute.Strategy:
    """How a step is shared: among the workers of TF_CONFIG, this machine's GPUs, or not at all.

    With several workers it must be called before TensorFlow computes anything; it waits for the
    others, an hour at most.

    Raises:
      TrainingError: TF_CONFIG cannot be used, or another worker has not come.
    """
    workers = workers_of_environment()
    hosts = [host for job in sorted(workers) for host in workers[job]]
    if len(hosts) > 1:
        logging.info("Waiting for the %d workers of TF_CONFIG: %s", len(hosts), ", ".join(hosts))
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (RuntimeError, ValueError, tf.errors.OpError) as error:
            raise TrainingError(
                f"the workers of TF_CONFIG ({', '.join(hosts)}) cannot train together: "
                f"{' '.join(str(error).split())[:300]}. Start the same command on all of them, "
                "each with its own task in TF_CONFIG and a port that the others can reach"
            ) from error
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes files: the only one, the chief, or else the first worker."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "worker":
        return resolver.task_id == 0 and not resolver.cluster_spec().as_dict().get("chief")
    return bool(resolver.task_type == "chief")
