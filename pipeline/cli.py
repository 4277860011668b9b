"""The command `pointnet-parts`: it only wires. Each subcommand's work stands in its own room.

What a subcommand needs is imported when it is called, so that `--help` starts without TensorFlow.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pipeline import local_runner
from pipeline.cluster_settings import PLATFORMS
from pipeline.command_line import PROGRAM
from serving.batches import MOST_CLOUDS

# What segment does not heed with --model.
_FOR_A_SERVER = ("rest", "certificate", "name", "label", "parts", "timeout")


class _Command(click.Group):
    """Turns what ends a command into one sentence: errors meant for the user, and Ctrl-C."""

    def invoke(self, context: click.Context) -> object:
        from schema.errors import UserError

        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"{PROGRAM}: {error}", err=True)
            sys.exit(local_runner.CANNOT_START)
        except (KeyboardInterrupt, click.Abort):
            click.echo(f"\n{PROGRAM}: interrupted", err=True)
            sys.exit(local_runner.INTERRUPTED)


class _Download(click.Command):
    """The download command; its help lists the data sets."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from preprocessing.download import read_sources

        with formatter.section("Data sets"):
            formatter.write_dl([(name, source.what) for name, source in read_sources().items()])


class _Version(click.ParamType):
    """The number of a pushed version."""

    name = "version"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int:
        text = str(value)
        if not (text.isascii() and text.isdecimal() and int(text)):
            self.fail(
                f"{text!r} is no version; a version is a number, the name of its folder in "
                "OUT/serving_model/<name>, such as 1764093600. Give one of those.",
                parameter,
                context,
            )
        return int(text)


_VERSION = _Version()


@click.group(cls=_Command)
def main() -> None:
    """PointNet part segmentation: from raw labelled point clouds to a served model."""
    from model.training.cuda import load_cuda_libraries

    load_cuda_libraries()


main.add_command(local_runner.main, "run")


@main.command("demo-data")
@click.argument("folder")
@click.option("--shapes", default=100, show_default=True, help="Shapes of each category.")
@click.option("--category", multiple=True, help="A category; again for another. Default: all five.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other shapes.")
def demo_data(folder: str, shapes: int, category: tuple[str, ...], seed: int) -> None:
    """Make labelled shapes up and write them to FOLDER in the PartAnnotation layout."""
    from preprocessing.datasets.demo import make_demo_shapes

    click.echo(f"made-up shapes: {make_demo_shapes(folder, shapes, category or None, seed)}")


@main.command(cls=_Download)
@click.argument("folder", default=".")
@click.option(
    "--dataset",
    default="part_annotation",
    show_default=True,
    help="A data set of the list below.",
)
@click.option("--url", multiple=True, help="An address of your own, tried first; may be repeated.")
@click.option("--sha256", help="The checksum that the archive must have.")
def download(folder: str, dataset: str, url: tuple[str, ...], sha256: str | None) -> None:
    """Download annotated shapes to FOLDER (default: the current folder).

    Exit status: 0 downloaded, or already there; 2 no address gave it; 130 interrupted.
    """
    from preprocessing.download import download as download_data_set

    click.echo(download_data_set(folder, dataset, url, sha256))


