"""Beam's options from the config: what Beam's own parser reads of them, and what is refused."""

import json
import logging
import os
from contextlib import nullcontext

import apache_beam as beam
import pytest
from apache_beam.options import pipeline_options as beam_options
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing import util
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent

from pipeline.beam_settings import (
    BEAM_WORK,
    CONVERSION,
    OPTIONS_OF,
    BeamSettings,
    beam_args,
    with_dataflow_defaults,
)
from pipeline.config import load_config, parse_config
from pipeline.graph import create_pipeline
from preprocessing.conversion.beam_options import IN_PROCESS
from schema.errors import UserError
from tests.pipeline.test_graph import places

DIRECT = list(IN_PROCESS)
DATAFLOW = """
  project: shapes
  region: europe-west4
  temp_location: gs://bucket/tmp
  sdk_container_image: europe-docker.pkg.dev/shapes/images/pointnet:1
"""
FLINK = "{job_endpoint: 'jobs:8099', environment_type: DOCKER, environment_config: image:1}"


@pytest.fixture(autouse=True)
def java(tmp_path_factory, monkeypatch):
    """A java on the PATH, which a job server's jar asks for; nothing here starts it."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "java").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.fixture
def jar(tmp_path):
    path = tmp_path / "job-server.jar"
    path.touch()
    return str(path)


def settings(text):
    return parse_config(f"beam: {text}" if text[0] == "{" else f"beam:\n{text}", "mine.yaml").beam


def read_by_beam(args, caplog):
    """All options as Beam's own parser understands them; none may be left over."""
    with caplog.at_level(logging.WARNING, "apache_beam.options.pipeline_options"):
        read = beam_options.PipelineOptions(args).get_all_options(drop_default=True)
    assert not [r.getMessage() for r in caplog.records if "unparseable" in r.getMessage()]
    return read


def test_the_default_is_the_direct_runner_in_this_process(caplog):
    assert beam_args(load_config("demo").beam) == DIRECT
    assert all(beam_args(load_config("demo").beam, name) == DIRECT for name in BEAM_WORK)
    assert read_by_beam(DIRECT, caplog)["runner"] == "DirectRunner"


@pytest.mark.parametrize(
    ("args", "mode"),
    [
        ([], "in_memory"),
        (["--runner=DirectRunner"], "in_memory"),
        (["--runner", "direct"], "in_memory"),
        (["--direct_running_mode=multi_threading", "--direct_num_workers=2"], "multi_threading"),
    ],
)
def test_beam_itself_works_in_this_process_and_downloads_no_runner(args, mode, monkeypatch):
    ran = []
    run = FnApiRunner.run_pipeline

    def noted(self, pipeline, options):
        ran.append(options.view_as(beam_options.DirectOptions).direct_running_mode)
        return run(self, pipeline, options)

    monkeypatch.setattr(FnApiRunner, "run_pipeline", noted)
    given = beam_args(settings(json.dumps({"args": args})))
    with beam.Pipeline(options=beam_options.PipelineOptions(given)) as pipeline:
        sums = pipeline | beam.Create([1, 2]) | beam.CombineGlobally(sum)
        util.assert_that(sums, util.equal_to([3]))
    assert ran == [mode]


def test_beams_own_default_is_refused_in_tests_where_it_would_download_a_runner():
    """Where no locked stack's does so any more, IN_PROCESS need not forbid it."""
    older = beam.__version__ == "2.60.0"
    with nullcontext() if older else pytest.raises(ImportError, match="prism_runner"):
        (beam.Pipeline() | beam.Create([1])).pipeline.run()


def test_args_alone_go_to_beam(caplog):
    args = ["--runner=FlinkRunner", "--flink_master=jobs:8081", "--parallelism=3"]
    assert beam_args(settings(json.dumps({"args": args}))) == args
    more = "{args: [--direct_running_mode=multi_processing, --direct_num_workers=8]}"
    read = read_by_beam(beam_args(settings(more)), caplog)
    assert (read["direct_running_mode"], read["direct_num_workers"]) == ("multi_processing", 8)


