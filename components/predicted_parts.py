"""PredictedParts: what a blessed model says of unlabelled clouds, as files and as Examples.

BulkInferrer's own Examples would have no probabilities, which have one dimension too many for it.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow_serving.apis import prediction_log_pb2
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples, InferenceResult

from components.artifacts import PredictedPartsFiles, categories_from_json, write_file
from components.bulk_inferrer import REFUSED
from preprocessing.clouds.files import file_stem
from preprocessing.clouds.ply import LABELS_ENDING, PLY_ENDING, labels_file, ply_file
from preprocessing.conversion.records import from_example
from schema.categories import Category
from schema.record import UNANNOTATED, UNLABELLED, Cloud

CLOUDS_FILE = "clouds.csv"
# Of a refused cloud, `reason` has the model's reason, and the fields before it are empty.
COLUMNS = ("shape_id", "category", "points", "unanswered", "mean_probability", "file", "reason")
PREDICTED_PART, PROBABILITY = "predicted_part", "probability"
# A cloud's Example and the cloud, the answered part of each point, int64 [n], -1 without an answer,
# and its probability, float32 [n], 0 without one.
Answer = tuple[bytes, Cloud, np.ndarray, np.ndarray]


@tfx.dsl.components.component
def PredictedParts(
    inference_result: tfx.dsl.components.InputArtifact[InferenceResult],
    predicted_parts: tfx.dsl.components.OutputArtifact[PredictedPartsFiles],
    predicted_examples: tfx.dsl.components.OutputArtifact[Examples],
    categories: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes files that people open and Examples that programs read; none without a blessing.

    `inference_result`: PredictionLogs of BulkInferrer. `code_fingerprint`: makes changed code run
    again.
    """
    del code_fingerprint
    predicted_examples.split_names = artifact_utils.encode_split_names([UNLABELLED])
    examples_utils.set_payload_format(predicted_examples, tfx.proto.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(predicted_examples, "tfrecords_gzip")
    split = artifact_utils.get_split_uri([predicted_examples], UNLABELLED)
    fileio.makedirs(split)
    results = inference_result.uri
    logs = sorted(str(path) for path in fileio.glob(os.path.join(results, "*.gz")))
    # Of an empty list TensorFlow would make floats.
    files = tf.constant(logs, tf.string, [len(logs)])
    answers = map(read_prediction, tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    refused = list(_read_refused(results))
    rows = write_clouds(
        answers,
        {category.name: category for category in categories_from_json(categories)},
        predicted_parts.uri,
        os.path.join(split, "data_tfrecord-00000-of-00001.gz"),
        refused,
    )
    for cloud in refused:
        logging.warning("No parts of %s: %s", cloud["shape_id"], cloud["reason"])
    logging.info("%d clouds in %s", len(rows) - len(refused), predicted_parts.uri)


def write_clouds(
    answers: Iterable[Answer],
    categories: Mapping[str, Category],
    folder: str,
    examples: str,
    refused: Iterable[Mapping[str, Any]] = (),
) -> list[tuple[Any, ...]]:
    """Writes every cloud's files, clouds.csv, and `examples`, a gzip TFRecord file.

    Returns the rows of clouds.csv, in the order of the ids. One cloud is in memory at a time.
    """
    rows: list[tuple[Any, ...]] = [
        (cloud["shape_id"], cloud["category"], cloud["points"], "", "", "", cloud["reason"])
        for cloud in refused
    ]
    with tf.io.TFRecordWriter(examples, "GZIP") as writer:
        for example, cloud, parts, probability in answers:
            stem = os.path.join(folder, file_stem(cloud.shape_id))
            ply = ply_file(cloud.coordinates, parts, categories[cloud.category])
            write_file(stem + PLY_ENDING, ply)
            write_file(stem + LABELS_ENDING, labels_file(parts))
            writer.write(predicted_example(example, parts, probability))
            answered = parts != UNANNOTATED
            mean = probability[answered].mean() if answered.any() else 0.0
            missing, file = int((~answered).sum()), os.path.basename(stem) + PLY_ENDING
            about = (cloud.shape_id, cloud.category, len(parts))
            rows.append((*about, missing, f"{mean:.4f}", file, ""))
    rows.sort()
    table = io.StringIO(newline="")
    lines = csv.writer(table, lineterminator="\n")
    lines.writerows([COLUMNS, *rows])
    write_file(os.path.join(folder, CLOUDS_FILE), table.getvalue())
    return rows


def predicted_example(cloud: bytes, parts: np.ndarray, probability: np.ndarray) -> bytes:
    """The cloud's tf.Example with `predicted_part` int64 [n] and `probability` float [n].

    Not as `labels`: a prediction is not a truth to learn from or to measure against.
    """
    example = tf.train.Example.FromString(cloud)
    feature = example.features.feature
    feature[PREDICTED_PART].int64_list.value.extend(parts.tolist())
    feature[PROBABILITY].float_list.value.extend(probability.tolist())
    return example.SerializeToString(deterministic=True)


def read_prediction(log: bytes) -> Answer:
    """A cloud's answer from a serialized PredictionLog; ValueError if it lacks points."""
    predicted = prediction_log_pb2.PredictionLog.FromString(log).predict_log
    (request,) = predicted.request.inputs.values()
    example = request.string_val[0]
    cloud = from_example(example)
    count = len(cloud.points)
    parts = tf.make_ndarray(predicted.response.outputs["part"])[0].astype(np.int64)  # [N]
    probability = tf.make_ndarray(predicted.response.outputs["probability"])[0]  # [N, K]
    if len(parts) < count or len(probability) < count:
        raise ValueError(f"shape {cloud.shape_id}: {len(parts)} of {count} points in the answer")
    parts, best = parts[:count], probability[:count].max(axis=1)
    return example, cloud, parts, np.where(parts == UNANNOTATED, 0, best).astype(np.float32)


def _read_refused(folder: str) -> Iterator[dict[str, Any]]:
    for path in fileio.glob(os.path.join(folder, f"{REFUSED}*.jsonl")):
        with fileio.open(path, "r") as file:
            yield from map(json.loads, file.read().splitlines())
