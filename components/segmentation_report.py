"""SegmentationReport: one page of a run: verdict, metrics, clouds, curves, data, config."""

import csv
import json
import os
from collections.abc import Mapping, Sequence

from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples, Model, ModelEvaluation, ModelRun
from tfx.utils import path_utils

from components.artifacts import DataReportPage, SegmentationReportPage, write_file
from components.data_report import FINDINGS_FILE
from components.evaluator.metrics import (
    ALL_CLOUDS,
    BASELINE,
    CANDIDATE,
    Slice,
    metrics_by_slice,
    slice_title,
)
from components.evaluator.verdict import read_verdict
from components.split_clouds import read_clouds, sample_clouds
from model.training.curves import CURVES_FILE
from reports.segmentation_page import SegmentedCloud, segmentation_page
from schema.categories import Category
from schema.errors import UserError
from schema.record import Cloud
from schema.size_buckets import CLOUD_SIZE, SIZE_BUCKETS
from serving.batches import segment_in_batches
from serving.exported_model import ExportedModel
from serving.parts_table import most_points_of, parts_file, parts_of, read_about

PAGE_FILE, SPLIT = "report.html", "test"
MOST_CLOUDS = 48


@tfx.dsl.components.component
def SegmentationReport(
    evaluation: tfx.dsl.components.InputArtifact[ModelEvaluation],
    model: tfx.dsl.components.InputArtifact[Model],
    model_run: tfx.dsl.components.InputArtifact[ModelRun],
    examples: tfx.dsl.components.InputArtifact[Examples],
    data_report: tfx.dsl.components.InputArtifact[DataReportPage],
    report: tfx.dsl.components.OutputArtifact[SegmentationReportPage],
    config: tfx.dsl.components.Parameter[str],
    data: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes the page. `config`: YAML, shown on it; `data`: which shapes these are."""
    places = {
        "model": path_utils.serving_model_path(model.uri),
        "evaluation": evaluation.uri,
        "clouds": artifact_utils.get_split_uri([examples], SPLIT),
        "training": model_run.uri,
        "data report": data_report.uri,
        "code": code_fingerprint,
    }
    write_report(report.uri, places, config, data)


def write_report(folder: str, places: Mapping[str, str], config: str, data: str) -> None:
    """Writes the page into a folder.

    `places`: folders of the SavedModel "model", of the "evaluation", and of the test "clouds", also
    of "training" with the learning curves and "data report", if there are any; all are shown.
    """
    sample = sample_clouds(read_clouds(places["clouds"]), MOST_CLOUDS)
    about = read_about(parts_file(places["model"]))
    categories = parts_of(about, places["model"])
    segmented, notes = segment(places["model"], sample, categories, most_points_of(about))
    measured, baseline = (
        metrics_by_slice(places["evaluation"], model) for model in (CANDIDATE, BASELINE)
    )
    curves = _read(places, "training", CURVES_FILE).splitlines()
    findings = _read(places, "data report", FINDINGS_FILE)
    page = segmentation_page(
        read_verdict(places["evaluation"]),
        measured[ALL_CLOUDS],
        categories,
        baseline=baseline.get(ALL_CLOUDS),
        slices=[
            (slice_title(key), measured[key], baseline.get(key, {}))
            for key in sorted(measured.keys() - {ALL_CLOUDS}, key=_slice_order)
        ],
        clouds=segmented,
        notes=notes,
        curves=columns(curves),
        findings=json.loads(findings) if findings else None,
        config=config,
        about=[f"Data: {data}", f"Model: {places['model']}"],
        artifacts=places,
    )
    write_file(os.path.join(folder, PAGE_FILE), page)


def segment(
    model: str, clouds: Sequence[Cloud], categories: Sequence[Category], most_points: int
) -> tuple[list[SegmentedCloud], list[str]]:
    """The clouds with the answers of the SavedModel `model`, and why others have none."""
    segmenter, several = ExportedModel(model), len(categories) > 1
    segmented, notes = [], []
    for index, category in enumerate(categories):
        chosen = [cloud for cloud in clouds if not several or cloud.category == category.name]
        points = [cloud.points for cloud in chosen]
        asked = index if several else None
        for place, answer in segment_in_batches(segmenter, points, asked, most_points):
            cloud = chosen[place]
            if isinstance(answer, UserError):
                notes.append(f"{cloud.shape_id} ({len(cloud.points):,} points): {answer}")
            else:
                segmented.append(SegmentedCloud(cloud, category, answer[0]))
    return segmented, notes


def columns(lines: Sequence[str]) -> dict[str, list[float]]:
    """The columns of a CSV file of numbers, by name."""
    rows = list(csv.DictReader(lines))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def _read(places: Mapping[str, str], place: str, file: str) -> str:
    """A file's text; "" if the place or the file is missing."""
    path = os.path.join(places.get(place, ""), file)
    if place not in places or not fileio.exists(path):
        return ""
    with fileio.open(path, "r") as opened:
        text: str = opened.read()
    return text


def _slice_order(key: Slice) -> tuple[str, int, str]:
    """Categories by name, then sizes from small to large."""
    ((feature, value),) = key
    return feature, SIZE_BUCKETS.index(value) if feature == CLOUD_SIZE else 0, str(value)