def test_flink_by_a_job_server_of_its_own(jar, caplog):
    flink = {"master": "[local]", "job_server_jar": jar, "parallelism": 2}
    read = read_by_beam(
        beam_args(settings(json.dumps({"runner": "flink", "flink": flink}))), caplog
    )
    assert read["runner"] == "FlinkRunner"
    assert read["flink_master"] == "[local]"
    assert read["flink_job_server_jar"] == jar
    assert (read["environment_type"], read["parallelism"]) == ("LOOPBACK", 2)


def test_flink_by_a_job_server_that_runs_and_a_command_on_its_machines(caplog):
    text = (
        "{runner: flink, flink: {job_endpoint: 'jobs:8099', environment_type: PROCESS, "
        "environment_config: /opt/worker}}"
    )
    read = read_by_beam(beam_args(settings(text)), caplog)
    assert read["job_endpoint"] == "jobs:8099"
    assert json.loads(read["environment_config"]) == {"command": "/opt/worker"}
    assert read["environment_type"] == "PROCESS"


@pytest.mark.parametrize("address", ["localhost:8099", "127.0.0.1:8099", "http://localhost:8099"])
def test_workers_in_this_process_for_a_job_server_here(address):
    flink = {"job_endpoint": address, "environment_type": "LOOPBACK"}
    args = beam_args(settings(json.dumps({"runner": "flink", "flink": flink})))
    assert "--environment_type=LOOPBACK" in args


def test_an_image_is_not_sent_what_it_holds(caplog):
    read = read_by_beam(beam_args(settings(f"{{runner: flink, flink: {FLINK}}}")), caplog)
    assert read["environment_config"] == read["sdk_container_image"] == "image:1"


def test_flinks_release_where_beam_fetches_the_jar(caplog):
    (*_, release) = beam_options.FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    flink = {"master": "[local]", "job_server_jar": "published", "version": release}
    read = beam_args(settings(json.dumps({"runner": "flink", "flink": flink})))
    assert f"--flink_version={release}" in read
    assert "flink_job_server_jar" not in read_by_beam(read, caplog)


def test_dataflow(caplog):
    more = "  max_workers: 40\n  machine_type: n2-standard-4\n  public_addresses: false\n"
    more += "  service_account: beam@shapes.iam\n  subnetwork: regions/europe-west4/subnetworks/a\n"
    indented = "".join(f"  {line}\n" for line in (DATAFLOW + more).splitlines())
    read = read_by_beam(beam_args(settings(f"  runner: dataflow\n  dataflow:\n{indented}")), caplog)
    expected = {
        "runner": "DataflowRunner",
        "project": "shapes",
        "region": "europe-west4",
        "temp_location": "gs://bucket/tmp",
        "sdk_container_image": "europe-docker.pkg.dev/shapes/images/pointnet:1",
        "sdk_location": "container",
        "max_num_workers": 40,
        "machine_type": "n2-standard-4",
        "use_public_ips": False,
        "service_account_email": "beam@shapes.iam",
        "subnetwork": "regions/europe-west4/subnetworks/a",
    }
    assert {key: read.get(key) for key in expected} == expected


def test_spark(jar, caplog):
    spark = {"master": "local[2]", "job_server_jar": jar}
    read = read_by_beam(
        beam_args(settings(json.dumps({"runner": "spark", "spark": spark}))), caplog
    )
    assert (read["runner"], read["spark_master_url"]) == ("SparkRunner", "local[2]")
    assert (read["spark_job_server_jar"], read["environment_type"]) == (jar, "LOOPBACK")


