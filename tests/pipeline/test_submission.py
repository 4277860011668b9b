"""Handing a compiled pipeline to a cluster: the platforms' own clients, what they answer doubled.

Kubeflow's client is real, and talks to a small double of its API on this machine; of Vertex AI's
client only the calls that would leave the machine are replaced.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from google.api_core.exceptions import Forbidden
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform
from google.cloud.aiplatform_v1 import Schedule
from google.cloud.storage import Bucket

from pipeline.cli import main
from pipeline.config import load_config, parse_config, to_yaml
from pipeline.specs import compile_specs
from pipeline.submission import (
    Submission,
    run_parameters,
    submit_to_kubeflow,
    submit_to_vertex,
)
from pipeline.submission_checks import check_buckets, check_submission
from schema.errors import UserError
from tests.google_storage import google_storage

EXAMPLE = load_config("cluster_example")
MINE = parse_config(to_yaml(EXAMPLE).replace("example-", "shapes-"), "mine")
CHANGES = run_parameters("gs://bucket/other/", 500)


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    vertex, kubeflow = compile_specs(EXAMPLE, "", [], tmp_path_factory.mktemp("specs"))
    return {"vertex": vertex, "kubeflow": kubeflow}


def test_the_parameters_of_a_run():
    assert CHANGES["data_root"] == "gs://bucket/other"
    assert json.loads(CHANGES["train_args"]) == {"splits": ["train"], "num_steps": 500}
    assert run_parameters("", None) == {}
    with pytest.raises(UserError, match="the data is 'here'; a cluster reads from a bucket"):
        run_parameters("here", None)


@pytest.mark.parametrize(
    ("platform", "schedule"),
    [
        ("vertex", "0 3 * * 1"),
        ("vertex", "TZ=Europe/Berlin 0 3 * * MON-FRI"),
        ("vertex", "*/5 0,12 1 * *"),
        ("kubeflow", "0 0 3 * * 1"),
        ("kubeflow", "@daily"),
    ],
)
def test_a_schedule_of_the_platforms_own_form_passes(platform, schedule):
    check_submission(MINE, platform, schedule, False)


@pytest.mark.parametrize(
    ("platform", "schedule", "words"),
    [
        ("vertex", "every monday", "vertex takes a cron expression of 5 fields, such as '0 3"),
        ("vertex", "0 0 3 * * 1", "vertex takes a cron expression of 5 fields"),
        ("vertex", "0 3 * * !", "vertex takes a cron expression of 5 fields"),
        ("kubeflow", "0 3 * * 1", r"kubeflow takes .* of 6 fields \(seconds come first\), such as"),
    ],
)
def test_a_schedule_that_is_none_is_refused(platform, schedule, words):
    with pytest.raises(UserError, match=words):
        check_submission(MINE, platform, schedule, False)


def test_a_schedule_is_not_waited_for():
    with pytest.raises(UserError, match="--wait waits for a run that starts now"):
        check_submission(MINE, "vertex", "0 3 * * 1", True)


def test_the_examples_made_up_names_are_refused():
    with pytest.raises(UserError, match=r"vertex.root is gs://example-bucket.*put your own in"):
        check_submission(EXAMPLE, "vertex", "", False)
    with pytest.raises(UserError, match=r"kubeflow.root is gs://example-bucket"):
        check_submission(EXAMPLE, "kubeflow", "", False)
    own = to_yaml(EXAMPLE).replace("example-", "our-example-")
    check_submission(parse_config(own, "own"), "vertex", "", False)


# Where Kubernetes' own API hands on to Kubeflow Pipelines, as it is installed.
THROUGH_KUBERNETES = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/"


class KubeflowApi(BaseHTTPRequestHandler):
    """What Kubeflow Pipelines answers to a client that starts a run."""

    def do_GET(self):
        self.path = self.path.removeprefix(THROUGH_KUBERNETES)
        self.server.asked.append(self.path)
        self.server.headers.append(self.headers)
        if self.path.startswith("/apis/v2beta1/experiments"):
            self.answer({"experiments": [{"experiment_id": "e1", "display_name": "x"}]})
        elif self.path.startswith("/apis/v2beta1/recurringruns"):
            page = int(parse_qs(urlsplit(self.path).query).get("page_token", ["0"])[0])
            last = page + 1 >= len(self.server.scheduled)
            self.answer(
                {
                    "recurringRuns": self.server.scheduled[page : page + 1],
                    "next_page_token": "" if last else str(page + 1),
                }
            )
        elif self.path.startswith("/apis/v2beta1/runs/"):
            self.answer({"run_id": "r1", "state": self.server.state})
        else:
            self.answer({"multi_user": False})

    def do_POST(self):
        self.path = self.path.removeprefix(THROUGH_KUBERNETES)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, body))
        if self.server.refused:
            self.answer({"error": "no such service account"}, 400)
        else:
            ids = {"experiment_id": "e1", "run_id": "r1", "recurring_run_id": "s1"}
            self.answer({**ids, "display_name": "x"})

    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def api(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # the client keeps a file there
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # no credentials
    server = ThreadingHTTPServer(("127.0.0.1", 0), KubeflowApi)
    server.posted, server.asked, server.headers, server.scheduled = [], [], [], []
    server.refused, server.state = False, "SUCCEEDED"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def at(api, config=EXAMPLE):
    """The config, with that API's address."""
    host = f"http://127.0.0.1:{api.server_port}"
    kubeflow = config.kubeflow.model_copy(update={"host": host})
    return config.model_copy(update={"kubeflow": kubeflow})


