"""Measures exported models outside a pipeline: `pointnet-parts evaluate` and `compare`.

The Evaluator's executor measures what evaluation_inputs.py has opened; the page is that of
SegmentationReport.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.evaluator.bounds import evaluation_config
from components.evaluator.component import check_version
from components.evaluator.metrics import (
    ALL_CLOUDS,
    BASELINE,
    CANDIDATE,
    metrics_by_slice,
    slice_title,
)
from components.evaluator.settings import EvaluationSettings
from components.evaluator.standalone import SPLIT, evaluate, stage_clouds, stage_model
from components.evaluator.verdict import Verdict
from components.segmentation_report import write_report
from model.metric_table import (
    DIFFERENCE_HIGH,
    DIFFERENCE_LOW,
    INTERVAL_HIGH,
    INTERVAL_LOW,
    METRICS,
    PART_METRICS,
    metric_title,
)
from pipeline.beam_settings import beam_args
from pipeline.config import SURROUNDINGS, PipelineConfig, to_yaml
from pipeline.evaluation_inputs import ALL_SPLITS, Clouds, Inputs
from pipeline.logs import logs_to_file
from schema.categories import Category, part_names
from schema.errors import UserError

METRICS_FILE = "metrics.json"
LOG_FILE = "evaluation.log"
REPORT_FILE = "report.html"


def evaluate_model(
    inputs: Inputs, config: PipelineConfig, with_bounds: bool, console: Console
) -> Verdict:
    """Measures a model on labelled clouds; writes the page, the numbers and TFMA's files.

    `config` is the one that `inputs` were opened with; `with_bounds`: its bounds decide, otherwise
    the verdict is empty. UserError: the data or a model cannot be used, or a bound is on a part
    that the model does not have.
    """
    beam_options = beam_args(config.beam, "Evaluator")
    folders, clouds, output = inputs.models, inputs.clouds, inputs.output
    data, split, categories = clouds.source.name, clouds.split, clouds.categories
    for model in folders:
        check_version(str(model))
    work = output / "work"
    try:
        examples, count = stage_clouds(clouds, work / "examples")
        _say_what_is_left_out(clouds, console)
        if not count:
            which = "" if split == ALL_SPLITS else f" in split {split} (--split all takes all)"
            raise UserError("no_clouds", f"{data} holds no sound, labelled cloud{which}.")
        console.print(f"{count} clouds, split {split}, of {clouds.source.form}", highlight=False)
        staged = [stage_model(folder, work / f"model{i}") for i, folder in enumerate(folders)]
        bounds = config.evaluation if with_bounds else EvaluationSettings.without_bounds()
        with logs_to_file(output / LOG_FILE), console.status("Measuring ..."):
            verdict = evaluate(
                staged[0],
                examples,
                evaluation_config(bounds, categories),
                output,
                (staged[1], str(folders[1])) if len(staged) == 2 else None,
                beam_options,
            )
            # TFMA reads its own files with what TensorFlow warns of.
            evaluation = str(output / "evaluation")
            measured = metrics_by_slice(evaluation, CANDIDATE)
            before = metrics_by_slice(evaluation, BASELINE).get(ALL_CLOUDS, {})
            write_report(
                str(output),
                {
                    "model": str(folders[0]),
                    "evaluation": evaluation,
                    "clouds": f"{examples.uri}/Split-{SPLIT}",
                },
                config=to_yaml(config, SURROUNDINGS) if with_bounds else "",
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


def _say_what_is_left_out(clouds: Clouds, console: Console) -> None:
    for finding in clouds.source.findings:
        clouds.left_out.append(finding.message)
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
    keys = [metric.key for metric in METRICS if metric.kind != "part"]
    keys += [f"{metric}/{part}" for part in part_names(categories) for metric in PART_METRICS]
    for key in keys:
        title = escape(metric_title(key))
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
            low, high = (
                metrics.get(f"{end}/{key}", math.nan) for end in (INTERVAL_LOW, INTERVAL_HIGH)
            )
            table.add_row(title, _figure(value), _range(low, high, ""))
    console.print(table)


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.4f}"


def _range(low: float, high: float, sign: str) -> str:
    return "" if math.isnan(low) else f"{low:{sign}.4f} to {high:{sign}.4f}"
