"""Where the Beam work runs: settings in the config's terms, and Beam's own options made of them.

Beam's work is the conversion and the components in `BEAM_WORK`. All of it runs where `beam.runner`
says; `beam.components` sends some of it elsewhere. docs/beam.md says what to choose.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from annotated_types import Ge
from pydantic import Field

from preprocessing.conversion.beam_options import IN_PROCESS
from schema.errors import UserError
from schema.settings import Settings

Runner = Literal["direct", "flink", "dataflow", "spark"]
RUNNERS: tuple[Runner, ...] = get_args(Runner)

# Conversion comes before the pipeline; the others are components, by their names in its graph.
CONVERSION = "Conversion"
BEAM_WORK = (
    CONVERSION,
    "ImportExampleGen",
    "StatisticsGen",
    "CloudValidator",
    "Transform",
    "Evaluator",
    "UnlabelledExampleGen",
    "BulkInferrer",
)

# The value of job_server_jar for which Beam fetches the jar of its own release.
PUBLISHED = "published"

_BEAM_NAMES = {
    "direct": "DirectRunner",
    "flink": "FlinkRunner",
    "dataflow": "DataflowRunner",
    "spark": "SparkRunner",
}

# What Beam calls differently.
_DATAFLOW_NAMES = {
    "service_account": "service_account_email",
    "max_workers": "max_num_workers",
    "machine_type": "worker_machine_type",
}

# Options that only one runner reads. Beam gives no word where another one is given them.
_PORTABLE = ("environment_type", "environment_config", "environment_option", "job_endpoint")
OPTIONS_OF: dict[Runner, tuple[str, ...]] = {
    "direct": ("direct_num_workers", "direct_running_mode"),
    "flink": (
        "flink_master",
        "flink_version",
        "flink_job_server_jar",
        "flink_submit_uber_jar",
        "parallelism",
        "max_parallelism",
        *_PORTABLE,
    ),
    "dataflow": (
        "region",
        "staging_location",
        "template_location",
        "dataflow_endpoint",
        "dataflow_service_options",
        "num_workers",
        "max_num_workers",
        "autoscaling_algorithm",
        "worker_machine_type",
        "disk_size_gb",
        "network",
        "subnetwork",
        "use_public_ips",
        "no_use_public_ips",
    ),
    "spark": (
        "spark_master_url",
        "spark_version",
        "spark_job_server_jar",
        "spark_submit_uber_jar",
        "spark_rest_url",
        *_PORTABLE,
    ),
}


Count = Annotated[int, Ge(1)]


class _ClusterSettings(Settings):
    """Settings of the runners that Beam reaches through a job server."""

    job_server_jar: str = ""
    """Beam's job server for this runner, a path or an address; it is started for each job and needs
    Java. published: Beam downloads the jar of its own release."""

    job_endpoint: str = ""
    """host:port of a job server that is already running, instead of the jar."""

    environment_type: Literal["LOOPBACK", "PROCESS", "DOCKER", "EXTERNAL"] | None = None
    """How the cluster's machines start our Python: by a command (PROCESS), in a container (DOCKER),
    in a running worker pool (EXTERNAL), or in this process, for a cluster on this machine only
    (LOOPBACK; the default if master is local)."""

    environment_config: str = ""
    """The command of PROCESS, the image of DOCKER, or the host:port of EXTERNAL."""


class FlinkSettings(_ClusterSettings):
    """Apache Flink."""

    master: str = ""
    """host:port of the JobManager's REST interface, or [local] for a separate Flink inside the job
    server, on this machine."""

    parallelism: Count | None = None
    """Number of parallel tasks; default: the cluster's own setting."""

    version: str = ""
    """Flink's release, such as 1.17, if the jar is published."""


class DataflowSettings(Settings):
    """Google Cloud Dataflow."""

    project: str = ""
    """Id of the Google Cloud project."""

    region: str = ""
    """Region of the workers, such as europe-west4."""

    temp_location: str = ""
    """A folder in a bucket of that region: gs://bucket/folder."""

    sdk_container_image: str = ""
    """The image with this package and its locked stack (deploy/Dockerfile)."""

    service_account: str = ""
    """Service account of the workers, an e-mail address; default: the project's."""

    max_workers: Count | None = None
    """Largest number of workers; default: Dataflow's own limit."""

    machine_type: str = ""
    """Machine type of the workers; default: Dataflow's choice."""

    subnetwork: str = ""
    """regions/<region>/subnetworks/<name>; default: the project's network."""

    public_addresses: bool = True
    """Whether workers have public addresses; false: only addresses of the subnetwork."""


