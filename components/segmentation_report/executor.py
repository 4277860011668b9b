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
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.data_report.executor import FINDINGS_FILE
from components.evaluator.metrics import (
    ALL_CLOUDS,
    BASELINE,
    CANDIDATE,
    Slice,
    metrics_by_slice,
    slice_title,
)
from components.evaluator.size_buckets import CLOUD_SIZE, SIZE_BUCKETS
from components.evaluator.verdict import read_verdict
from components.segmentation_report.page import (
    RIGHT_COLOUR,
    WRONG_COLOUR,
    DrawnCloud,
    ReportValues,
    SliceRow,
    View,
    build_page,
)
from components.turnable_cloud import encode_colours, encode_parts, encode_points, evenly_spread
from model.training.curves import CURVES_FILE
from model.metrics import confusion, shape_iou
from preprocessing.conversion.records import from_example
from reports.cloud_picture import draw_cloud
from schema.categories import Category
from schema.record import UNANNOTATED, Cloud

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

    record: Cloud
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
          input_dict: evaluation, model, examples; model_run and data_report if there are any.
          output_dict: report.
          exec_properties: categories, config, data, code_fingerprint.
        """
        categories = tuple(
            Category.from_json(value) for value in json.loads(exec_properties["categories"])
        )
        write_report(
            artifact_utils.get_single_uri(output_dict["report"]),
            ReportSources(
                evaluation=artifact_utils.get_single_uri(input_dict["evaluation"]),
                model=path_utils.serving_model_path(
                    artifact_utils.get_single_uri(input_dict["model"])
                ),
                clouds=artifact_utils.get_split_uri(input_dict["examples"], SPLIT),
                training=_uri(input_dict, "model_run"),
                data_report=_uri(input_dict, "data_report"),
                code_fingerprint=exec_properties["code_fingerprint"],
            ),
            categories,
            config=exec_properties["config"],
            data=exec_properties["data"],
        )


@dataclass(frozen=True)
class ReportSources:
    """Where lies what the page shows.

    Attributes:
      evaluation: the Evaluator's output folder.
      model: the SavedModel's folder.
      clouds: the folder with the test clouds' TFRecords.
      training: the folder with the learning curves, if there is one.
      data_report: the folder with the page on the data, if there is one.
      code_fingerprint: of the code that made the evaluation.
    """

    evaluation: str
    model: str
    clouds: str
    training: str | None = None
    data_report: str | None = None
    code_fingerprint: str = ""


def write_report(
    folder: str,
    sources: ReportSources,
    categories: tuple[Category, ...],
    config: str,
    data: str,
) -> None:
    """Writes report.html and clouds/*.png.

    Args:
      folder: where to.
      sources: what the page shows.
      categories: the model's categories, in the order of its classes.
      config: YAML, shown on the page.
      data: which shapes these are, in a sentence.
    """
    records = sample_clouds(read_clouds(sources.clouds), MOST_CLOUDS)
    segmented = segment(tf.saved_model.load(sources.model), records, categories)
    drawn = [draw(rank, cloud) for rank, cloud in extremes(segmented)]
    measured = metrics_by_slice(sources.evaluation, CANDIDATE)
    baseline = metrics_by_slice(sources.evaluation, BASELINE)
    curves = os.path.join(sources.training, CURVES_FILE) if sources.training else ""
    places = {
        "model": sources.model,
        "evaluation": sources.evaluation,
        "clouds": sources.clouds,
        "training": sources.training,
        "page on the data": sources.data_report,
        "code": f"fingerprint {sources.code_fingerprint}" if sources.code_fingerprint else None,
    }
    values = ReportValues(
        verdict=read_verdict(sources.evaluation),
        metrics=measured[ALL_CLOUDS],
        baseline=baseline.get(ALL_CLOUDS, {}),
        categories=categories,
        curves=read_curves(curves) if curves else {},
        shape_ious=[cloud.shape_iou for cloud in segmented],
        clouds=drawn,
        slices=[
            SliceRow(slice_title(key), measured[key], baseline.get(key, {}))
            for key in sorted(measured.keys() - {ALL_CLOUDS}, key=_slice_order)
        ],
        data_findings=read_findings(sources.data_report) if sources.data_report else None,
        config=config,
        about=[f"Data: {data}", f"Model: {sources.model}"],
        artifacts={name: place for name, place in places.items() if place},
    )
    for cloud in drawn:
        for view in cloud.views:
            path = os.path.join(folder, "clouds", f"{cloud.rank}-{view.name}.png")
            _write(path, view.still)
    _write(os.path.join(folder, PAGE_FILE), build_page(values).encode())


def read_findings(folder: str) -> dict[str, list[str]]:
    """What DataReport found unusual, in sentences by kind."""
    with fileio.open(os.path.join(folder, FINDINGS_FILE), "r") as file:
        return json.loads(file.read())


def _uri(artifacts: dict[str, list[types.Artifact]], name: str) -> str | None:
    """An optional input's folder."""
    return artifact_utils.get_single_uri(artifacts[name]) if artifacts.get(name) else None


def _slice_order(key: Slice) -> tuple[Any, ...]:
    """Categories by name, then sizes from small to large."""
    ((feature, value),) = key
    size = SIZE_BUCKETS.index(value) if feature == CLOUD_SIZE else 0
    return feature, size, str(value)


def read_clouds(folder: str) -> Iterator[Cloud]:
    """The labelled clouds of a split's folder, those with at least one annotated point."""
    paths = sorted(str(path) for path in fileio.glob(os.path.join(folder, "*")))
    for example in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator():
        record = from_example(example)
        if record.labels is not None and (record.labels != UNANNOTATED).any():
            yield record


def sample_clouds(records: Iterable[Cloud], most: int) -> list[Cloud]:
    """At most `most` clouds, the same ones however the records are ordered."""
    return heapq.nsmallest(
        most, records, key=lambda record: hashlib.sha256(record.shape_id.encode()).digest()
    )


def segment(
    served: Any, records: list[Cloud], categories: tuple[Category, ...]
) -> list[SegmentedCloud]:
    """Has the exported model name the part of every point.

    Args:
      served: a loaded SavedModel, see model/export/signatures.py.
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
    shown = evenly_spread(len(points))
    right_or_wrong = (RIGHT_COLOUR, WRONG_COLOUR)
    ways = {
        "truth": (truth, colours),
        "prediction": (cloud.prediction, colours),
        "errors": (errors, right_or_wrong),
    }
    return DrawnCloud(
        rank=rank,
        shape_id=cloud.record.shape_id,
        category=cloud.category,
        shape_iou=cloud.shape_iou,
        wrong=int(wrong.sum()),
        annotated=int(annotated.sum()),
        points=encode_points(points[shown]),
        shown=len(shown),
        views=[
            View(
                name=name,
                still=draw_cloud(points, parts, palette),
                parts=encode_parts(parts[shown]),
                colours=encode_colours(palette),
            )
            for name, (parts, palette) in ways.items()
        ],
    )


def read_curves(path: str) -> dict[str, list[float]]:
    """The columns of curves.csv by name; empty if there is no such file."""
    if not fileio.exists(path):
        return {}
    with fileio.open(path, "r") as file:
        rows = list(csv.DictReader(file.read().splitlines()))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def _truth(record: Cloud) -> np.ndarray:
    if record.labels is None:
        raise ValueError(f"shape {record.shape_id} has no labels")
    return record.labels


def _write(path: str, content: bytes) -> None:
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "wb") as file:
        file.write(content)