def test_kubeflow_is_given_the_spec_and_the_parameters_and_waited_for(api, specs):
    said = []
    submit_to_kubeflow(Submission(at(api), specs["kubeflow"], CHANGES, "", True), said.append)
    assert said == ["run r1", "the run has succeeded"]
    (run,) = (body for path, body in api.posted if path.endswith("/runs"))
    # Where Kubeflow is told the root: it does not read the spec's.
    root = f"{EXAMPLE.kubeflow.root}/artifacts"
    assert run["runtime_config"] == {"parameters": CHANGES, "pipeline_root": root}
    spec = run["pipeline_spec"]
    assert spec["schemaVersion"] == "2.1.0"
    assert spec["defaultPipelineRoot"] == f"{EXAMPLE.kubeflow.root}/artifacts"
    assert "Trainer" in spec["root"]["dag"]["tasks"]


def test_kubeflow_runs_it_by_a_schedule(api, specs):
    said = []
    submit_to_kubeflow(
        Submission(at(api), specs["kubeflow"], CHANGES, "0 0 3 * * 1", False), said.append
    )
    assert said == ["scheduled (0 0 3 * * 1): s1"]
    path, run = api.posted[-1]
    assert path == "/apis/v2beta1/recurringruns"
    assert run["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 1"
    root = f"{EXAMPLE.kubeflow.root}/artifacts"
    assert run["runtime_config"] == {"parameters": CHANGES, "pipeline_root": root}


def test_the_runs_namespace_is_not_taken_for_kubeflows_own(api, specs, monkeypatch):
    def load(client_configuration, **_):
        client_configuration.host = f"http://127.0.0.1:{api.server_port}"

    monkeypatch.setattr("kubernetes.config.load_kube_config", load)
    kubeflow = EXAMPLE.kubeflow.model_copy(update={"host": None, "namespace": "mine"})
    config = EXAMPLE.model_copy(update={"kubeflow": kubeflow})
    submit_to_kubeflow(Submission(config, specs["kubeflow"], {}), print)
    (experiments,) = (path for path in api.asked if "/experiments" in path)
    assert "namespace=mine" in experiments
    assert [path for path, _ in api.posted] == ["/apis/v2beta1/runs"]


@pytest.mark.parametrize(
    ("context", "header"),
    [
        ({"client_authentication_cookie": "session=7"}, ("Cookie", "session=7")),
        (
            {
                "client_authentication_header_name": "X-Who",
                "client_authentication_header_value": "me",
            },
            ("X-Who", "me"),
        ),
    ],
)
def test_who_submits_stands_where_kfps_client_looks(
    context, header, api, specs, monkeypatch, tmp_path
):
    """As docs/deploy.md says."""
    file = tmp_path / "context.json"
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(file))
    file.write_text(json.dumps({"namespace": "", **context}))
    submit_to_kubeflow(Submission(at(api), specs["kubeflow"], {}), print)
    assert {headers[header[0]] for headers in api.headers} == {header[1]}
    file.write_text(json.dumps(context))
    with pytest.raises(UserError, match=r"context.json lacks 'namespace'"):
        submit_to_kubeflow(Submission(at(api), specs["kubeflow"], {}), print)