class SparkSettings(_ClusterSettings):
    """Apache Spark."""

    master: str = ""
    """spark://host:port, or local[4] for a Spark with four threads inside the job server, on this
    machine."""


class ComponentBeamSettings(Settings):
    """The Beam work of one component."""

    runner: Runner | None = None
    """Runner of this component; default: the runner of the run."""

    args: tuple[str, ...] = ()
    """Beam's own options for this component, after those of the whole run."""


class BeamSettings(Settings):
    """Where the Beam work (conversion, statistics, validation, Transform, evaluation) runs."""

    runner: Runner | None = None
    """Runner of the Beam work; default: the --runner in args, or else direct."""

    args: tuple[str, ...] = ()
    """Beam's own options in addition, one string each: --name=value."""

    flink: FlinkSettings = FlinkSettings()
    """Apache Flink."""

    dataflow: DataflowSettings = DataflowSettings()
    """Google Cloud Dataflow."""

    spark: SparkSettings = SparkSettings()
    """Apache Spark."""

    components: dict[str, ComponentBeamSettings] = Field({})
    """Single components with another runner or other options, such as Transform: {runner:
    dataflow}; Conversion, ImportExampleGen, StatisticsGen, CloudValidator, Transform, Evaluator,
    UnlabelledExampleGen, BulkInferrer."""


def with_dataflow_defaults(settings: BeamSettings, **values: str) -> BeamSettings:
    """The settings with values put into `dataflow` where that says nothing.

    Args:
      settings: the section of the config; unchanged where nothing runs on Dataflow.
      values: keys of DataflowSettings.
    """
    components = settings.components.values()
    if "dataflow" not in {settings.runner, *(own.runner for own in components)}:
        return settings
    args = (*settings.args, *(arg for own in components for arg in own.args))
    given = {_name(arg) for arg in args}
    missing = {
        key: value
        for key, value in values.items()
        if not getattr(settings.dataflow, key) and not {key, _DATAFLOW_NAMES.get(key)} & given
    }
    dataflow = settings.dataflow.model_copy(update=missing)
    return settings.model_copy(update={"dataflow": dataflow})


def beam_args(settings: BeamSettings, component: str = "") -> list[str]:
    """Beam's options for the whole run, or for a single component.

    Args:
      settings: the section of the config; all of it is checked, whichever component is asked for.
      component: one of BEAM_WORK; "" for what the whole run has in common.

    Returns:
      Options as on a command line: ["--runner=DirectRunner", ...].

    Raises:
      UserError: a component without Beam work, a runner that lacks what it needs, or options of
        a runner that nothing runs on.
    """
    for name in settings.components:
        if name not in BEAM_WORK:
            near = difflib.get_close_matches(name, BEAM_WORK, n=1, cutoff=0.75)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BEAM_WORK)}"
            raise UserError(
                "bad_config", f"beam.components.{name}: there is no such Beam work; {hint}"
            )
    if component and component not in BEAM_WORK:
        raise UserError("bad_config", f"{component} has no Beam work; {', '.join(BEAM_WORK)} have")
    _refuse_unused_sections(settings)
    found = {name: _args_of(settings, name) for name in ("", *settings.components)}
    return list(found.get(component, found[""]))


def all_beam_args(settings: BeamSettings) -> list[str]:
    """Beam's options of the run and of each component that has its own; raises as `beam_args`."""
    return [arg for name in ("", *settings.components) for arg in beam_args(settings, name)]


