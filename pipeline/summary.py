"""What a person reads at the end of a run: the per-part table, the verdict, where things are."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from components.artifacts import PredictedPartsFiles
from components.data_report import FINDINGS_FILE
from components.evaluator.metrics import ALL_CLOUDS, BASELINE, CANDIDATE, metrics_by_slice
from components.evaluator.verdict import read_verdict
from components.model_server_probe import read_reasons
from schema.categories import Category, part_names
from serving.versions import GRAPH_FILE, WITHDRAWN

_MOST_TRIALS = 5


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      blessed: whether the model is blessed and its pushed version exists.
      headline: the verdict in a few words.
      reasons: why it is not blessed, or not served, in sentences.
      against: what it was compared with, or why with nothing.
      metrics: value by key, see model/measurements.py.
      baseline: the same of the model it was compared with; empty on a first run.
      pushed: the version's folder, None if nothing was pushed.
      evaluation: the Evaluator's output folder.
      report: the page's file, None if the run made none.
      trials: the folder with the Tuner's results, None if it did not search.
      predicted: the folder with the parts of unlabelled clouds, None if the run predicted none.
    """

    blessed: bool
    headline: str
    reasons: tuple[str, ...]
    against: str
    metrics: dict[str, float]
    baseline: dict[str, float]
    pushed: str | None
    evaluation: str
    report: str | None
    trials: str | None = None
    predicted: str | None = None


def data_report_of_last_run(metadata_file: Path, pipeline_name: str) -> str | None:
    """The folder that holds the latest run's page on the data; None if the run made none.

    Args:
      metadata_file: the SQLite file.
      pipeline_name: whose runs.
    """
    connection = metadata.sqlite_metadata_connection_config(str(metadata_file))
    with metadata.Metadata(connection) as handle:
        report = _artifacts_of_last_run(handle.store, pipeline_name).get("pointnet.DataReport")
    return report.uri if report is not None else None


def outcome_of_last_run(metadata_file: Path, pipeline_name: str) -> Outcome:
    """Reads the latest run's outcome from ML Metadata and the Evaluator's files.

    Args:
      metadata_file: the SQLite file.
      pipeline_name: whose runs.

    Raises:
      LookupError: the latest run has no evaluation.
    """
    connection = metadata.sqlite_metadata_connection_config(str(metadata_file))
    with metadata.Metadata(connection) as handle:
        artifacts = _artifacts_of_last_run(handle.store, pipeline_name)
    evaluation = artifacts.get(standard_artifacts.ModelEvaluation.TYPE_NAME)
    if evaluation is None:
        raise LookupError(f"the latest run of {pipeline_name} in {metadata_file} has no evaluation")
    pushed = artifacts.get(standard_artifacts.PushedModel.TYPE_NAME)
    version, lost = pushed_version(pushed) if pushed is not None else (None, "")
    verdict = read_verdict(evaluation.uri)

    def folder(type_name: str) -> str | None:
        return artifacts[type_name].uri if type_name in artifacts else None

    return Outcome(
        blessed=verdict.blessed and version is not None,
        headline=verdict.headline,
        reasons=(*verdict.reasons, *_servers_reasons(artifacts), *([lost] if lost else ())),
        against=verdict.baseline,
        metrics=metrics_by_slice(evaluation.uri, CANDIDATE).get(ALL_CLOUDS, {}),
        baseline=metrics_by_slice(evaluation.uri, BASELINE).get(ALL_CLOUDS, {}),
        pushed=version,
        evaluation=evaluation.uri,
        report=folder("pointnet.SegmentationReport"),
        trials=folder(standard_artifacts.TunerResults.TYPE_NAME),
        predicted=folder(PredictedPartsFiles.TYPE_NAME),
    )


def pushed_version(pushed: Any) -> tuple[str | None, str]:
    """The pushed version's folder, and why there is none although it was pushed.

    A cached Pusher does not see that its version is gone. A removed one is put back from the
    artifact's copy; a withdrawn one is not.
    """
    if pushed.custom_properties["pushed"].int_value != 1:
        return None, ""
    version = Path(pushed.custom_properties["pushed_destination"].string_value)
    if (version / GRAPH_FILE).is_file():
        return str(version), ""
    withdrawn = version.with_name(f"{WITHDRAWN}{version.name}")
    if withdrawn.exists():
        return None, f"the pushed version was withdrawn; rename {withdrawn} back to serve it"
    if not Path(pushed.uri, GRAPH_FILE).is_file():
        return None, f"the pushed version {version} is missing, and so is its copy {pushed.uri}"
    partial = version.with_name(f".partial-{version.name}")
    for folder in (partial, version):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pushed.uri, partial)
    partial.rename(version)
    return str(version), ""


def _servers_reasons(artifacts: dict[str, Any]) -> list[str]:
    """Why a server would not answer with the model; none where it would, or was not asked."""
    infra = artifacts.get(standard_artifacts.InfraBlessing.TYPE_NAME)
    if infra is None or infra.custom_properties["blessed"].int_value == 1:
        return []
    reasons = read_reasons(infra.uri) or [f"see the log, and what lies in {infra.uri}"]
    return [f"a model server would not answer: {reason}" for reason in reasons]