@main.command()
@click.argument("source")
@click.argument("output")
@click.option("--config", help="A preset or a YAML file; the default settings without it.")
@click.option("--category", default="", help="A category of the data, or all.")
@click.option(
    "--span",
    type=click.IntRange(0),
    help="Add SOURCE to the spans in OUTPUT under this number; see below.",
)
@click.argument("beam_args", nargs=-1, type=click.UNPROCESSED)
def convert(
    source: str,
    output: str,
    config: str | None,
    category: str,
    span: int | None,
    beam_args: tuple[str, ...],
) -> None:
    """Convert raw shapes in SOURCE (folder or zip) to TFRecords in OUTPUT.

    It writes OUTPUT/<version>/train, val and test (and unlabelled) with .tfrecord.gz files of
    tf.Examples, and OUTPUT/manifest.json with counts, hashes and the problems of SOURCE. OUTPUT
    must be absent, empty, or the output of an earlier conversion.

    With --span N, for data that grows: SOURCE becomes OUTPUT/span-N, and OUTPUT/window/span-N is
    the data set of it and the newest spans before it (spans.window of the config). A span is never
    replaced.

    BEAM_ARGS, after `--`, are Beam's: its runner and that runner's options. For example:

    \b
      pointnet-parts convert shapes.zip data --category Airplane
      pointnet-parts convert shapes data -- --direct_num_workers=4
        --direct_running_mode=multi_processing

    Exit status: 0 converted, or up to date; 2 the source or the config cannot be used; 130
    interrupted.
    """  # noqa: D301 - the \b is for click: it leaves the example's lines as they are
    from pipeline.beam_settings import CONVERSION
    from pipeline.beam_settings import beam_args as options_of
    from pipeline.beam_workers import about_images, check_job_servers
    from pipeline.config import PipelineConfig, load_config, with_category

    settings = with_category(load_config(config) if config else PipelineConfig(), category)
    options = beam_args or options_of(settings.beam, CONVERSION)
    check_job_servers(options)
    if note := about_images(options):
        click.echo(note, err=True)
    from preprocessing.conversion.convert import convert as convert_shapes
    from reports.conversion_summary import conversion_summary

    if span is None:
        manifest = convert_shapes(source, output, settings.data, options)
    else:
        from preprocessing.conversion.spans import add_span, span_name, window_folder

        manifest = add_span(source, output, span, settings.spans.window, settings.data, options)
        output = str(window_folder(output) / span_name(span))
    for line in conversion_summary(manifest):
        click.echo(f"{output}: {line}")


@main.command()
@click.argument("source")
@click.option("--config", default="all", show_default=True, help="A preset or a YAML file.")
@click.option("--category", default="", help="A category of the data, or all.")
@click.option("--output", default="inspect.html", show_default=True, help="The page to write.")
@click.option("--no-page", is_flag=True, help="Only the tables, no page.")
@click.option(
    "--clouds",
    type=click.IntRange(0),
    default=4,
    show_default=True,
    help="Pictures of each category.",
)
@click.option("--limit", type=click.IntRange(1), help="Read so many shapes, evenly spread.")
def inspect(
    source: str,
    config: str,
    category: str,
    output: str,
    no_page: bool,
    clouds: int,
    limit: int | None,
) -> None:
    """Show what SOURCE has: tables here, and a page of pictures.

    SOURCE is a data set of raw shapes (folder or zip), a folder that convert wrote, one
    .tfrecord.gz file, such as a log of requests, or the folder of a pipeline's Examples.

    Exit status: 0; 2 if it cannot be used.
    """
    from rich.console import Console

    from pipeline.config import load_config, with_category
    from reports.inspection.page import page_file, write_page
    from reports.inspection.sources import open_source
    from reports.inspection.survey import take_survey
    from reports.inspection.terminal import print_survey
    from schema.errors import UserError

    settings = with_category(load_config(config), category)
    page = None if no_page else page_file(output)
    opened = open_source(source, settings.data)
    survey = take_survey(opened, settings.validation, 0 if no_page else clouds, limit)
    print_survey(survey, Console(), page is not None)
    if page is not None:
        write_page(survey, page)
        click.echo(f"page: {page}")
    if not survey.read:
        raise UserError("no_clouds", f"{source} has no cloud that can be read.")


_SPLIT = click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="test",
    show_default=True,
    help="Which clouds; raw shapes are dealt to splits as a run deals them.",
)
_DATA_CONFIG = "How raw DATA is read and split: a preset or a YAML file."


@main.command()
@click.argument("model")
@click.argument("data")
@click.option("--output", default="evaluation", show_default=True, help="The folder to write.")
@_SPLIT
@click.option("--config", help=f"{_DATA_CONFIG} The model is then held against its bounds.")
def evaluate(model: str, data: str, output: str, split: str, config: str | None) -> None:
    """Measure an exported MODEL on labelled DATA, outside a pipeline.

    MODEL is a SavedModel's folder, or one of numbered versions. DATA is whatever inspect reads: raw
    shapes, a converted data set, a .tfrecord.gz file, a pipeline's Examples. Numbers come here and
    into OUTPUT/metrics.json, the page is OUTPUT/report.html.

    Exit status: 0; 1 where a bound of --config is missed; 2 where MODEL or DATA cannot be used.
    """
    _evaluate(model, data, output, split, config, "")