def _args_of(settings: BeamSettings, component: str) -> list[str]:
    own = settings.components.get(component, ComponentBeamSettings())
    where = f"beam.components.{component}" if component else "beam"
    runner = own.runner or settings.runner
    # What was meant for the run's runner is not for another one.
    shared = settings.args if own.runner in (None, settings.runner) else ()
    args = (*shared, *own.args)
    named = _named_runners(args)
    if runner is None:
        if set(named) - {"direct", _BEAM_NAMES["direct"]}:
            return list(args)
        runner = "direct"
    wanted = _BEAM_NAMES[runner]
    for name in named:
        if name not in (wanted, runner):
            raise UserError(
                "bad_config",
                f"{where}.args name --runner={name}, and the runner is {runner} ({wanted}); leave "
                "one of them out",
            )
    _refuse_other_runners(where, runner, args)
    given = {_name(arg) for arg in args}
    options = _options_of_section(settings, runner, given)
    twice = sorted(given & {_name(option) for option in options})
    if twice:
        raise UserError(
            "bad_config",
            f"{where}.args give --{twice[0]}, and so does beam.{runner}; leave one of them out",
        )
    start = IN_PROCESS if runner == "direct" else (f"--runner={wanted}",)
    return [*start, *options, *args]


def _options_of_section(settings: BeamSettings, runner: Runner, given: set[str]) -> list[str]:
    """What the runner's section says, in Beam's terms; `given` are the options beside it."""
    if runner == "flink":
        flink = settings.flink
        options = _cluster(flink, runner, "flink_master", flink.master == "[local]", given)
        if flink.parallelism is not None:
            options.append(f"--parallelism={flink.parallelism}")
        return [*options, *([f"--flink_version={flink.version}"] if flink.version else [])]
    if runner == "spark":
        spark = settings.spark
        return _cluster(spark, runner, "spark_master_url", spark.master.startswith("local"), given)
    return _dataflow(settings.dataflow, given) if runner == "dataflow" else []


def _named_runners(args: Sequence[str]) -> list[str]:
    """The runners that options name, as --runner=X or as --runner X."""
    named = [arg.removeprefix("--runner=") for arg in args if arg.startswith("--runner=")]
    return named + [after for arg, after in itertools.pairwise(args) if arg == "--runner"]


def _name(arg: str) -> str:
    return arg.partition("=")[0].removeprefix("--")


def _refuse_unused_sections(settings: BeamSettings) -> None:
    used = {settings.runner, *(own.runner for own in settings.components.values())}
    for runner in ("flink", "dataflow", "spark"):
        section = getattr(settings, runner)
        given = [key for key, value in section if value != type(section).model_fields[key].default]
        if given and runner not in used:
            raise UserError(
                "bad_config",
                f"beam.{runner}.{given[0]} is given, and nothing runs on {runner}: beam.runner is "
                f"{settings.runner or 'not given'}; say beam.runner: {runner} (or the runner of a "
                f"component), or leave beam.{runner} out",
            )


def _refuse_other_runners(where: str, runner: Runner, args: Iterable[str]) -> None:
    for arg in args:
        name = _name(arg)
        owners = [owner for owner, names in OPTIONS_OF.items() if name in names]
        if owners and runner not in owners:
            raise UserError(
                "bad_config",
                f"{where}.args give --{name}, an option of {' and '.join(owners)}, and the runner "
                f"is {runner}; leave it out or choose another runner",
            )


def _cluster(
    section: FlinkSettings | SparkSettings,
    runner: Literal["flink", "spark"],
    master_option: str,
    local: bool,
    given: set[str],
) -> list[str]:
    """Where the cluster is, and how its machines start our Python."""
    options = []
    if section.master:
        options.append(f"--{master_option}={section.master}")
    elif not section.job_endpoint and not {master_option, "job_endpoint"} & given:
        raise UserError(
            "bad_config",
            f"beam.{runner}.master is not given, and {runner} needs it: "
            f"{_description(section, 'master')}",
        )
    options += _job_server(runner, section, given)
    options += _environment(runner, section, local, given)
    return options


