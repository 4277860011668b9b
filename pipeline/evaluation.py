"""Measures exported models outside a pipeline: `pointnet-parts evaluate` and `compare`.

The clouds are read as `inspect` reads them, checked as CloudValidator does, measured by the
Evaluator's executor, and shown on SegmentationReport's page.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.cloud_validator.checks import examine
from components.data_inspection.sources import Source, open_source
from components.evaluator.metrics import (
    ALL_CLOUDS,
    BASELINE,
    CANDIDATE,
    metrics_by_slice,
    slice_title,
)
from components.evaluator.standalone import SPLIT, evaluate, stage_clouds, stage_model
from components.evaluator.verdict import Verdict
from components.segmentation_metrics import DIFFERENCE_HIGH, DIFFERENCE_LOW
from components.segmentation_report.executor import ReportSources, write_report
from components.settings import EvaluationSettings, HeadlineThreshold, Threshold
from model.signatures import PARTS_ASSET
from pipeline.beam_settings import beam_args
from pipeline.config import ConfigError, PipelineConfig, to_yaml
from pipeline.graph import Places, evaluation_config
from pipeline.logs import logs_to_file
from preprocessing.findings import BadInput
from preprocessing.settings import DataSettings
from schema.categories import Category, part_names
from schema.record import SPLITS, UNANNOTATED, CloudRecord
from serving.exported_model import exported_folder
from serving.parts_table import read_parts

ALL_SPLITS = "all"
METRICS_FILE = "metrics.json"
LOG_FILE = "evaluation.log"
REPORT_FILE = "report.html"
HEADLINES = {
    "point_accuracy": "point accuracy",
    "mean_class_accuracy": "mean class accuracy",
    "instance_miou": "instance mIoU",
    "category_miou": "category mIoU",
    "instance_miou_of_present_parts": "instance mIoU, present parts",
    "calibration_error": "calibration error",
}


@dataclass
class _Clouds:
    """The sound, labelled clouds of a source that a model knows; what was left out is counted."""

    source: Source
    split: str
    categories: tuple[Category, ...]
    config: PipelineConfig
    left_out: list[str] = field(default_factory=list)
    unlabelled: int = 0
    of_other_categories: int = 0

    def __iter__(self) -> Iterator[CloudRecord]:
        known = {category.name: category for category in self.categories}
        for place, cloud in self.source.clouds(lambda _: True):
            wanted = SPLITS if self.split == ALL_SPLITS else (self.split,)
            # A lone file of records is of no split.
            if place.split in SPLITS and place.split not in wanted:
                continue
            if cloud is not None and cloud.category not in known:
                self.of_other_categories += 1
                continue
            examined = examine(cloud, place, self.config.validation, known)
            if cloud is None or examined.refused:
                self.left_out += [f.sentence for f in examined.findings if f.severity != "warning"]
                continue
            if cloud.labels is None or not (cloud.labels != UNANNOTATED).any():
                self.unlabelled += 1
                continue
            points = cloud.coordinates.reshape(-1, 3)
            yield CloudRecord(cloud.shape_id, cloud.category, points, cloud.labels)


def evaluate_model(
    model: str,
    data: str,
    output: Path,
    config: PipelineConfig,
    split: str,
    with_bounds: bool,
    baseline: str,
    console: Console,
) -> Verdict:
    """Measures a model on labelled clouds; writes the page, the numbers and TFMA's files.

    Args:
      model: the folder of a SavedModel, or one of numbered versions, of which the last is taken.
      data: whatever `inspect` reads: raw shapes, a converted data set, record files, Examples.
      output: where to write; must not be there, or be empty.
      config: how raw data is read and split, and the bounds.
      split: "train", "val", "test", or ALL_SPLITS.
      with_bounds: hold the model against the config's bounds.
      baseline: another model to hold it against; "" for none.
      console: where the numbers go.

    Returns:
      The verdict; without bounds it says nothing.

    Raises:
      ServingError: a model cannot be used.
      BadInput: the data cannot be used, or the models name different parts.
      ConfigError: the output folder is not empty, or the config names parts that are not there.
    """
    beam_options = beam_args(config.beam, "Evaluator")
    folders = [exported_folder(Path(name).expanduser()) for name in (model, baseline) if name]
    tables = [read_parts(folder / "assets" / PARTS_ASSET) for folder in folders]
    _refuse_other_parts(folders, tables)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} is there already and not empty; give another --output.")
    categories = tables[0]
    settings = config.data.model_copy(
        update={"category": categories[0].name if len(categories) == 1 else "all"}
    )
    clouds = _open(data, settings, split, categories, config)
    work = output / "work"
    try:
        examples, count = stage_clouds(clouds, work / "examples")
        _say_what_is_left_out(clouds, console)
        if not count:
            which = "" if split == ALL_SPLITS else f" in split {split} (--split all takes all)"
            raise BadInput("no_clouds", f"{data} holds no sound, labelled cloud{which}.")
        console.print(f"{count} clouds, split {split}, of {clouds.source.form}", highlight=False)
        staged = [stage_model(folder, work / f"model{i}") for i, folder in enumerate(folders)]
        places = Places(examples.uri, "", "", None, categories)
        bounds = config if with_bounds else config.model_copy(update={"evaluation": _no_bounds()})
        with logs_to_file(output / LOG_FILE), console.status("Measuring ..."):
            verdict = evaluate(
                staged[0],
                examples,
                evaluation_config(bounds, places),
                output,
                (staged[1], str(folders[1])) if baseline else None,
                beam_options,
            )
        evaluation = str(output / "evaluation")
        measured = metrics_by_slice(evaluation, CANDIDATE)
        before = metrics_by_slice(evaluation, BASELINE).get(ALL_CLOUDS, {})
        write_report(
            str(output),
            ReportSources(evaluation, str(folders[0]), f"{examples.uri}/Split-{SPLIT}"),
            categories,
            config=to_yaml(config) if with_bounds else "",
            data=f"{data}, split {split}",
        )
    finally:
        for name in ("work", "tmp", "schema", "blessing"):
            shutil.rmtree(output / name, ignore_errors=True)
    numbers = {slice_title(key): _without_nan(metrics) for key, metrics in measured.items()}
    (output / METRICS_FILE).write_text(json.dumps(numbers, indent=1), "utf-8")
    _print(measured[ALL_CLOUDS], before, categories, console)
    for name, path in (("page", REPORT_FILE), ("numbers", METRICS_FILE)):
        console.print(f"{name + ':':<9}{output / path}", markup=False, highlight=False)
    return verdict


def _refuse_other_parts(folders: list[Path], tables: list[tuple[Category, ...]]) -> None:
    parts = [{c.name: c.parts for c in table} for table in tables]
    if len(parts) == 2 and parts[0] != parts[1]:
        said = [", ".join(part_names(table)) for table in tables]
        raise BadInput(
            "other_parts",
            f"the models name different parts and cannot be compared: {folders[0]} {said[0]}; "
            f"{folders[1]} {said[1]}.",
        )


def _open(
    data: str,
    settings: DataSettings,
    split: str,
    categories: tuple[Category, ...],
    config: PipelineConfig,
) -> _Clouds:
    """Opens the data; its parts must be the model's.

    Raises:
      BadInput: it cannot be read, or numbers other parts.
    """
    source = open_source(data, settings)
    theirs = {category.name: category for category in source.categories}
    for category in categories:
        found = theirs.get(category.name)
        if found is not None and found.parts != category.parts:
            raise BadInput(
                "other_parts",
                f"{data} has {category.name} in the parts {', '.join(found.parts)}; the model was "
                f"trained on {', '.join(category.parts)}. Its labels would mean something else.",
            )
    if not theirs.keys() & {category.name for category in categories}:
        raise BadInput(
            "other_category",
            f"{data} holds {', '.join(theirs)}; the model knows "
            f"{', '.join(category.name for category in categories)}.",
        )
    return _Clouds(source, split, categories, config)


def _say_what_is_left_out(clouds: _Clouds, console: Console) -> None:
    for finding in clouds.source.findings:
        clouds.left_out.append(finding.sentence)
    for sentence in clouds.left_out[:5]:
        console.print(f"note: {sentence}", markup=False, highlight=False)
    more = len(clouds.left_out) - 5
    for number, what in (
        (more, "more notes of this sort"),
        (clouds.unlabelled, "clouds without labels left out"),
        (clouds.of_other_categories, "clouds of categories that the model does not know left out"),
    ):
        if number > 0:
            console.print(f"note: {number} {what}", highlight=False)


def _no_bounds() -> EvaluationSettings:
    none, headline = Threshold(), HeadlineThreshold()
    return EvaluationSettings(
        point_accuracy=headline, instance_miou=headline, part_accuracy=none, part_iou=none
    )


def _without_nan(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in metrics.items()}


def _print(
    metrics: Mapping[str, float],
    before: Mapping[str, float],
    categories: tuple[Category, ...],
    console: Console,
) -> None:
    """Prints headlines and parts; beside another model's, if there is one, with the difference."""
    table = Table(title=f"All points of {metrics['clouds']:.0f} clouds", title_justify="left")
    columns = (
        ["", "model", "95 %"] if not before else ["", "model", "baseline", "difference", "95 %"]
    )
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    rows = dict(HEADLINES)
    for part in part_names(categories):
        rows[f"part_accuracy/{part}"] = f"{part}: accuracy"
        rows[f"part_iou/{part}"] = f"{part}: IoU"
    for key, title in rows.items():
        value = metrics.get(key, math.nan)
        if before:
            other = before.get(key, math.nan)
            low, high = (
                metrics.get(f"{end}/{key}", math.nan) for end in (DIFFERENCE_LOW, DIFFERENCE_HIGH)
            )
            table.add_row(
                title,
                _figure(value),
                _figure(other),
                _signed(value - other),
                _range(low, high, "+"),
            )
        else:
            low, high = (metrics.get(f"interval_{end}/{key}", math.nan) for end in ("low", "high"))
            table.add_row(title, _figure(value), _range(low, high, ""))
    console.print(table)


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.4f}"


def _range(low: float, high: float, sign: str) -> str:
    return "" if math.isnan(low) else f"{low:{sign}.4f} to {high:{sign}.4f}"