def _artifacts_of_last_run(store: Any, pipeline_name: str) -> dict[str, Any]:
    """The newest run's artifacts by type name."""
    runs = [
        context
        for context in store.get_contexts_by_type("pipeline_run")
        if pipeline_name in {p.name for p in store.get_parent_contexts_by_context(context.id)}
    ]
    newest = max(runs, key=lambda context: context.id, default=None)
    if newest is None:
        return {}
    types = {kind.id: kind.name for kind in store.get_artifact_types()}
    artifacts = sorted(store.get_artifacts_by_context(newest.id), key=lambda found: found.id)
    return {types[artifact.type_id]: artifact for artifact in artifacts}


def print_data_findings(data_report: str, console: Console) -> None:
    """Prints what is unusual about the data; nothing where nothing is.

    Args:
      data_report: the folder that holds the page on the data.
      console: where to.
    """
    findings = json.loads((Path(data_report) / FINDINGS_FILE).read_text("utf-8"))
    if not any(findings.values()):
        return
    numbers = ", ".join(f"{kind} {len(sentences)}" for kind, sentences in findings.items())
    console.print(f"[yellow]The data is unusual[/yellow] ({numbers}):", highlight=False)
    for sentences in findings.values():
        for sentence in sentences:
            console.print(f"  {sentence}", markup=False, highlight=False)


def print_trials(trials: str, console: Console) -> None:
    """Prints the best of what the Tuner tried, and where the rest is.

    Args:
      trials: the folder with the Tuner's results.
      console: where to.
    """
    file = Path(trials) / "tuner_results.json"
    found = json.loads(file.read_text("utf-8"))
    rows = found[:_MOST_TRIALS]
    title = f"The Tuner's trials, the best {len(rows)} of {len(found)}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for place in range(len(rows)):
        table.add_column("best, trained in full" if place == 0 else str(place + 1), justify="right")
    names = {"trial_id": "trial", "score": "val instance mIoU"}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        table.add_row(
            names.get(name, name),
            *(value if isinstance(value, str) else f"{value:.4g}" for value in values),
        )
    console.print(table)
    console.print(f"All trials: {file}", markup=False, highlight=False)


def print_outcome(
    outcome: Outcome,
    categories: tuple[Category, ...],
    report: Path,
    data_report: Path,
    config: Path,
    console: Console,
) -> None:
    """Prints the last lines of a run.

    Args:
      outcome: what to print.
      categories: the model's categories.
      report: the page for a person.
      data_report: the page on the data.
      config: the config that the run stored.
      console: where to.
    """
    metrics, baseline = outcome.metrics, outcome.baseline
    table = Table(title="All points of the test clouds, by part", title_justify="left")
    columns = ["part", "points", "accuracy", "IoU"]
    if baseline:
        columns.append("IoU of the blessed model")
    for column in columns:
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in part_names(categories):
        points = metrics[f"part_points/{part}"]
        row = [
            escape(part),
            f"{points:,.0f}",
            _figure(metrics[f"part_accuracy/{part}"]),
            _figure(metrics[f"part_iou/{part}"]),
        ]
        if baseline:
            row.append(_figure(baseline.get(f"part_iou/{part}", math.nan)))
        table.add_row(*row)
    console.print(table)
    console.print(
        f"point accuracy {_figure(metrics['point_accuracy'])}, "
        f"instance mIoU {_figure(metrics['instance_miou'])} (a part absent from shape and answer "
        f"counts 1), over present parts only "
        f"{_figure(metrics['instance_miou_of_present_parts'])}; {metrics['clouds']:.0f} clouds",
        highlight=False,
    )
    low, high = (metrics[f"interval_{end}/instance_miou"] for end in ("low", "high"))
    if not math.isnan(low):
        console.print(
            f"on other clouds of this sort the instance mIoU lies between {_figure(low)} and "
            f"{_figure(high)} (95 % bootstrap interval)",
            highlight=False,
        )
    if outcome.blessed:
        console.print(
            f"[green]{outcome.headline}[/green] and pushed: no bound is missed "
            f"({escape(outcome.against)}).",
            highlight=False,
        )
    else:
        console.print(f"[red]{outcome.headline}[/red], not pushed:", highlight=False)
        for reason in outcome.reasons:
            console.print(f"  {reason}", markup=False, highlight=False)
    if outcome.pushed is not None:
        following = "make run CONFIG=airplane DATA=<folder or zip of labelled shapes> OUT=<folder>"
    else:
        following = f"cp {config} mine.yaml, edit it, and make run CONFIG=mine.yaml ..."
    rows = [
        ("model", outcome.pushed),
        ("report", report),
        ("data report", data_report),
        ("evaluation", outcome.evaluation),
        ("next", following),
    ]
    for name, place in rows:
        if place is not None:
            console.print(f"{name + ':':<13}{place}", markup=False, highlight=False)


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
