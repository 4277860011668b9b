"""Reads a run's artifacts, segments some test clouds, and writes the page."""

from __future__ import annotations

import csv
import hashlib
import heapq
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.evaluation_result import failed_bounds, overall_metrics
from components.segmentation_report.page import (
    RIGHT_COLOUR,
    WRONG_COLOUR,
    DrawnCloud,
    ReportValues,
    build_page,
)
from model.curves import CURVES_FILE
from model.metrics import confusion, shape_iou
from preprocessing.examples import from_example
from schema.categories import Category
from schema.cloud_picture import draw_cloud
from schema.record import UNANNOTATED, CloudRecord

PAGE_FILE = "report.html"
SPLIT = "test"
MOST_CLOUDS = 48
BATCH = 8


@dataclass(frozen=True)
class SegmentedCloud:
    """A test cloud with the model's answer.

    Attributes:
      record: the cloud, labelled.
      category: its category.
      prediction: int64 [n], index into the category's parts; -1: no answer.
      shape_iou: see model/metrics.py.
    """

    record: CloudRecord
    category: Category
    prediction: np.ndarray
    shape_iou: float


class Executor(base_executor.BaseExecutor):
    """Writes report.html and clouds/*.png."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Makes the page.

        Args:
          input_dict: evaluation, blessing, model, model_run, examples.
          output_dict: report.
          exec_properties: categories, config, data, code_fingerprint.
        """
        categories = tuple(
            Category.from_json(value) for value in json.loads(exec_properties["categories"])
        )
        evaluation = artifact_utils.get_single_uri(input_dict["evaluation"])
        blessing = artifact_utils.get_single_instance(input_dict["blessing"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        model_run = artifact_utils.get_single_uri(input_dict["model_run"])
        report = artifact_utils.get_single_uri(output_dict["report"])

        records = sample_clouds(
            read_clouds(artifact_utils.get_split_uri(input_dict["examples"], SPLIT)), MOST_CLOUDS
        )
        served = tf.saved_model.load(path_utils.serving_model_path(model.uri))
        segmented = segment(served, records, categories)
        drawn = [draw(rank, cloud) for rank, cloud in extremes(segmented)]
        values = ReportValues(
            blessed=model_utils.is_model_blessed(blessing),
            reasons=failed_bounds(tfma.load_validation_result(evaluation)),
            metrics=overall_metrics(evaluation, "candidate"),
            baseline=overall_metrics(evaluation, "baseline"),
            categories=categories,
            curves=read_curves(os.path.join(model_run, CURVES_FILE)),
            shape_ious=[cloud.shape_iou for cloud in segmented],
            clouds=drawn,
            config=exec_properties["config"],
            about=[f"Data: {exec_properties['data']}", f"Model: {model.uri}"],
        )
        for cloud in drawn:
            for name in ("truth", "prediction", "errors"):
                path = os.path.join(report, "clouds", f"{cloud.rank}-{name}.png")
                _write(path, getattr(cloud, name))
        _write(os.path.join(report, PAGE_FILE), build_page(values).encode())


def read_clouds(folder: str) -> Iterator[CloudRecord]:
    """The labelled clouds of a split's folder, those with at least one annotated point."""
    paths = sorted(str(path) for path in fileio.glob(os.path.join(folder, "*")))
    for example in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator():
        record = from_example(example)
        if record.labels is not None and (record.labels != UNANNOTATED).any():
            yield record


def sample_clouds(records: Iterable[CloudRecord], most: int) -> list[CloudRecord]:
    """At most `most` clouds, the same ones however the records are ordered."""
    return heapq.nsmallest(
        most, records, key=lambda record: hashlib.sha256(record.shape_id.encode()).digest()
    )


def segment(
    served: Any, records: list[CloudRecord], categories: tuple[Category, ...]
) -> list[SegmentedCloud]:
    """Has the exported model name the part of every point.

    Args:
      served: a loaded SavedModel, see model/signatures.py.
      records: labelled clouds of these categories.
      categories: the model's, in the order of its classes.
    """
    answer = served.signatures["serve_padded"]
    index = {category.name: i for i, category in enumerate(categories)}
    segmented = []
    for start in range(0, len(records), BATCH):
        batch = records[start : start + BATCH]
        sizes = [len(record.points) for record in batch]
        points = np.zeros((len(batch), max(sizes), 3), np.float32)
        for row, record in zip(points, batch, strict=True):
            row[: len(record.points)] = record.points
        inputs = {"points": tf.constant(points), "num_points": tf.constant(sizes, tf.int64)}
        known = [index[record.category] if len(categories) > 1 else 0 for record in batch]
        if len(categories) > 1:
            inputs["category"] = tf.constant(known, tf.int64)
        parts = answer(**inputs)["part"].numpy()
        for record, category, row in zip(batch, known, parts, strict=True):
            prediction = row[: len(record.points)]
            counts = confusion(_truth(record), prediction, len(categories[category].parts))
            segmented.append(
                SegmentedCloud(record, categories[category], prediction, shape_iou(counts))
            )
    return segmented


def extremes(clouds: list[SegmentedCloud]) -> list[tuple[str, SegmentedCloud]]:
    """The best, the median and the worst cloud by shape IoU; fewer of fewer than three clouds."""
    ordered = sorted(clouds, key=lambda cloud: (-cloud.shape_iou, cloud.record.shape_id))
    places = {"best": 0, "worst": len(ordered) - 1, "median": (len(ordered) - 1) // 2}
    first: dict[int, str] = {}
    for rank, place in places.items():
        if 0 <= place < len(ordered):
            first.setdefault(place, rank)
    return [(first[place], ordered[place]) for place in sorted(first)]


def draw(rank: str, cloud: SegmentedCloud) -> DrawnCloud:
    """Draws a cloud's truth, prediction and errors."""
    points, truth, colours = cloud.record.points, _truth(cloud.record), cloud.category.colours
    annotated = truth != UNANNOTATED
    wrong = annotated & (cloud.prediction != truth)
    errors = np.where(annotated, wrong.astype(np.int64), UNANNOTATED)
    return DrawnCloud(
        rank=rank,
        shape_id=cloud.record.shape_id,
        category=cloud.category,
        shape_iou=cloud.shape_iou,
        wrong=int(wrong.sum()),
        annotated=int(annotated.sum()),
        truth=draw_cloud(points, truth, colours),
        prediction=draw_cloud(points, cloud.prediction, colours),
        errors=draw_cloud(points, errors, (RIGHT_COLOUR, WRONG_COLOUR)),
    )


def read_curves(path: str) -> dict[str, list[float]]:
    """The columns of curves.csv by name; empty if there is no such file."""
    if not fileio.exists(path):
        return {}
    with fileio.open(path, "r") as file:
        rows = list(csv.DictReader(file.read().splitlines()))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def _truth(record: CloudRecord) -> np.ndarray:
    if record.labels is None:
        raise ValueError(f"shape {record.shape_id} has no labels")
    return record.labels


def _write(path: str, content: bytes) -> None:
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "wb") as file:
        file.write(content)
