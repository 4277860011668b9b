"""What training runs on: which devices, how many replicas, in which compute type."""

from __future__ import annotations

import os
import shutil

import tensorflow as tf
from absl import logging

from model.training.workers import workers_of_environment
from schema.errors import UserError

_TENSOR_FLOAT16, _TENSOR_BFLOAT16 = (7, 0), (8, 0)
# The newest GPUs that the locked TensorFlows are built for (2.16 and 2.21, CUDA 12.3 and 12.5). On
# newer ones XLA ends the process without a Python error: "PTX version 8.5 does not support target".
_NEWEST_KNOWN = (9, 0)
# NCCL takes some 10 MB of a container's shared memory for each pair of GPUs and channel.
_SHARED_MEMORY, _ENOUGH_SHARED_MEMORY = "/dev/shm", 2**30


def training_device() -> str:
    """Names what this run trains on, as a person wants to read it."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        if shutil.which("nvidia-smi") and os.environ.get("CUDA_VISIBLE_DEVICES") != "-1":
            return (
                "the CPU, although an NVIDIA driver is here: TensorFlow does not find the CUDA "
                "libraries, or the driver is too old for them; begin the command with `python3 "
                "requirements/environment.py run --`, which names the libraries, or use `make`"
            )
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
      UserError: TF_CONFIG cannot be used, another worker has not come, or a GPU is newer than
        TensorFlow.
    """
    _check_gpus()
    workers = workers_of_environment()
    hosts = [host for job in sorted(workers) for host in workers[job]]
    if len(hosts) > 1:
        logging.info("Waiting for the %d workers of TF_CONFIG: %s", len(hosts), ", ".join(hosts))
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (RuntimeError, ValueError, tf.errors.OpError) as error:
            raise UserError(
                "cannot_train",
                f"the workers of TF_CONFIG ({', '.join(hosts)}) cannot train together: "
                f"{' '.join(str(error).split())[:300]}. Start the same command on all of them, "
                "each with its own task in TF_CONFIG and a port that the others can reach",
            ) from error
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _check_gpus() -> None:
    """Sees to it that TensorFlow can use the GPUs, and several of them together."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        major, minor = details.get("compute_capability", (0, 0))
        if (major, minor) > _NEWEST_KNOWN:
            raise UserError(
                "cannot_train",
                f"the GPU {details.get('device_name', 'unnamed')} has compute capability {major}."
                f"{minor}, and TensorFlow {tf.__version__} is built for up to "
                f"{'.'.join(map(str, _NEWEST_KNOWN))}: it would end without a word. Set "
                "CUDA_VISIBLE_DEVICES=-1 to train on the CPU, or take a GPU of the generations "
                "Volta to Hopper",
            )
    if len(gpus) > 1 and os.path.isdir(_SHARED_MEMORY):
        size = shutil.disk_usage(_SHARED_MEMORY).total
        if size < _ENOUGH_SHARED_MEMORY and "NCCL_SHM_DISABLE" not in os.environ:
            logging.warning(
                "%s has %d MiB, too few for NCCL to connect %d GPUs by: they are connected without "
                "it. More is faster: docker run --shm-size 1g; on Kubernetes an emptyDir in memory",
                _SHARED_MEMORY,
                size // 2**20,
                len(gpus),
            )
            os.environ["NCCL_SHM_DISABLE"] = "1"


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes files: the only one, the chief, or else the first worker."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "worker":
        return resolver.task_id == 0 and not resolver.cluster_spec().as_dict().get("chief")
    return bool(resolver.task_type == "chief")
