"""After a deployment, models without traffic are undeployed from that endpoint; nothing else."""

import logging

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform
from google.cloud.aiplatform.utils import gcs_utils
from tfx.types import standard_artifacts
from tfx.utils import json_utils

from components.endpoint_pusher import ENCRYPTION_KEY, Executor
from tests.components.vertex_services import VertexServices

NAME = "parts"
CONFIG = {
    "ai_platform_enable_vertex": True,
    "ai_platform_vertex_region": "europe-west4",
    "ai_platform_vertex_container_image_uri": "image:1",
    "ai_platform_serving_args": {
        "project": "example-project",
        "endpoint_name": NAME,
        "machine_type": "n1-standard-4",
        "min_replica_count": 1,
        "max_replica_count": 2,
        "traffic_percentage": 100,
    },
}


@pytest.fixture
def vertex(monkeypatch, caplog):
    """The fake of Vertex AI's services, empty."""
    caplog.set_level(logging.INFO, logger="absl")
    services = VertexServices()
    for noun in (aiplatform.Endpoint, aiplatform.Model):
        monkeypatch.setattr(noun, "_instantiate_client", lambda *_, **__: services)
    # A pipeline's root is in a bucket; the test's is not, and would be copied to one.
    monkeypatch.setattr(gcs_utils, "stage_local_data_in_gcs", lambda *_, **__: "gs://bucket/model")
    aiplatform.init(credentials=AnonymousCredentials())
    yield services
    aiplatform.initializer.global_config.__init__()


def push(folder, blessed=1, **config):
    """Runs the executor; returns whether it pushed the model."""
    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    model.uri, blessing.uri = str(folder / "model"), str(folder / "blessing")
    (folder / "model" / "Format-Serving").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "Format-Serving" / "saved_model.pb").write_text("graph")
    blessing.set_int_custom_property("blessed", blessed)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    Executor().Do(
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"custom_config": json_utils.dumps({**CONFIG, **config})},
    )
    return pushed.get_int_custom_property("pushed") == 1


def test_former_models_without_traffic_go_from_that_endpoint_only(vertex, tmp_path, caplog):
    endpoint = vertex.add_endpoint(NAME, v1=None, v2=0, v3=100)
    namesake = vertex.add_endpoint(NAME, v2=0, v3=100)
    other = vertex.add_endpoint("other", v4=0, v5=100)
    assert push(tmp_path)
    assert vertex.deployed(endpoint) == {"new"}
    assert vertex.endpoints[endpoint].traffic_split == {"99": 100}
    assert vertex.deployed(namesake) == {"v2", "v3"} and vertex.deployed(other) == {"v4", "v5"}
    assert f"model 3 of endpoint {endpoint}" in caplog.text


@pytest.mark.parametrize("key", ["projects/p/locations/l/keyRings/r/cryptoKeys/k", ""])
def test_a_new_model_and_endpoint_have_the_key_of_the_config(vertex, tmp_path, key):
    assert push(tmp_path, **({ENCRYPTION_KEY: key} if key else {}))
    made = [*vertex.models.values(), *vertex.endpoints.values()]
    assert [one.encryption_spec.kms_key_name for one in made] == [key, key]


# The client, left to itself, makes 28 and 72 of one of the first two; in the last, somebody takes
# the traffic of the new model back.
@pytest.mark.parametrize("split", [{"99": 71, "3": 29}, {"99": 29, "3": 71}, {"3": 100}])
def test_models_with_traffic_and_the_new_one_stay(vertex, tmp_path, split):
    def move(endpoint):
        endpoint.traffic_split = {**split, "2": 0}

    vertex.after_deployment = move
    endpoint = vertex.add_endpoint(NAME, v1=None, v2=40, v3=60)
    assert push(tmp_path)
    assert vertex.deployed(endpoint) == {"new", "v3"}
    assert vertex.endpoints[endpoint].traffic_split == split


def test_a_model_that_is_given_traffic_meanwhile_stays(vertex, tmp_path):
    def move_all_to_v3(endpoint):
        endpoint.traffic_split = {"3": 100}

    endpoint = vertex.add_endpoint(NAME, v1=0, v3=100)
    vertex.after_undeployment = move_all_to_v3
    assert push(tmp_path)
    assert vertex.deployed(endpoint) == {"new", "v3"}


def test_without_a_blessing_or_a_deployment_nothing_is_undeployed(vertex, tmp_path, monkeypatch):
    def fail(**_):
        raise ServiceUnavailable("no machine is left")

    endpoint = vertex.add_endpoint(NAME, v1=0, v2=100)
    assert not push(tmp_path, blessed=0)
    assert vertex.calls == []
    monkeypatch.setattr(vertex, "deploy_model", fail)
    with pytest.raises(ServiceUnavailable):
        push(tmp_path)
    assert vertex.deployed(endpoint) == {"v1", "v2"}


def test_a_failure_to_undeploy_is_logged_and_the_push_stands(vertex, tmp_path, caplog):
    endpoint = vertex.add_endpoint(NAME, v1=0, v2=100)
    vertex.unwilling = {"1"}
    assert push(tmp_path)
    assert vertex.deployed(endpoint) == {"new", "v1"}
    (line,) = [line for line in caplog.text.splitlines() if "still billed" in line]
    command = "undeploy-model 1 --deployed-model-id 1 --region europe-west4`"
    assert all(fact in line for fact in (endpoint, "it is unwilling", command))


def test_an_endpoint_that_cannot_be_listed_is_logged_and_the_push_stands(vertex, tmp_path, caplog):
    def fail(**_):
        raise ServiceUnavailable("come back later")

    def break_down(endpoint):
        vertex.list_endpoints = fail

    endpoint = vertex.add_endpoint(NAME, v1=0, v2=100)
    vertex.after_deployment = break_down
    assert push(tmp_path)
    assert vertex.deployed(endpoint) == {"new", "v1", "v2"}
    assert f"Endpoint {NAME} " in caplog.text and "come back later" in caplog.text