def _job_server(
    runner: Literal["flink", "spark"], section: _ClusterSettings, given: set[str]
) -> list[str]:
    """How Beam reaches the cluster."""
    jar, endpoint = section.job_server_jar, section.job_endpoint
    option = f"{runner}_job_server_jar"
    if jar and endpoint:
        raise UserError(
            "bad_config",
            f"beam.{runner} gives job_server_jar and job_endpoint; leave one of them out: the jar "
            "is started for each job, the endpoint is of a job server that runs already",
        )
    if endpoint:
        return [f"--job_endpoint={endpoint}"]
    if not jar:
        if {option, "job_endpoint", f"{runner}_submit_uber_jar"} & given:
            return []
        build = " (`make flink-job-server` builds one)" if runner == "flink" else ""
        raise UserError(
            "bad_config",
            f"beam.{runner}.job_server_jar is not given, nor job_endpoint: Beam reaches {runner} "
            f"through a job server. Give its jar{build}, {PUBLISHED} to have Beam fetch the one of "
            "its release, or the host:port of one that runs already",
        )
    if "job_server_java_launcher" not in given and shutil.which("java") is None:
        raise UserError(
            "bad_config",
            f"beam.{runner}.job_server_jar is started with java, which is not on this machine's "
            "PATH; install a Java runtime (11 or 17), or give job_endpoint",
        )
    if jar == PUBLISHED:
        return []
    if not urlsplit(jar).scheme and not os.path.isfile(jar):
        raise UserError(
            "bad_config", f"beam.{runner}.job_server_jar is {jar!r}, and there is no such file"
        )
    return [f"--{option}={jar}"]


def _environment(
    runner: Literal["flink", "spark"],
    section: FlinkSettings | SparkSettings,
    local: bool,
    given: set[str],
) -> list[str]:
    """How the cluster's machines start our Python."""
    kind, value = section.environment_type, section.environment_config
    if kind is None:
        if "environment_type" in given:
            return []
        if not local:
            raise UserError(
                "bad_config",
                f"beam.{runner}.environment_type is not given: say how the cluster's machines "
                "start our Python: PROCESS (a command there), DOCKER (an image) or EXTERNAL (a "
                "worker pool), with environment_config; LOOPBACK only where all is on one machine",
            )
        kind = "LOOPBACK"
    if kind == "LOOPBACK":
        if value:
            raise UserError(
                "bad_config",
                f"beam.{runner}.environment_config is given, and LOOPBACK takes none; leave it "
                "out, or choose another environment_type",
            )
        away = [place for place in (section.master, section.job_endpoint) if not _is_here(place)]
        if away:
            raise UserError(
                "bad_config",
                f"beam.{runner}.environment_type is LOOPBACK, and {away[0]} is another machine, "
                "which cannot come back to this process; choose PROCESS, DOCKER or EXTERNAL",
            )
        return ["--environment_type=LOOPBACK"]
    if not value:
        what = {
            "PROCESS": "the command that starts a worker",
            "DOCKER": "the image with this package and its locked stack",
            "EXTERNAL": "the worker pool's host:port",
        }[kind]
        raise UserError(
            "bad_config",
            f"beam.{runner}.environment_config is not given, and {kind} needs it: {what}",
        )
    options = [f"--environment_type={kind}"]
    if kind == "PROCESS" and not value.lstrip().startswith("{"):
        value = json.dumps({"command": value})
    options.append(f"--environment_config={value}")
    if kind == "DOCKER":
        # What is in the image need not be sent there, nor installed in each worker.
        options.append(f"--sdk_container_image={value}")
    return options


def _description(section: Settings, key: str) -> str:
    return " ".join(str(type(section).model_fields[key].description).split())


def _is_here(address: str) -> bool:
    """Whether host:port, http://host:port, [local] or local[4] is this machine; "" is no other."""
    host = address.rpartition("//")[2].strip("[")
    return not host or host.startswith(("local", "127.", "::1"))


def _dataflow(section: DataflowSettings, given: set[str]) -> list[str]:
    options = []
    for key in ("project", "region", "temp_location", "sdk_container_image"):
        value = getattr(section, key)
        if value:
            options.append(f"--{key}={value}")
        elif key not in given:
            how = (
                " Give what `make image PUSH=...` printed." if key == "sdk_container_image" else ""
            )
            raise UserError(
                "bad_config",
                f"beam.dataflow.{key} is not given, and dataflow needs it: "
                f"{_description(section, key)}{how}",
            )
    if section.temp_location and not section.temp_location.startswith("gs://"):
        raise UserError(
            "bad_config",
            f"beam.dataflow.temp_location is {section.temp_location!r}; Dataflow's workers write "
            "to a bucket: gs://bucket/folder",
        )
    # The image holds Beam, at the version of this machine's lock.
    options.append("--sdk_location=container")
    for key in ("service_account", "max_workers", "machine_type", "subnetwork"):
        if value := getattr(section, key):
            options.append(f"--{_DATAFLOW_NAMES.get(key, key)}={value}")
    if not section.public_addresses:
        options.append("--no_use_public_ips")
    return options
