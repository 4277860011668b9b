"""Reads inference results, writes each cloud's files and its Example."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from absl import logging
from tfx import types
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.predicted_parts.inference_results import PredictedCloud, read_prediction
from preprocessing.clouds.files import file_stem
from preprocessing.clouds.ply import LABELS_ENDING, PLY_ENDING, labels_file, ply_file
from schema.categories import Category
from schema.record import CATEGORY, OFFSET, POINTS, SHAPE_ID, UNANNOTATED, UNLABELLED

CLOUDS_FILE = "clouds.csv"
COLUMNS = ("shape_id", "category", "points", "unanswered", "mean_probability", "file")
PREDICTED_PART, PROBABILITY = "predicted_part", "probability"


class Executor(base_executor.BaseExecutor):
    """Writes files and Examples; none where no model was blessed."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component.

        Args:
          input_dict: inference_result.
          output_dict: predicted_parts, predicted_examples.
          exec_properties: categories, code_fingerprint.
        """
        categories = {
            value["name"]: Category.from_json(value)
            for value in json.loads(exec_properties["categories"])
        }
        folder = artifact_utils.get_single_uri(output_dict["predicted_parts"])
        examples = artifact_utils.get_single_instance(output_dict["predicted_examples"])
        examples.split_names = artifact_utils.encode_split_names([UNLABELLED])
        examples_utils.set_payload_format(examples, tfx.proto.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        split = artifact_utils.get_split_uri([examples], UNLABELLED)
        fileio.makedirs(split)
        results = artifact_utils.get_single_uri(input_dict["inference_result"])
        logs = sorted(str(path) for path in fileio.glob(os.path.join(results, "*.gz")))
        # Of an empty list TensorFlow would make floats: no model was blessed.
        files = tf.constant(logs, tf.string, [len(logs)])
        rows = write_clouds(
            map(read_prediction, tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()),
            categories,
            folder,
            os.path.join(split, "data_tfrecord-00000-of-00001.gz"),
        )
        if logs:
            logging.info("PredictedParts: %d clouds in %s", len(rows), folder)
        else:
            logging.info("PredictedParts: no model was blessed, nothing was predicted")


def write_clouds(
    clouds: Iterable[PredictedCloud],
    categories: dict[str, Category],
    folder: str,
    examples: str,
) -> list[tuple[Any, ...]]:
    """Writes every cloud.

    Args:
      clouds: in any order; one is in memory at a time.
      categories: by name.
      folder: for the files and clouds.csv.
      examples: the file for the Examples, gzip TFRecord.

    Returns:
      The rows of clouds.csv, in the order of the shapes' ids.
    """
    fileio.makedirs(folder)
    rows = []
    with tf.io.TFRecordWriter(examples, "GZIP") as writer:
        for cloud in clouds:
            record, stem = cloud.record, file_stem(cloud.record.shape_id)
            category = categories[record.category]
            ply = ply_file(record.coordinates, cloud.parts, category)
            _write(os.path.join(folder, stem + PLY_ENDING), ply)
            _write(os.path.join(folder, stem + LABELS_ENDING), labels_file(cloud.parts))
            writer.write(predicted_example(cloud))
            answered = cloud.parts != UNANNOTATED
            mean = cloud.probability[answered].mean() if answered.any() else 0.0
            rows.append(
                (
                    record.shape_id,
                    record.category,
                    len(record.points),
                    int((~answered).sum()),
                    f"{mean:.4f}",
                    stem + PLY_ENDING,
                )
            )
    rows.sort()
    table = io.StringIO(newline="")
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(rows)
    _write(os.path.join(folder, CLOUDS_FILE), table.getvalue().encode())
    return rows


def predicted_example(cloud: PredictedCloud) -> bytes:
    """The cloud as a tf.Example, with `predicted_part` int64[n] and `probability` float[n].

    Not as `labels`: what a model says is no truth to learn from or to measure against.
    """
    record = cloud.record
    example = tf.train.Example()
    feature = example.features.feature
    feature[SHAPE_ID].bytes_list.value.append(record.shape_id.encode())
    feature[CATEGORY].bytes_list.value.append(record.category.encode())
    feature[POINTS].float_list.value.extend(record.points.reshape(-1).tolist())
    if record.offset is not None:
        feature[OFFSET].float_list.value.extend(record.offset.tolist())
    feature[PREDICTED_PART].int64_list.value.extend(cloud.parts.tolist())
    feature[PROBABILITY].float_list.value.extend(cloud.probability.tolist())
    return example.SerializeToString(deterministic=True)


def _write(path: str, content: bytes) -> None:
    with fileio.open(path, "wb") as file:
        file.write(content)
