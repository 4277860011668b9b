"""Warm-up requests: TensorFlow Serving answers them before a version takes its first real one."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from preprocessing.conversion.records import to_example
from schema.categories import Category
from schema.record import CATEGORY, POINTS, Cloud

# Where TensorFlow Serving looks, and in which form: TFRecords of PredictionLog.
WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
# A small, a usual and a large cloud.
SIZES = (64, 2048, 16384)


def write_warm_up(
    directory: str, categories: tuple[Category, ...], most_points: int = SIZES[-1]
) -> None:
    """Writes WARM_UP_FILE into a SavedModel's folder: each serving signature with clouds of SIZES.

    Args:
      directory: the SavedModel's; gs:// and the like will do.
      categories: those that the model knows.
      most_points: the largest request that the model takes. A version whose warm-up fails is not
        served, so that no cloud here may be larger.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    path = os.path.join(directory, WARM_UP_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for size in sorted({min(size, most_points) for size in SIZES}):
            points = _sphere(size)
            several = {CATEGORY: np.zeros(1, np.int64)} if len(categories) > 1 else {}
            record = Cloud("warm_up", categories[0].name, points)
            batch = {POINTS: points[np.newaxis], **several}
            for signature, inputs in (
                ("serving_default", batch),
                ("serve_padded", {**batch, "num_points": np.array([size], np.int64)}),
                ("serve_examples", {"examples": np.array([to_example(record)], object)}),
            ):
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.signature_name = signature
                for name, value in inputs.items():
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
                writer.write(log.SerializeToString())


def _sphere(size: int) -> np.ndarray:
    """Points spread evenly on a sphere (a Fibonacci lattice), float32 [size, 3]."""
    place = np.arange(size) + 0.5
    height = 1 - 2 * place / size
    angle = np.pi * (1 + 5**0.5) * place
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], 1).astype(np.float32)
