"""What BulkInferrer wrote, cloud by cloud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from preprocessing.conversion.records import from_example
from schema.record import UNANNOTATED, Cloud


@dataclass(frozen=True)
class PredictedCloud:
    """A cloud with the model's answer.

    Attributes:
      record: the cloud.
      parts: int64 [n], index into the category's parts; -1: no answer.
      probability: float32 [n], of the answered part; 0 where there is no answer.
    """

    record: Cloud
    parts: np.ndarray
    probability: np.ndarray


def read_prediction(log: bytes) -> PredictedCloud:
    """Reads a serialized PredictionLog of the signature `serve_examples`.

    Args:
      log: one cloud's; its answer may be padded.

    Raises:
      UserError: the request is no cloud.
      ValueError: the answer has fewer rows than the cloud has points.
    """
    predicted = prediction_log_pb2.PredictionLog.FromString(log).predict_log
    (request,) = predicted.request.inputs.values()
    record = from_example(request.string_val[0])
    count = len(record.points)
    parts = tf.make_ndarray(predicted.response.outputs["part"])[0]
    probability = tf.make_ndarray(predicted.response.outputs["probability"])[0]  # [N, K]
    if len(parts) < count or len(probability) < count:
        raise ValueError(
            f"shape {record.shape_id}: the model answered {len(parts)} of {count} points"
        )
    parts = parts[:count].astype(np.int64)
    best = probability[:count].max(axis=1)
    answered = parts != UNANNOTATED
    return PredictedCloud(record, parts, np.where(answered, best, 0).astype(np.float32))