@main.command()
@click.argument("first")
@click.argument("second")
@click.argument("data")
@click.option("--output", default="comparison", show_default=True, help="The folder to write.")
@_SPLIT
@click.option("--config", help=f"{_DATA_CONFIG} SECOND is then held against its bounds.")
def compare(
    first: str, second: str, data: str, output: str, split: str, config: str | None
) -> None:
    """Measure the model SECOND beside the model FIRST on the same labelled DATA.

    The differences are SECOND less FIRST, each headline's with its 95 % bootstrap interval. For the
    rest see evaluate.
    """
    _evaluate(second, data, output, split, config, first)


def _evaluate(
    model: str, data: str, output: str, split: str, config: str | None, baseline: str
) -> None:
    from rich.console import Console

    from pipeline.config import load_config
    from pipeline.evaluation_inputs import open_inputs

    settings = load_config(config or "all")
    inputs = open_inputs(model, data, Path(output), settings, split, baseline)
    console = Console()
    console.print("Loading TensorFlow and TFMA ...", highlight=False)
    from pipeline.evaluation import evaluate_model

    verdict = evaluate_model(inputs, settings, config is not None, console)
    for reason in verdict.reasons if config else ():
        console.print(f"  {reason}", markup=False, highlight=False)
    sys.exit(1 if config and not verdict.blessed else 0)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
def train(run: Path, output: Path) -> None:
    """Train what the last run in RUN trained, outside the pipeline, and export it to OUTPUT.

    RUN is the OUT of a run: its data, its recipe. For training on several machines: each starts
    this command with its own task in the environment variable TF_CONFIG, see docs/training.md; RUN
    and OUTPUT are on a disk that all of them see. The model is not evaluated or pushed; see
    evaluate.

    Exit status: 0; 2 where RUN or OUTPUT cannot be used; 3 where training failed or a machine was
    lost: the same command goes on from the last checkpoint.
    """
    click.echo("Loading TensorFlow and TFX ...")
    from pipeline.standalone_training import train_alone
    from schema.errors import UserError

    try:
        click.echo(f"model: {train_alone(run.absolute(), output.absolute())}")
    except UserError as error:
        if error.code != "cannot_train":
            raise
        click.echo(f"{PROGRAM}: {error}", err=True)
        sys.exit(local_runner.FAILED)


@main.command()
@click.argument("folder")
@click.option("--version", type=_VERSION, help="Which one; default: the newest.")
@click.option(
    "--output", default="", help="The model config that labels wrote; default: that of serve."
)
def withdraw(folder: str, version: int | None, output: str) -> None:
    """Take a pushed version back: servers go on with the newest that is left.

    FOLDER is the serving folder with the numbered versions, OUT/serving_model/<name>. The version
    stays there as withdrawn-<version>; rename it back to serve it again. A version that the model
    config names is not taken back before labels has changed that.

    Exit status: 0; 2 where there is no such version, or no other one to serve, or the model config
    names it.
    """
    from pipeline.withdraw import withdraw_version

    click.echo(withdraw_version(folder, version, output))


_MANIFEST = click.option(
    "--manifest",
    default="",
    metavar="FILE",
    help="manifest.json of the converted data set, a copy here; without one the parts are "
    "ShapeNet's.",
)
_SPECS = click.option("--output", default="out/specs", show_default=True, help="Folder to write.")


@main.command("compile")
@click.option("--config", default="cluster_example", show_default=True, help="A YAML file.")
@_MANIFEST
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    type=click.Choice(PLATFORMS),
    help="For which; again for both. Default: those that the config has a root for.",
)
@_SPECS
def compile_command(config: str, manifest: str, platforms: tuple[str, ...], output: str) -> None:
    """Compile the pipeline for Vertex AI (vertex.json) and Kubeflow (kubeflow.yaml).

    Nothing is sent anywhere; see submit. The default config has made-up names.

    Exit status: 0; 2 where the config cannot be used.
    """
    import os

    from pipeline.cluster_checks import assumptions
    from pipeline.config import load_config
    from pipeline.logs import logs_to_file
    from pipeline.specs import check_specs, compile_specs

    settings = load_config(config)
    with logs_to_file(Path(os.devnull)):
        check_specs(settings, manifest, platforms)
    for line in assumptions(settings, manifest):
        click.echo(line, err=True)
    click.echo("Loading TensorFlow and TFX ...", err=True)
    with logs_to_file(Path(os.devnull)):
        for file in compile_specs(settings, manifest, platforms, Path(output)):
            click.echo(file)


