"""What training runs on: devices, replicas, compute type."""

from __future__ import annotations

import os
import shutil
from typing import Any

import tensorflow as tf
from absl import logging

from model.training.workers import workers_of_environment
from schema.errors import UserError

_TENSOR_FLOAT16, _TENSOR_BFLOAT16 = (7, 0), (8, 0)
# NCCL takes some 10 MB of a container's shared memory for each pair of GPUs and channel.
_SHARED_MEMORY, _ENOUGH_SHARED_MEMORY = "/dev/shm", 2**30


def _gpus() -> list[dict[str, Any]]:
    """TensorFlow's details of each GPU: `device_name`, `compute_capability`."""
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu) for gpu in gpus]


def training_device() -> str:
    """Names what this run trains on, for a person."""
    gpus = _gpus()
    if gpus:
        return f"{len(gpus)} GPU: " + ", ".join(gpu.get("device_name", "unnamed") for gpu in gpus)
    if shutil.which("nvidia-smi") and os.environ.get("CUDA_VISIBLE_DEVICES") != "-1":
        return (
            "the CPU, although there is an NVIDIA driver: TensorFlow does not find the CUDA "
            "libraries, or the driver is too old for them; `make` installs the libraries"
        )
    return "the CPU (TensorFlow sees no GPU)"


def dtype_policy(precision: str) -> str:
    """Keras's policy for float32, bfloat16, float16, or auto.

    auto is what every GPU of this machine multiplies fast: bfloat16 from compute capability 8.0 on,
    float16 from 7.0 on, else float32. A CPU trains in float32: even where it multiplies bfloat16
    (AMX), most of a step is memory traffic in float32.
    """
    if precision == "auto":
        capabilities = [gpu.get("compute_capability", (0, 0)) for gpu in _gpus()]
        weakest = min(capabilities, default=(0, 0))
        precision = "float16" if weakest >= _TENSOR_FLOAT16 else "float32"
        precision = "bfloat16" if weakest >= _TENSOR_BFLOAT16 else precision
    return precision if precision == "float32" else f"mixed_{precision}"


def training_strategy() -> tf.distribute.Strategy:
    """How a step is shared: among the workers of TF_CONFIG, this machine's GPUs, or not at all.

    With several workers it must be called before TensorFlow computes anything; it waits for the
    others, an hour at most. Raises UserError if TF_CONFIG cannot be used or another worker is
    missing.
    """
    hosts = workers_of_environment()
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
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) < 2:
        return tf.distribute.get_strategy()
    if (
        os.path.isdir(_SHARED_MEMORY)
        and shutil.disk_usage(_SHARED_MEMORY).total < _ENOUGH_SHARED_MEMORY
    ):
        logging.warning(
            "%s is too small for NCCL to connect %d GPUs by: they are connected without it. More "
            "is faster: docker run --shm-size 1g; on Kubernetes an emptyDir in memory.",
            _SHARED_MEMORY,
            len(gpus),
        )
        os.environ.setdefault("NCCL_SHM_DISABLE", "1")
    return tf.distribute.MirroredStrategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes files: the only one, the chief, or else the first worker."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "worker":
        return resolver.task_id == 0 and not resolver.cluster_spec().as_dict().get("chief")
    return bool(resolver.task_type == "chief")
