"""Handing a compiled pipeline to a cluster: the platforms' own clients, what they answer doubled.

Kubeflow's client is real, and talks to a small double of its API on this machine; of Vertex AI's
client only the calls that would leave the machine are replaced.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform

from pipeline.cli import main
from pipeline.config import ConfigError, load_config, parse_config, to_yaml
from pipeline.specs import compile_specs
from pipeline.submission import (
    Submission,
    SubmissionError,
    run_parameters,
    submit_to_kubeflow,
    submit_to_vertex,
)

EXAMPLE = load_config("cluster_example")
CHANGES = run_parameters("gs://bucket/other/", 500)


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    vertex, kubeflow = compile_specs(EXAMPLE, "", [], tmp_path_factory.mktemp("specs"))
    return {"vertex": vertex, "kubeflow": kubeflow}


def test_the_parameters_of_a_run():
    assert CHANGES["data_root"] == "gs://bucket/other"
    assert json.loads(CHANGES["train_args"]) == {"splits": ["train"], "num_steps": 500}
    assert run_parameters("", None) == {}
    with pytest.raises(ConfigError, match="the data is 'here'; a cluster reads from a bucket"):
        run_parameters("here", None)


class KubeflowApi(BaseHTTPRequestHandler):
    """What Kubeflow Pipelines answers to a client that starts a run."""

    def do_GET(self):
        if self.path.startswith("/apis/v2beta1/experiments"):
            self.answer({"experiments": [{"experiment_id": "e1", "display_name": "x"}]})
        elif self.path.startswith("/apis/v2beta1/runs/"):
            self.answer({"run_id": "r1", "state": self.server.state})
        else:
            self.answer({"multi_user": False})

    def do_POST(self):
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), KubeflowApi)
    server.posted, server.refused, server.state = [], False, "SUCCEEDED"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def at(api):
    """The example, with that API's address."""
    host = f"http://127.0.0.1:{api.server_port}"
    kubeflow = EXAMPLE.kubeflow.model_copy(update={"host": host})
    return EXAMPLE.model_copy(update={"kubeflow": kubeflow})


def test_kubeflow_is_given_the_spec_and_the_parameters_and_waited_for(api, specs):
    said = []
    submit_to_kubeflow(Submission(at(api), specs["kubeflow"], CHANGES, "", True), said.append)
    assert said == ["run r1", "the run has succeeded"]
    (run,) = (body for path, body in api.posted if path.endswith("/runs"))
    assert run["runtime_config"]["parameters"] == CHANGES
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
    assert run["runtime_config"]["parameters"] == CHANGES


def test_a_failed_run_and_a_refusal_are_said(api, specs):
    api.state = "FAILED"
    with pytest.raises(SubmissionError, match="the run r1 ended as FAILED"):
        submit_to_kubeflow(Submission(at(api), specs["kubeflow"], {}, "", True), print)
    api.refused = True
    with pytest.raises(SubmissionError, match=r"Kubeflow Pipelines at http://127.*400"):
        submit_to_kubeflow(Submission(at(api), specs["kubeflow"], {}, "", False), print)


def test_no_kubeflow_there_is_said(specs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    kubeflow = EXAMPLE.kubeflow.model_copy(update={"host": "http://127.0.0.1:9"})
    config = EXAMPLE.model_copy(update={"kubeflow": kubeflow})
    with pytest.raises(SubmissionError, match=r"127.0.0.1:9 cannot be reached .*port-forward"):
        submit_to_kubeflow(Submission(config, specs["kubeflow"], {}, "", False), print)


@pytest.fixture
def vertex_calls(monkeypatch):
    """What would have been asked of Vertex AI."""
    calls = []

    def record(name, answer=None):
        def call(self, *arguments, **words):
            self._gca_resource.name = "projects/p/locations/l/pipelineJobs/j"
            calls.append((name, self, words))
            return answer

        return call

    class Schedule:
        resource_name = "projects/p/locations/l/schedules/s"

    monkeypatch.setattr(aiplatform.PipelineJob, "submit", record("submit"))
    monkeypatch.setattr(aiplatform.PipelineJob, "wait", record("wait"))
    monkeypatch.setattr(
        aiplatform.PipelineJob, "create_schedule", record("create_schedule", Schedule)
    )
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


def test_a_run_that_fails_on_vertex_is_said(vertex_calls, specs, monkeypatch):
    def wait(self):
        raise RuntimeError("Job failed with:\ncode: 9\nmessage: The Trainer failed")

    monkeypatch.setattr(aiplatform.PipelineJob, "wait", wait)
    with pytest.raises(SubmissionError, match=r"\(example-project, europe-west4\): Job failed"):
        submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}, "", True), print)


def test_without_credentials_the_way_to_them_is_said(specs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(SubmissionError, match=r"no credentials .*`gcloud auth application-"):
        submit_to_vertex(Submission(EXAMPLE, specs["vertex"], {}, "", False), print)


def test_the_command_ends_in_a_sentence(tmp_path, api):
    from click.testing import CliRunner

    api.refused = True
    file = tmp_path / "mine.yaml"
    file.write_text(to_yaml(at(api)))
    assert parse_config(file.read_text(), "mine") == at(api)
    output = str(tmp_path / "specs")
    done = CliRunner().invoke(
        main, ["submit", "kubeflow", "--config", str(file), "--output", output]
    )
    assert done.exit_code == 2
    assert "pointnet-parts: Kubeflow Pipelines at http://127.0.0.1" in done.output
