"""Warm-up requests, which TensorFlow Serving answers before a version gets its first real one."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from preprocessing.conversion.records import to_example
from schema.categories import Category
from schema.record import CATEGORY, POINTS, Cloud

# The name and format, a TFRecord file of PredictionLog, are TensorFlow Serving's.
WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
# A small, a usual and a large cloud.
SIZES = (64, 2048, 16384)


def write_warm_up(directory: str, categories: tuple[Category, ...], most_points: int) -> None:
    """Writes WARM_UP_FILE to a SavedModel's directory: SIZES, for each serving signature.

    No cloud has more than `most_points`: a version whose warm-up fails would not be served.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    path = os.path.join(directory, WARM_UP_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for size in sorted({min(size, most_points) for size in SIZES}):
            points = _sphere(size)
            record = Cloud("warm_up", categories[0].name, points)
            batch = {POINTS: points[np.newaxis]}
            if len(categories) > 1:
                batch[CATEGORY] = np.zeros(1, np.int64)
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