def test_what_only_one_runner_reads_is_beams_word_for_it():
    classes = {
        "direct": [beam_options.DirectOptions],
        "flink": [beam_options.FlinkRunnerOptions, beam_options.PortableOptions],
        "dataflow": [beam_options.GoogleCloudOptions, beam_options.WorkerOptions],
        "spark": [beam_options.SparkRunnerOptions, beam_options.PortableOptions],
    }
    for runner, names in OPTIONS_OF.items():
        known = set()
        for section in classes[runner]:
            parser = beam_options._BeamArgumentParser(allow_abbrev=False)
            section._add_argparse_args(parser)
            known |= {flag for action in parser._actions for flag in action.option_strings}
        assert {f"--{name}" for name in names} <= known


TRANSFORM = "{Transform: {runner: flink, args: [--parallelism=4]}}"
MIXED = f"{{args: [--direct_num_workers=1], flink: {FLINK}, components: {TRANSFORM}}}"


PLACE = {"project": "shapes", "region": "europe-west4", "service_account": "a@b"}


def test_defaults_fill_what_dataflows_section_leaves_out():
    text = "{components: {Transform: {runner: dataflow, args: [--region=us-east1]}}, dataflow: "
    beam = settings(text + "{project: mine, temp_location: 'gs://c/t', sdk_container_image: i}}")
    filled = with_dataflow_defaults(beam, **PLACE).dataflow
    assert (filled.project, filled.region, filled.service_account) == ("mine", "", "a@b")


def test_an_account_among_the_options_is_not_given_twice():
    args = "[--service_account_email=me@b]"
    beam = settings(f"{{runner: dataflow, args: {args}, dataflow: {{temp_location: 'gs://c/t'}}}}")
    filled = with_dataflow_defaults(beam, **PLACE, sdk_container_image="i")
    accounts = [arg for arg in beam_args(filled) if arg.startswith("--service_account_email")]
    assert accounts == ["--service_account_email=me@b"]


def test_where_nothing_runs_on_dataflow_it_is_given_nothing():
    beam = settings("{runner: direct}")
    assert with_dataflow_defaults(beam, **PLACE) == beam


def test_a_single_component_elsewhere_gets_nothing_of_the_others():
    beam = settings(MIXED)
    transform = beam_args(beam, "Transform")
    assert transform[0] == "--runner=FlinkRunner"
    assert transform[-1] == "--parallelism=4"
    assert not [arg for arg in transform if "direct" in arg.lower()]
    assert beam_args(beam, "Evaluator") == beam_args(beam) == [*DIRECT, "--direct_num_workers=1"]


def test_a_component_with_more_options_keeps_those_of_the_run():
    beam = settings(
        "{args: [--save_main_session], "
        "components: {Transform: {args: [--tfxio_use_byte_size_batching]}}}"
    )
    assert beam_args(beam, "Transform") == [
        *DIRECT,
        "--save_main_session",
        "--tfxio_use_byte_size_batching",
    ]


def beam_options_in_graph(beam):
    """What TFX hands to each component, in the order in which Beam reads it."""
    config = load_config("airplane").model_copy(update={"beam": beam})
    pipeline = create_pipeline(config, places("x", unlabelled=1))
    return {
        node.id: list(node.executor_spec.beam_pipeline_args)
        for node in pipeline.components
        if isinstance(node, BaseBeamComponent)
    }


def test_the_graph_gives_each_component_its_own():
    beam = settings(MIXED)
    found = beam_options_in_graph(beam)
    assert set(found) == set(BEAM_WORK) - {CONVERSION}
    assert found == {name: beam_args(beam, name) for name in found}
    assert set(map(tuple, beam_options_in_graph(load_config("airplane").beam).values())) == {
        tuple(DIRECT)
    }


