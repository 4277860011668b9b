"""The command that a cluster starts for a step: what it is given becomes what TFX can read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as messages
from tfx.orchestration.kubeflow.v2.container.kubeflow_v2_entrypoint_utils import (
    parse_raw_artifact_dict,
)
from tfx.types import standard_artifacts

from components import artifacts
from components.artifacts import DataReportPage
from pipeline import cluster_step
from pipeline.cluster_step import COMMAND, TYPES, WITHOUT_MARKERS, completed
from tests.google_storage import google_storage

EXAMPLES = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
REPORT = {"instanceSchema": "title: pointnet.DataReport\ntype: object\n"}


def invocation(side: str, schema: dict) -> dict:
    artifact = {"name": "7", "uri": "gs://bucket/page", "type": schema}
    return {side: {"artifacts": {"data_report": {"artifacts": [artifact]}}}}


def parsed(made: dict, side: str):
    """The class that TFX makes of the artifact."""
    message = json_format.ParseDict(made, messages.ExecutorInput())
    ((artifact,),) = parse_raw_artifact_dict(getattr(message, side).artifacts).values()
    assert artifact.uri == "gs://bucket/page"
    return type(artifact)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("schema", [REPORT, {"schemaTitle": "pointnet.DataReport"}])
def test_a_type_of_ours_is_found(side, schema):
    given = invocation(side, schema)
    with pytest.raises(ImportError):  # what TFX makes of it alone
        parsed(given, side)
    assert parsed(completed(given, {}), side) is DataReportPage
    assert given == invocation(side, schema)


def test_a_type_of_tfx_stays():
    given = invocation("inputs", EXAMPLES)
    assert completed(given, {"artifacts": {"data_report": {"artifactType": REPORT}}}) == given
    assert parsed(given, "inputs") is standard_artifacts.Examples


@pytest.mark.parametrize("missing", [{"instanceSchema": ""}, {}])
@pytest.mark.parametrize(
    ("schema", "expected"), [(EXAMPLES, standard_artifacts.Examples), (REPORT, DataReportPage)]
)
def test_an_input_without_a_type_has_that_of_the_definition(missing, schema, expected):
    made = completed(
        invocation("inputs", missing), {"artifacts": {"data_report": {"artifactType": schema}}}
    )
    assert parsed(made, "inputs") is expected


def test_all_our_types_are_in_the_table():
    ours = [kind for kind in vars(artifacts).values() if getattr(kind, "TYPE_NAME", None)]
    assert {kind.TYPE_NAME: f"artifacts.{kind.__name__}" for kind in ours} == TYPES


def test_other_arguments_stay_where_they_are(monkeypatch):
    ran = []
    monkeypatch.setattr(cluster_step.runpy, "run_module", lambda name, **_: ran.append(name))
    definitions = json.dumps({"artifacts": {"data_report": {"artifactType": REPORT}}})
    given = json.dumps(invocation("inputs", {"instanceSchema": ""}))
    before, after = ["--executor_class_path", "a.B"], ["--runner=DirectRunner"]
    spec = ["--json_serialized_inputs_spec_args", definitions]
    invoked = "--json_serialized_invocation_args"
    monkeypatch.setattr(sys, "argv", ["x", *before, invoked, given, *spec, *after])
    cluster_step.main()
    assert ran == [cluster_step.TFX_COMMAND]
    assert [*sys.argv[1:4], *sys.argv[5:]] == [*before, invoked, *spec, *after]
    assert parsed(json.loads(sys.argv[4]), "inputs") is DataReportPage


INVOKED = "--json_serialized_invocation_args"


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Runs a step that writes a page into a folder of the bucket, as TensorFlow makes folders."""
    with google_storage(tmp_path, "bucket") as (storage, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        def run(*options, status=0, bucket="bucket"):
            def tfx(*_, **__):
                assert WITHOUT_MARKERS not in sys.argv
                storage.write("bucket", "page/", b"")
                storage.write("bucket", "page/index.html", b"x")
                raise SystemExit(status)  # as absl ends

            monkeypatch.setattr(cluster_step.runpy, "run_module", tfx)
            given = json.dumps(invocation("outputs", REPORT)).replace(
                "gs://bucket", f"gs://{bucket}"
            )
            monkeypatch.setattr(sys, "argv", ["x", *options, INVOKED, given])
            cluster_step.main()

        yield storage, run


def test_for_kubeflow_no_object_that_stands_for_a_folder_is_left(step):
    storage, run = step
    run(WITHOUT_MARKERS)
    assert storage.names("bucket") == ["page/index.html"]


def test_elsewhere_they_stay(step):
    storage, run = step
    run()
    assert storage.names("bucket") == ["page/", "page/index.html"]


def test_a_failed_step_stays_as_it_is(step):
    storage, run = step
    with pytest.raises(SystemExit) as ended:
        run(WITHOUT_MARKERS, status=3)
    assert ended.value.code == 3
    assert storage.names("bucket") == ["page/", "page/index.html"]


def test_a_bucket_that_refuses_is_said(step):
    _, run = step
    with pytest.raises(SystemExit, match=r"the step is done, but .* \(404 .*storage.objectAdmin"):
        run(WITHOUT_MARKERS, bucket="elsewhere")


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["{"],
        ["[]"],
        ["null"],
        ['{"inputs": {"artifacts": {"model": []}}}'],
        ['{"outputs": {"artifacts": {"model": {"artifacts": [{"name": "7"}]}}}}'],
        ["{}", "--json_serialized_inputs_spec_args"],
        ["{}", "--json_serialized_inputs_spec_args", "[]"],
        [json.dumps(invocation("inputs", {"instanceSchema": "title: [tfx"}))],
        [json.dumps(invocation("inputs", {"instanceSchema": "title"}))],
    ],
)
def test_what_no_launcher_fills_in_ends_in_a_sentence(given, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", INVOKED, *given])
    with pytest.raises(SystemExit, match=r"is not what a launcher fills in \(\w+"):
        cluster_step.main()


@pytest.mark.slow
def test_it_is_a_command_of_python():
    done = subprocess.run(
        [sys.executable, *COMMAND[1:], "--help"], capture_output=True, text=True, check=False
    )
    assert "--executor_class_path" in done.stdout + done.stderr