def test_kubeflow_is_given_no_second_schedule_of_the_same_name(api, specs):
    api.scheduled = [
        {"recurring_run_id": "s0", "display_name": "another"},
        {"recurring_run_id": "s1", "display_name": "pointnet-parts"},
    ]
    with pytest.raises(UserError, match=r"a recurring run pointnet-parts .* s1; delete it"):
        submit_to_kubeflow(Submission(at(api), specs["kubeflow"], {}, "0 0 3 * * 1"), print)
    assert not [path for path, _ in api.posted if path.endswith("/recurringruns")]


def test_a_failed_run_and_a_refusal_are_said(api, specs):
    api.state = "FAILED"
    with pytest.raises(UserError, match="the run r1 ended as FAILED"):
        submit_to_kubeflow(Submission(at(api), specs["kubeflow"], {}, "", True), print)
    api.refused = True
    with pytest.raises(UserError, match=r"Kubeflow Pipelines at http://127.*400"):
        submit_to_kubeflow(Submission(at(api), specs["kubeflow"], {}, "", False), print)


def test_a_cancelled_run_is_not_waited_for(api, specs, monkeypatch):
    monkeypatch.setattr("pipeline.submission._LONGEST_UNSEEN_SECONDS", -1)  # seen at once
    api.state = "CANCELED"
    with pytest.raises(UserError, match="the run r1 ended as CANCELED"):
        submit_to_kubeflow(Submission(at(api), specs["kubeflow"], {}, "", True), print)


def test_no_kubeflow_there_is_said(specs, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    kubeflow = EXAMPLE.kubeflow.model_copy(update={"host": "http://127.0.0.1:9"})
    config = EXAMPLE.model_copy(update={"kubeflow": kubeflow})
    with pytest.raises(
        UserError,
        match=r"127.0.0.1:9 cannot be reached \(connection refused\); see whether kubeflow.host is "
        r"right, .*port-forward",
    ):
        submit_to_kubeflow(Submission(config, specs["kubeflow"], {}, "", False), print)
    assert not [record for record in caplog.records if record.name.startswith("urllib3")]


@pytest.fixture
def vertex_calls(monkeypatch):
    """What would have been asked of Vertex AI, which has the bucket and no schedule."""
    calls = []

    def record(name, answer=None):
        def call(self, *arguments, **words):
            self._gca_resource.name = "projects/p/locations/l/pipelineJobs/j"
            calls.append((name, self, words))
            return answer

        return call

    class Made:
        resource_name = "projects/p/locations/l/schedules/s"

    monkeypatch.setattr(Bucket, "exists", lambda self, **_: True)
    monkeypatch.setattr(aiplatform.PipelineJobSchedule, "list", lambda **_: [])
    monkeypatch.setattr(aiplatform.PipelineJob, "submit", record("submit"))
    monkeypatch.setattr(aiplatform.PipelineJob, "wait", record("wait"))
    monkeypatch.setattr(aiplatform.PipelineJob, "create_schedule", record("create_schedule", Made))
    aiplatform.init(credentials=AnonymousCredentials())
    yield calls
    aiplatform.initializer.global_config.__init__()


def test_vertex_is_given_the_job_with_the_parameters_and_waited_for(vertex_calls, specs):
    said = []
    submit_to_vertex(Submission(EXAMPLE, specs["vertex"], CHANGES, "", True), said.append)
    (submit, job, words), (wait, _, _) = vertex_calls
    assert (submit, wait) == ("submit", "wait")
    assert words["service_account"] == EXAMPLE.vertex.service_account
    given = job.runtime_config.parameters
    assert given["data_root"].string_value == "gs://bucket/other"
    assert "instance_miou" in given["eval_config"].string_value  # the compiled one
    assert job.runtime_config.gcs_output_directory == f"{EXAMPLE.vertex.root}/artifacts"
    assert "https://console.cloud.google.com/vertex-ai/locations/europe-west4" in said[1]
    assert said[-1] == "the run has succeeded"


def test_vertex_runs_it_by_a_schedule(vertex_calls, specs):
    said = []
    submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}, "0 3 * * 1", False), said.append)
    ((name, _, words),) = vertex_calls
    assert (name, words["cron"]) == ("create_schedule", "0 3 * * 1")
    assert said == ["scheduled (0 3 * * 1): projects/p/locations/l/schedules/s"]