@main.command()
@click.argument("platform", type=click.Choice(PLATFORMS))
@click.option("--config", required=True, help="A YAML file that says where; see compile.")
@_MANIFEST
@click.option("--data", default="", metavar="gs://...", help="Another data set than the config's.")
@click.option(
    "--steps", type=click.IntRange(1), help="Train so many steps, rounded up to whole epochs."
)
@click.option("--schedule", default="", metavar="CRON", help="Run again and again, not now.")
@click.option("--wait", is_flag=True, help="Come back when the run has ended.")
@_SPECS
def submit(
    platform: str,
    config: str,
    manifest: str,
    data: str,
    steps: int | None,
    schedule: str,
    wait: bool,
    output: str,
) -> None:
    """Compile the pipeline and run it on PLATFORM, now or by a schedule.

    \b
      pointnet-parts submit vertex --config mine.yaml --wait
      pointnet-parts submit vertex --config mine.yaml --data gs://bucket/data-2 --steps 5000
      pointnet-parts submit vertex --config mine.yaml --schedule "0 3 * * 1"
      pointnet-parts submit kubeflow --config mine.yaml --schedule "0 0 3 * * 1"

    Kubeflow's cron has a field for seconds before the others.

    Exit status: 0; 2 where the config cannot be used, the platform refuses, or with --wait the run
    failed.
    """  # noqa: D301 - the \b is for click: it leaves the examples' lines as they are
    import os

    from pipeline.cluster_checks import assumptions
    from pipeline.config import load_config
    from pipeline.logs import logs_to_file
    from pipeline.specs import check_specs, compile_specs
    from pipeline.submission import SUBMITTERS, Submission, check_credentials, run_parameters
    from pipeline.submission_checks import check_buckets, check_submission

    settings = load_config(config)
    parameters = run_parameters(data, steps)
    check_submission(settings, platform, schedule, wait)
    with logs_to_file(Path(os.devnull)):
        check_specs(settings, manifest, [platform])
        check_credentials(settings, platform)
        cluster = getattr(settings, platform)
        places = {"--data": data} if data else {f"{platform}.data": cluster.data}
        if platform == "kubeflow":  # submit_to_vertex looks for Vertex AI's root itself
            places["kubeflow.root"] = cluster.root
        check_buckets(places)
    for line in assumptions(settings, manifest):
        click.echo(line, err=True)
    click.echo("Loading TensorFlow and TFX ...", err=True)
    with logs_to_file(Path(os.devnull)):
        (spec,) = compile_specs(settings, manifest, [platform], Path(output))
    click.echo(spec)
    SUBMITTERS[platform](Submission(settings, spec, parameters, schedule, wait), click.echo)


@main.command()
@click.option("--out", default="out", show_default=True, help="The folder that a run wrote.")
@click.option("--gpu", is_flag=True, help="Use an NVIDIA GPU (with Docker).")
@click.option("--grpc-port", type=click.IntRange(1, 65535), default=8500, show_default=True)
@click.option("--rest-port", type=click.IntRange(1, 65535), default=8501, show_default=True)
@click.option(
    "--wait",
    type=click.FloatRange(0, min_open=True),
    default=180.0,
    show_default=True,
    help="Seconds until the model has to be available.",
)
def serve(out: str, gpu: bool, grpc_port: int, rest_port: int, wait: float) -> None:
    """Start TensorFlow Serving on what was pushed under OUT, and say how to ask it.

    With tensorflow_model_server where it is on PATH, until Ctrl-C; otherwise with Docker, for this
    machine alone, until it is stopped as the last line says. New versions are served as they are
    pushed. OUT/serving_config holds what it is served with; what you change there stays.

    Exit status: 0 it serves; 2 it does not, with the reason.
    """
    from pipeline.serve import serve as start

    start(Path(out).absolute(), gpu, grpc_port, rest_port, wait)


