"""Runs the pipeline on this machine: from raw shapes to a blessed, pushed model.

`make run` calls this module; `tfx pipeline create --engine local` and `tfx run create --engine
local` load it as their pipeline file. TFX's command passes no arguments on, so every option can
also be given in the environment: POINTNET_CONFIG, POINTNET_DATA, POINTNET_CATEGORY, POINTNET_SPAN,
POINTNET_OUT.

Exit status: 0 blessed and pushed, 1 not blessed, 2 a config or data that cannot be used, 3 a
component failed, 130 interrupted.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

# Before anything imports TensorFlow: share the GPU with other processes, and keep its C++ start-up
# messages off the screen.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Google's clients warn of their coming Python versions at each import.
warnings.filterwarnings("ignore", category=FutureWarning)

import click
from rich.console import Console

from pipeline.beam_settings import CONVERSION, all_beam_args, beam_args
from pipeline.beam_workers import about_images, check_job_servers
from pipeline.config import PipelineConfig, load_config, preset_names, to_yaml, with_category
from pipeline.logs import logs_to_file
from pipeline.moved_output import follow_moved_output
from reports.conversion_summary import conversion_summary
from schema.errors import UserError
from schema.record import UNLABELLED

if TYPE_CHECKING:
    from pipeline.graph import Places
    from preprocessing.conversion.manifest import Manifest

NOT_BLESSED, CANNOT_START, FAILED, INTERRUPTED = 1, 2, 3, 130


@dataclass(frozen=True)
class OutputFolder:
    """The places below OUT; design of the folder, once."""

    root: Path

    @property
    def demo_shapes(self) -> Path:
        return self.root / "demo_shapes"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def spans(self) -> Path:
        return self.root / "spans"

    @property
    def artifacts(self) -> Path:
        return self.root / "pipeline" / "artifacts"

    @property
    def metadata(self) -> Path:
        return self.root / "pipeline" / "metadata.sqlite"

    @property
    def training_state(self) -> Path:
        return self.root / "pipeline" / "training_state"

    @property
    def log(self) -> Path:
        return self.root / "pipeline" / "run.log"

    @property
    def config(self) -> Path:
        return self.root / "pipeline" / "config.yaml"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    @property
    def data_report(self) -> Path:
        return self.root / "data_report.html"

    @property
    def models(self) -> Path:
        return self.root / "serving_model"

    @property
    def serving_config(self) -> Path:
        return self.root / "serving_config"

    def serving(self, name: str) -> Path:
        return self.models / name

    def versions(self, name: str) -> set[Path]:
        """The versions of the model that were pushed so far."""
        return set(self.serving(name).glob("*"))


@click.command(help=(__doc__ or "").split("\n", maxsplit=1)[0])
@click.option(
    "--config",
    envvar="POINTNET_CONFIG",
    default="demo",
    show_default=True,
    help=f"A preset ({', '.join(preset_names())}) or a YAML file.",
)
@click.option(
    "--data",
    envvar="POINTNET_DATA",
    default="",
    help="Labelled shapes: a folder or a zip. Left out, the demo preset makes shapes up.",
)
@click.option(
    "--category",
    envvar="POINTNET_CATEGORY",
    default="",
    help="A category of the data, or all; otherwise the config's.",
)
@click.option(
    "--span",
    envvar="POINTNET_SPAN",
    type=click.IntRange(0),
    help="Take the data as a new span with this number, and run on the window of the newest spans "
    "(spans.window). Without --data: the span that is there.",
)
@click.option(
    "--out",
    envvar="POINTNET_OUT",
    default="out",
    show_default=True,
    help="Folder for everything that the run writes.",
)
def main(config: str, data: str, category: str, span: int | None, out: str) -> None:
    """The command line; see the module."""
    console = Console(soft_wrap=True)
    try:
        status = run(config, data, category, Path(out or "out").absolute(), console, span)
    except UserError as error:
        console.print(f"[red]Cannot start:[/red] {_escaped(error)}", highlight=False)
        status = CANNOT_START
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on from the last finished step.")
        status = INTERRUPTED
    sys.exit(status)


def run(
    config_name: str,
    data: str,
    category: str,
    out: Path,
    console: Console,
    span: int | None = None,
) -> int:
    """Converts, runs the pipeline and prints the outcome.

    Args:
      config_name: a preset or a YAML file.
      data: folder or zip of labelled shapes; "" to make shapes up.
      category: instead of the config's; "" to keep that.
      out: folder for everything that is written.
      console: where a person reads.
      span: the number of the span that the data becomes, or that is there already where no data is
        given; None: the data is no span.

    Returns:
      The exit status, see the module.

    Raises:
      UserError: with a sentence that says what to do.
    """
    config = with_category(load_config(config_name or "demo"), category)
    folder = OutputFolder(out)
    try:
        return _run_checked(folder, config, config_name, data, span, console)
    except UserError as error:
        _notify(folder, config, console, "failed", (str(error),))
        raise


def _run_checked(
    folder: OutputFolder,
    config: PipelineConfig,
    config_name: str,
    data: str,
    span: int | None,
    console: Console,
) -> int:
    check_source(config, config_name, data, span)
    beam_options = all_beam_args(config.beam)
    check_job_servers(beam_options)
    if note := about_images(beam_options):
        console.print(note, markup=False, highlight=False)
    check_output(folder.root)
    try:
        folder.artifacts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "bad_config",
            f"cannot write to {folder.root}: {error.strerror}; give another folder with OUT=... "
            "(option --out)",
        ) from error
    with only_run(folder):
        console.rule(f"Config {config_name}")
        console.print(to_yaml(config), markup=False, highlight=False, end="")
        folder.config.write_text(to_yaml(config), "utf-8")
        if former := follow_moved_output(folder.metadata, folder.root):
            console.print(f"OUT was moved here from {former}.", markup=False, highlight=False)
        return _run_in(folder, config, data, span, console)


def _run_in(
    folder: OutputFolder, config: PipelineConfig, data: str, span: int | None, console: Console
) -> int:
    with logs_to_file(folder.log):
        if span is not None:
            manifest = _convert_span(folder, config, data, span, console)
            described = manifest.source
        else:
            manifest = _convert(folder, config, data, console)
            described = data or f"{folder.demo_shapes}, made up by a program, no real shapes"

        # TFX takes many seconds to import: not before the data was found sound.
        console.rule("Pipeline")
        console.print("Loading TensorFlow and TFX ...", highlight=False)
        from model.training.cuda import load_cuda_libraries

        load_cuda_libraries()
        from model.training.devices import training_device
        from pipeline.execution import PipelineFailed, execute
        from pipeline.graph import create_pipeline
        from pipeline.predictions import copy_predictions
        from pipeline.summary import (
            outcome_of_last_run,
            print_data_findings,
            print_outcome,
            print_trials,
        )

        _refuse_several_workers()
        console.print(f"Trains on {training_device()}.", highlight=False)
        versions = folder.versions(config.name)
        try:
            executed = execute(
                create_pipeline(config, _places(folder, config, manifest, described, span)), console
            )
        except PipelineFailed as error:
            console.print(f"[red]Stopped in {error.component}:[/red] {_escaped(error)}")
            if _copy_data_report(folder, config) is not None:
                console.print(f"What the data holds: {folder.data_report}", highlight=False)
            pushed = sorted(folder.versions(config.name) - versions)
            said = f"Pushed before that: {pushed[-1]}." if pushed else "Nothing was pushed."
            console.print(f"{said} The whole log: {folder.log}", highlight=False)
            _notify(folder, config, console, "failed", (str(error),), component=error.component)
            return FAILED
        if not executed:  # `tfx pipeline create` only wanted the graph
            return 0
        outcome = outcome_of_last_run(folder.metadata, config.pipeline_name)
        data_report = _copy_data_report(folder, config)
    if outcome.report is not None:
        shutil.copyfile(Path(outcome.report) / folder.report.name, folder.report)
    console.rule("Outcome")
    if data_report is not None:
        print_data_findings(data_report, console)
    if outcome.trials is not None:
        print_trials(outcome.trials, console)
    print_outcome(
        outcome, manifest.categories, folder.report, folder.data_report, folder.config, console
    )
    if outcome.predicted is not None:
        clouds, refused = copy_predictions(outcome.predicted, folder.predictions)
        console.print(
            f"parts of {clouds:,} unlabelled clouds: {folder.predictions}"
            if clouds or refused
            else "The unlabelled clouds got no parts: the model is not blessed.",
            highlight=False,
        )
        for shape_id, reason in refused.items():
            console.print(f"  no parts of {shape_id}: {reason}", markup=False, highlight=False)
    if outcome.blessed:
        return 0
    page = str(folder.report) if outcome.report is not None else ""
    _notify(
        folder,
        config,
        console,
        "not_blessed",
        outcome.reasons,
        baseline=outcome.against,
        report=page,
    )
    return NOT_BLESSED


def _refuse_several_workers() -> None:
    """Raises UserError where TF_CONFIG asks for what this runner does not do."""
    from model.training.workers import workers_of_environment
    from schema.errors import UserError

    try:
        workers = len(workers_of_environment())
    except UserError as error:
        raise UserError("bad_config", str(error)) from error
    if workers > 1:
        raise UserError(
            "bad_config",
            f"TF_CONFIG in the environment names {workers} workers, and a run on one machine "
            "trains there alone. Unset it; how several machines train: docs/training.md",
        )


def _notify(
    folder: OutputFolder,
    config: PipelineConfig,
    console: Console,
    event: Literal["not_blessed", "failed"],
    reasons: tuple[str, ...],
    **others: str,
) -> None:
    """Tells whom the config names, and on the screen where that failed."""
    if not config.notify.wanted:
        return
    from components.message import Message, send

    message = Message(event, config.pipeline_name, str(folder.root), reasons, **others)
    problems = send(message, config.notify)
    for problem in problems:
        console.print(f"[yellow]Not notified:[/yellow] {_escaped(problem)}", highlight=False)
    if not problems:
        console.print("Notified, as notify in the config says.", highlight=False)


def _copy_data_report(folder: OutputFolder, config: PipelineConfig) -> str | None:
    """Puts the latest run's page on the data where a person looks; returns where it was made."""
    from pipeline.summary import data_report_of_last_run

    made = data_report_of_last_run(folder.metadata, config.pipeline_name)
    if made is not None:
        shutil.copyfile(Path(made) / folder.data_report.name, folder.data_report)
    return made