def test_a_schedule_on_vertex_says_that_no_experiment_knows_its_runs(vertex_calls, specs):
    vertex = EXAMPLE.vertex.model_copy(update={"experiment": "shapes"})
    config = EXAMPLE.model_copy(update={"vertex": vertex})
    said = []
    submit_to_vertex(Submission(config, specs["vertex"], {}, "0 3 * * 1"), said.append)
    assert said[1:] == ["vertex.experiment: a schedule's runs are not entered in shapes"]


def test_a_run_that_no_experiment_took_is_not_submitted_again(vertex_calls, specs, monkeypatch):
    def into_no_experiment(self, experiment):
        raise AttributeError("'str' object has no attribute 'name'")

    def submit(self, experiment=None, **_):
        self._gca_resource.name = "projects/p/locations/l/pipelineJobs/j"
        self._associate_to_experiment(experiment)

    monkeypatch.setattr(aiplatform.PipelineJob, "_associate_to_experiment", into_no_experiment)
    monkeypatch.setattr(aiplatform.PipelineJob, "submit", submit)
    vertex = EXAMPLE.vertex.model_copy(update={"experiment": "shapes"})
    said = []
    config = EXAMPLE.model_copy(update={"vertex": vertex})
    submit_to_vertex(Submission(config, specs["vertex"], {}), said.append)
    assert said[0] == "run projects/p/locations/l/pipelineJobs/j"
    assert said[1].startswith("the run goes on, but was not entered in shapes: ")


def test_a_run_that_did_not_start_is_said_to_have_failed(vertex_calls, specs, monkeypatch):
    def refused(self, **_):
        raise Forbidden("no aiplatform.pipelineJobs.create")

    monkeypatch.setattr(aiplatform.PipelineJob, "submit", refused)
    with pytest.raises(UserError, match=r"403 no aiplatform\.pipelineJobs\.create"):
        submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}), print)


@pytest.mark.parametrize(("state", "made"), [("ACTIVE", 0), ("PAUSED", 0), ("COMPLETED", 1)])
def test_vertex_is_given_no_second_schedule_of_the_same_name(
    state, made, vertex_calls, specs, monkeypatch
):
    class Listed:
        gca_resource = Schedule(name="schedules/7", cron="0 4 * * 1", state=state)

    asked = []

    def listed(**words):
        asked.append(words)
        return [Listed]

    monkeypatch.setattr(aiplatform.PipelineJobSchedule, "list", listed)
    run = Submission(EXAMPLE, specs["vertex"], {}, "0 3 * * 1")
    if made:
        submit_to_vertex(run, print)
    else:
        with pytest.raises(
            UserError,
            match=r"a schedule pointnet-parts \(0 4 \* \* 1\) is there already, schedules/7",
        ):
            submit_to_vertex(run, print)
    assert len(vertex_calls) == made
    assert asked == [
        {
            "filter": 'display_name="pointnet-parts"',
            "project": "example-project",
            "location": "europe-west4",
        }
    ]