@main.command()
@click.argument("folder")
@click.option("--stable", type=_VERSION, help="The version with the label stable.")
@click.option("--canary", type=_VERSION, help="The version with the label canary.")
@click.option(
    "--also",
    type=_VERSION,
    multiple=True,
    help="A version to have loaded; again for more.",
)
@click.option("--output", default="", help="The model config; default: that of serve.")
def labels(
    folder: str,
    stable: int | None,
    canary: int | None,
    also: tuple[int, ...],
    output: str,
) -> None:
    """Say which versions a server has, and which of them is stable and which canary.

    FOLDER is the serving folder with the numbered versions, OUT/serving_model/<name>. What is
    written is the model config that a server started by serve looks at every 30 seconds. With
    neither a label nor --also the newest version is served, as in the beginning.

    \b
      pointnet-parts labels out/serving_model/pointnet_parts --stable 8 --canary 9
      pointnet-parts labels out/serving_model/pointnet_parts --stable 9 --also 8
      pointnet-parts labels out/serving_model/pointnet_parts --stable 9
      pointnet-parts labels out/serving_model/pointnet_parts

    Exit status: 0; 2 where there is no such version, or a server would refuse the change.
    """  # noqa: D301 - the \b is for click: it leaves the examples' lines as they are
    from pipeline.labels import label_versions

    named = {"stable": stable, "canary": canary}
    chosen = {label: version for label, version in named.items() if version is not None}
    for line in label_versions(folder, chosen, also, output):
        click.echo(line)


@main.command()
@click.argument("log")
@click.argument("data")
@click.option("--config", default="airplane", show_default=True, help="Its validation.skew counts.")
def skew(log: str, data: str, config: str) -> None:
    """Compare the clouds that a server was asked for with those that trained its model.

    LOG is a file that segment --log-requests wrote (or a pattern of several, in quotes), DATA a
    converted data set, such as OUT/data. What is compared are raw coordinates and, where known,
    categories, by TFDV, with the limits of the config's validation.skew.

    Exit status: 0 alike; 1 beyond a limit; 2 where LOG or DATA cannot be read.
    """
    from pipeline.config import load_config
    from pipeline.skew import compare_log

    lines, alike = compare_log(log, data, load_config(config).validation.skew)
    for line in lines:
        click.echo(line)
    sys.exit(0 if alike else 1)