def _convert(folder: OutputFolder, config: PipelineConfig, data: str, console: Console) -> Manifest:
    """The raw shapes as TFRecords; made-up ones where no data is given."""
    from preprocessing.conversion.convert import convert
    from preprocessing.datasets.base import chosen_categories
    from preprocessing.datasets.demo import DEMO_CATEGORIES, make_demo_shapes

    if not data:
        console.rule("Demo data: made-up shapes")
        chosen = chosen_categories(DEMO_CATEGORIES, config.data.category)
        make_demo_shapes(folder.demo_shapes, config.demo_shapes, chosen, seed=0)
        console.print(f"{folder.demo_shapes} (made up by a program, no real shapes)")
        data = str(folder.demo_shapes)
    console.rule("Conversion")
    manifest = convert(data, str(folder.data), config.data, beam_args(config.beam, CONVERSION))
    for line in conversion_summary(manifest):
        console.print(line, markup=False, highlight=False)
    return manifest


def _convert_span(
    folder: OutputFolder, config: PipelineConfig, data: str, span: int, console: Console
) -> Manifest:
    """The raw shapes as a span, and the data set of its window."""
    from preprocessing.conversion.spans import add_span

    console.rule(f"Conversion of span {span}")
    options = beam_args(config.beam, CONVERSION)
    manifest = add_span(data, folder.spans, span, config.spans.window, config.data, options)
    for line in (f"window: {manifest.source}", *conversion_summary(manifest)):
        console.print(line, markup=False, highlight=False)
    return manifest