def test_a_bucket_that_is_not_there_is_not_made(vertex_calls, specs, monkeypatch):
    looked_for = []

    def exists(self, **_):
        looked_for.append(self.name)
        return False

    monkeypatch.setattr(Bucket, "exists", exists)
    with pytest.raises(UserError, match=r"there is no bucket example-bucket, which vertex.r"):
        submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}), print)
    assert looked_for == ["example-bucket"]
    assert not vertex_calls


def test_a_bucket_that_one_may_write_and_not_look_for_is_taken(vertex_calls, specs, monkeypatch):
    def exists(self, **_):
        raise Forbidden("no storage.buckets.get")

    monkeypatch.setattr(Bucket, "exists", exists)
    submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}), print)
    assert [name for name, *_ in vertex_calls] == ["submit"]


def test_a_run_that_fails_on_vertex_is_said(vertex_calls, specs, monkeypatch):
    def wait(self):
        raise RuntimeError("Job failed with:\ncode: 9\nmessage: The Trainer failed")

    monkeypatch.setattr(aiplatform.PipelineJob, "wait", wait)
    with pytest.raises(UserError, match=r"\(example-project, europe-west4\): Job failed"):
        submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}, "", True), print)


def test_without_credentials_the_way_to_them_is_said(specs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(UserError, match=r"no credentials .*`gcloud auth application-"):
        submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}, "", False), print)


def test_a_google_out_of_reach_is_not_called_missing_credentials(
    specs, monkeypatch, key_of_a_dead_token_service
):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_of_a_dead_token_service))
    with pytest.raises(UserError, match=r"europe-west4\): Google cannot be reached \(.*refus"):
        submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}, "", False), print)


PLACES = {"kubeflow.root": "gs://here/a", "kubeflow.data": None, "--data": "gs://heer/data"}


def test_a_mistyped_bucket_is_said_where_google_can_be_asked(tmp_path, monkeypatch):
    with google_storage(tmp_path, "here") as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        check_buckets({**PLACES, "--data": ""})
        with pytest.raises(UserError, match=r"no bucket heer, which --data \(gs://heer/data\)"):
            check_buckets(PLACES)


def test_a_bucket_that_cannot_be_asked_for_is_left_to_the_steps(
    tmp_path, monkeypatch, key_of_a_dead_token_service
):
    def refused(*_, **__):
        raise Forbidden("no storage.objects.list")

    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for key in (tmp_path / "none.json", key_of_a_dead_token_service):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        check_buckets(PLACES)
    monkeypatch.setattr("pipeline.google_storage._list_one", refused)
    check_buckets(PLACES)


@pytest.mark.parametrize("platform", ["vertex", "kubeflow"])
def test_the_command_asks_before_it_compiles(platform, tmp_path, api, monkeypatch):
    from click.testing import CliRunner

    file = tmp_path / "mine.yaml"
    file.write_text(to_yaml(at(api, MINE)))
    with google_storage(tmp_path, "shapes-bucket") as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        done = CliRunner().invoke(
            main, ["submit", platform, "--config", str(file), "--data", "gs://shapes-bukcet/data"]
        )
    assert done.exit_code == 2
    assert "there is no bucket shapes-bukcet, which --data" in done.output
    assert "Loading" not in done.output


def test_the_command_ends_in_a_sentence(tmp_path, api):
    from click.testing import CliRunner

    api.refused = True
    file = tmp_path / "mine.yaml"
    file.write_text(to_yaml(at(api, MINE)))
    assert parse_config(file.read_text(), "mine") == at(api, MINE)
    output = str(tmp_path / "specs")
    done = CliRunner().invoke(
        main, ["submit", "kubeflow", "--config", str(file), "--output", output]
    )
    assert done.exit_code == 2
    assert "pointnet-parts: Kubeflow Pipelines at http://127.0.0.1" in done.output