def test_the_description_names_all_beam_work():
    description = BeamSettings.model_fields["components"].description
    assert all(name in description for name in BEAM_WORK)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{runner: flink}", "beam.flink.master is not given, and flink needs it: host:port"),
        ("{runner: flink, flink: {master: 'a:1'}}", "beam.flink.job_server_jar is not given, nor"),
        (
            "{runner: flink, flink: {master: 'a:1', job_server_jar: none.jar}}",
            "beam.flink.job_server_jar is 'none.jar', and there is no such file",
        ),
        (
            "{runner: flink, flink: {job_server_jar: a.jar, job_endpoint: 'a:1', master: 'a:2'}}",
            "job_server_jar and job_endpoint; leave one",
        ),
        ("{runner: flink, flink: {job_endpoint: 'a:1'}}", "environment_type is not given: say how"),
        (
            "{runner: flink, flink: {job_endpoint: 'a:1', environment_type: PROCESS}}",
            "beam.flink.environment_config is not given, and PROCESS needs it: the command",
        ),
        (
            "{runner: flink, flink: {job_endpoint: 'a:1', environment_type: LOOPBACK, "
            "environment_config: x}}",
            "LOOPBACK takes none",
        ),
        (
            "{runner: flink, flink: {job_endpoint: 'jobs:8099', environment_type: LOOPBACK}}",
            "LOOPBACK, and jobs:8099 is another machine",
        ),
        ("{runner: spark}", "beam.spark.master is not given"),
        ("{runner: dataflow}", "beam.dataflow.project is not given, and dataflow needs it"),
        ("{runner: dataflow, dataflow: {project: a}}", "beam.dataflow.region is not given"),
        (
            "{runner: dataflow, dataflow: {project: a, region: b}}",
            "beam.dataflow.temp_location is not given",
        ),
        (
            "{runner: dataflow, dataflow: {project: a, region: b, temp_location: 'gs://c'}}",
            "Give what `make image PUSH=...` printed.",
        ),
        (
            "{runner: dataflow, dataflow: {project: a, region: b, temp_location: /tmp, "
            "sdk_container_image: d}}",
            "temp_location is '/tmp'; Dataflow's workers write to a bucket",
        ),
        (
            "{components: {Transfrom: {}}}",
            "beam.components.Transfrom: there is no such Beam work; ",
        ),
        ("{components: {Trainer: {}}}", "no such Beam work; there are Conversion, ImportExam"),
        (
            "{dataflow: {project: a}}",
            "beam.dataflow.project is given, and nothing runs on dataflow",
        ),
        (
            "{runner: dataflow, flink: {parallelism: 2}}",
            "beam.flink.parallelism is given, and nothing runs on flink: beam.runner is dataflow",
        ),
        (
            "{runner: direct, args: [--flink_master=a]}",
            "beam.args give --flink_master, an option of flink, and the runner is direct",
        ),
        ("{args: [--job_endpoint=a]}", "an option of flink and spark, and the runner is direct"),
        (
            "{components: {Transform: {args: [--num_workers=3]}}}",
            "beam.components.Transform.args give --num_workers, an option of dataflow",
        ),
        (
            "{runner: direct, args: [--runner=DataflowRunner]}",
            "beam.args name --runner=DataflowRunner, and the runner is direct (DirectRunner)",
        ),
        ("{runner: direct, args: [--runner, FlinkRunner]}", "name --runner=FlinkRunner"),
        (
            "{runner: flink, args: [--parallelism=2], flink: {job_endpoint: 'a:1', parallelism: 3, "
            "environment_type: EXTERNAL, environment_config: 'b:2'}}",
            "beam.args give --parallelism, and so does beam.flink; leave one",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(text, words):
    with pytest.raises(UserError) as raised:
        beam_args(settings(text))
    said = str(raised.value)
    assert words in said
    assert "\n" not in said


def test_a_jar_without_java(jar, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    flink = {"master": "[local]", "job_server_jar": jar}
    with pytest.raises(UserError, match="started with java, which is not on"):
        beam_args(settings(json.dumps({"runner": "flink", "flink": flink})))


@pytest.mark.parametrize(
    "text", ["{runner: fink}", "{flink: {mastr: a}}", "{flink: {environment_type: VM}}"]
)
def test_a_misspelled_setting_is_found_when_the_config_is_read(text):
    with pytest.raises(UserError, match=r"config mine\.yaml"):
        settings(text)


def test_a_component_without_beam_work_has_no_options():
    with pytest.raises(UserError, match="Trainer has no Beam work"):
        beam_args(load_config("demo").beam, "Trainer")