def _docker(config: PipelineConfig) -> bool:
    """Whether Docker is there, as far as the config wants to know.

    Raises:
      UserError: it is not, and the config does not go without.
    """
    from serving.docker import docker_answers

    if config.infra_validation in ("probe", "none"):
        return False
    answers = docker_answers()
    if config.infra_validation == "docker" and not answers:
        raise UserError(
            "bad_config",
            "infra_validation is docker, and no Docker daemon answers here (`docker info` fails). "
            "Start it, or set infra_validation to auto or probe.",
        )
    return answers


def _places(
    folder: OutputFolder,
    config: PipelineConfig,
    manifest: Manifest,
    described: str,
    span: int | None,
) -> Places:
    from pipeline.graph import Places
    from preprocessing.conversion.spans import window_folder

    return Places(
        examples=str(folder.data if span is None else window_folder(folder.spans)),
        span=span,
        pipeline_root=str(folder.artifacts),
        serving=str(folder.serving(config.name)),
        metadata=str(folder.metadata),
        categories=manifest.categories,
        unlabelled=manifest.shapes(UNLABELLED),
        data=described,
        docker=_docker(config),
        training_state=str(folder.training_state),
    )


def check_output(out: Path) -> None:
    """Raises UserError if TFX would read the path as a pattern, which may match other folders."""
    if any(letter in str(out) for letter in "*?["):
        raise UserError(
            "bad_output",
            f"OUT is {out}; TFX reads the characters * ? [ in paths as patterns. Give a folder "
            "without them (option --out).",
        )


def check_source(
    config: PipelineConfig, config_name: str, data: str, span: int | None = None
) -> None:
    """Looks whether there is anything to read.

    Raises:
      UserError: no data given and none to be made up, or the path does not exist.
    """
    if data and not Path(data).exists():
        raise UserError(
            "bad_config",
            f"DATA is {data!r}, and there is no such folder or file (from {Path.cwd()}); give the "
            "folder or the zip that holds the labelled shapes",
        )
    if not data and config.demo_shapes == 0 and span is None:
        raise UserError(
            "bad_config",
            f"config {config_name!r} needs data: give DATA=<folder or zip of labelled shapes> "
            "(option --data), or take CONFIG=demo, which makes shapes up",
        )


@contextmanager
def only_run(folder: OutputFolder) -> Iterator[None]:
    """Holds the folder for one run at a time.

    Raises:
      UserError: another run is working in it.
    """
    with (folder.root / "pipeline" / "running.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                "bad_config",
                f"another run is working in {folder.root}; wait for it, or give another folder "
                "with OUT=... (option --out)",
            ) from error
        yield


def _escaped(error: Exception | str) -> str:
    return str(error).replace("[", r"\[")


if __name__ == "__main__":
    main()