def _formats(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """The formats asked for, each once; they come one an option, or several with commas."""
    from pipeline.segment import FORMATS

    formats = tuple(dict.fromkeys(form for words in given for form in words.split(",")))
    for form in formats:
        if form not in FORMATS:
            raise click.BadParameter(f"{form!r} is none of {', '.join(FORMATS)}.")
    return formats


@main.command()
@click.argument("clouds", nargs=-1, required=True, metavar="CLOUD...")
@click.option("--model", metavar="FOLDER", help="An exported model, loaded here.")
@click.option("--server", metavar="HOST:PORT", help="A TensorFlow Serving server, asked by gRPC.")
@click.option("--rest", is_flag=True, help="Ask the server by REST; PORT is then that of REST.")
@click.option(
    "--certificate",
    metavar="FILE",
    help="Ask by TLS, and believe the server by this PEM file; https:// before HOST: by the "
    "authorities known here.",
)
@click.option(
    "--name", default="pointnet_parts", show_default=True, help="The server's name of the model."
)
@click.option(
    "--version",
    type=_VERSION,
    help="Which version: of the server's, default its choice; of those in FOLDER, default the "
    "last.",
)
@click.option("--label", default="", help="The server's label of a version, such as stable.")
@click.option("--parts", default="", help="The parts.json of the server's model; else numbers.")
@click.option("--category", default="", help="What the clouds are; for a model of several.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=("ply", "csv"),
    show_default=True,
    callback=_formats,
    metavar="FORMAT",
    help="seg, csv, npz, ply, png or html; again, or with commas, for more.",
)
@click.option("--output", default="segmented", show_default=True, help="The folder to write.")
@click.option(
    "--batch-points",
    type=click.IntRange(1),
    default=65_536,
    show_default=True,
    help="Points of a request, padding included; a larger cloud goes alone.",
)
@click.option(
    "--batch-clouds",
    type=click.IntRange(1),
    default=MOST_CLOUDS,
    show_default=True,
    help="Clouds of a request; no more than the server's max_batch_size.",
)
@click.option(
    "--mesh-points",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    help="Points drawn from the faces of a mesh.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that a server may take to answer.",
)
@click.option(
    "--log-requests", metavar="FILE", help="Keep the answered clouds as records; see skew."
)
@click.option(
    "--log-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="The share of them that is kept.",
)
def segment(
    clouds: tuple[str, ...],
    model: str | None,
    server: str | None,
    rest: bool,
    certificate: str | None,
    name: str,
    version: int | None,
    label: str,
    parts: str,
    category: str,
    formats: tuple[str, ...],
    output: str,
    batch_points: int,
    batch_clouds: int,
    mesh_points: int,
    timeout: float,
    log_requests: str | None,
    log_share: float,
) -> None:
    """Name the part of every point of your own clouds, by a model or by a server that has one.

    CLOUD is a file (.ply .npy .npz .pts .csv .txt .xyz, or a mesh: .off .obj), a folder of such
    files, or - for lines of x y z on standard input. Labels in them are not looked at.

    \b
      pointnet-parts segment plane.pts --model out/serving_model/pointnet_parts
      pointnet-parts segment scans/ chair.obj --model models/all --category Chair
      pointnet-parts segment scans/ --model models/planes --format ply,html --output named
      pointnet-parts segment plane.ply --server localhost:8500
        --parts out/serving_model/pointnet_parts/1/assets/parts.json
      pointnet-parts segment plane.ply --server localhost:8501 --rest --format seg
      my-scanner | pointnet-parts segment - --model models/planes

    \b
    Written for each cloud, every point in its order:
      ply   x y z, the part's colour, the part as a number
      csv   x, y, z, part, part_name, probability
      seg   the part as a number a line; -1: no answer
      npz   NumPy: points, part, probability of every class, part_names, category
      png   a picture
      html  one page of all clouds, which turn when dragged: OUTPUT/segmented.html

    OUTPUT/clouds.tsv lists the clouds with the mean probability of their parts: look at the least
    sure first. Of what stands in OUTPUT only files that this command made are replaced.

    Exit status: 0 all clouds done; 1 some failed, each with its reason; 2 nothing could be done;
    130 interrupted.
    """  # noqa: D301 - the \b is for click: it leaves the examples' lines as they are
    from pipeline.request_log import RequestLog
    from pipeline.segment import load_model, reach_server, segment_clouds
    from serving.server_address import check_address

    if (model is None) == (server is None):
        raise click.UsageError("give either --model FOLDER or --server HOST:PORT.")
    if version is not None and label:
        raise click.UsageError("give either --version or --label.")
    source = click.get_current_context().get_parameter_source
    if model is not None and any(
        source(option) is ParameterSource.COMMANDLINE for option in _FOR_A_SERVER
    ):
        *all_but_last, last = (f"--{option}" for option in _FOR_A_SERVER)
        raise click.UsageError(f"{', '.join(all_but_last)} and {last} are for --server.")
    if model is not None:
        click.echo("Loading TensorFlow and the model ...", err=True)
        asked = load_model(model, category, version)
    else:
        check_address(str(server), rest)
        from serving.grpc_client import GrpcClient
        from serving.rest_client import RestClient

        roots = None if certificate is None else Path(certificate).expanduser()
        client = (RestClient if rest else GrpcClient)(
            str(server),
            name,
            version,
            timeout,
            label=label,
            certificate=roots,
            tell=lambda line: click.echo(f"{PROGRAM}: {line}", err=True),
        )
        asked = reach_server(client, str(server), parts, category)
    log = None
    if log_requests is not None:
        named = asked.category.name if asked.classes and asked.category else ""
        log = RequestLog(Path(log_requests).expanduser(), log_share, named)
    status = segment_clouds(
        clouds, asked, formats, Path(output), batch_points, batch_clouds, mesh_points, log
    )
    sys.exit(status)


@main.command()
@click.argument("name", default="")
def config(name: str) -> None:
    """Print every key of the config; with NAME, that preset or YAML file, defaults filled in.

    The keys come as text for people on a terminal, as a Markdown table elsewhere.
    """
    from pipeline.config import describe_fields, fields_for_terminal, load_config, to_yaml

    if name:
        click.echo(to_yaml(load_config(name)), nl=False)
    elif sys.stdout.isatty():
        click.echo(fields_for_terminal(shutil.get_terminal_size().columns))
    else:
        click.echo(describe_fields())


if __name__ == "__main__":
    main(prog_name=PROGRAM)
