"""After a deployment, what has no traffic goes from that endpoint, and nothing else ever does."""

import logging

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform
from google.cloud.aiplatform.utils import gcs_utils
from tfx.types import standard_artifacts
from tfx.utils import json_utils

from components.endpoint_pusher.executor import ENCRYPTION_KEY, Executor
from tests.components.endpoint_pusher.vertex_services import VertexServices

NAME = "parts"


@pytest.fixture
def vertex(monkeypatch):
    """The double of Vertex AI's services, empty."""
    services = VertexServices()
    for noun in (aiplatform.Endpoint, aiplatform.Model):
        monkeypatch.setattr(noun, "_instantiate_client", lambda *_, **__: services)
    # A pipeline's root is in a bucket; the test's is not, and would be copied to one.
    monkeypatch.setattr(gcs_utils, "stage_local_data_in_gcs", lambda *_, **__: "gs://bucket/model")
    aiplatform.init(credentials=AnonymousCredentials())
    yield services
    aiplatform.initializer.global_config.__init__()


def push(folder, blessed=1, **config):
    """Runs the component; returns the artifact that says what was pushed."""
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
        {
            "custom_config": json_utils.dumps(
                {
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
                    **config,
                }
            )
        },
    )
    return pushed


def is_pushed(artifact):
    return artifact.get_int_custom_property("pushed") == 1


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return lambda: caplog.text


def test_a_former_model_goes(vertex, tmp_path, said):
    endpoint = vertex.add_endpoint(NAME, v1=None, v2=0, v3=100)
    assert is_pushed(push(tmp_path))
    assert vertex.deployed(endpoint) == {"new"}
    assert vertex.endpoints[endpoint].traffic_split == {"99": 100}
    assert f"Endpoint {NAME} ({endpoint}): undeployed 3 (v3), which had no traffic" in said()


def test_a_first_model_has_none_before_it(vertex, tmp_path):
    assert is_pushed(push(tmp_path))
    (endpoint,) = vertex.endpoints
    assert vertex.deployed(endpoint) == {"new"}
    assert "undeploy_model" not in vertex.calls


@pytest.mark.parametrize("key", ["projects/p/locations/l/keyRings/r/cryptoKeys/k", ""])
def test_model_and_endpoint_are_under_the_key_that_the_config_names(vertex, tmp_path, key):
    push(tmp_path, **({ENCRYPTION_KEY: key} if key else {}))
    made = [*vertex.models.values(), *vertex.endpoints.values()]
    assert [one.encryption_spec.kms_key_name for one in made] == [key, key]


@pytest.mark.parametrize("new, canary", [(71, 29), (29, 71)])
def test_a_model_with_traffic_stays_with_just_that_traffic(vertex, tmp_path, new, canary):
    """The client, left to itself, makes 28 and 72 of one of these."""

    def split(endpoint):
        endpoint.traffic_split = {"99": new, "3": canary, "2": 0}

    vertex.after_deployment = split
    endpoint = vertex.add_endpoint(NAME, v1=None, v2=40, v3=60)
    push(tmp_path)
    assert vertex.deployed(endpoint) == {"new", "v3"}
    assert vertex.endpoints[endpoint].traffic_split == {"99": new, "3": canary}


def test_a_model_that_is_given_traffic_meanwhile_stays(vertex, tmp_path):
    def move_all_to_v3(endpoint):
        endpoint.traffic_split = {"3": 100}

    endpoint = vertex.add_endpoint(NAME, v1=0, v3=100)
    vertex.after_undeployment = move_all_to_v3
    push(tmp_path)
    assert vertex.deployed(endpoint) == {"new", "v3"}


def test_the_model_just_deployed_stays_where_its_traffic_was_taken_back(vertex, tmp_path):
    def back_to_v3(endpoint):
        endpoint.traffic_split = {"3": 100}

    endpoint = vertex.add_endpoint(NAME, v1=0, v3=100)
    vertex.after_deployment = back_to_v3
    push(tmp_path)
    assert vertex.deployed(endpoint) == {"new", "v3"}


def test_of_endpoints_with_one_name_only_the_one_deployed_to_is_touched(vertex, tmp_path):
    taken = vertex.add_endpoint(NAME, v1=100)
    namesake = vertex.add_endpoint(NAME, v2=0, v3=100)
    other = vertex.add_endpoint("other", v4=0, v5=100)
    push(tmp_path)
    assert vertex.deployed(taken) == {"new"}
    assert vertex.deployed(namesake) == {"v2", "v3"}
    assert vertex.deployed(other) == {"v4", "v5"}


def test_what_is_not_blessed_asks_nothing_of_vertex(vertex, tmp_path):
    endpoint = vertex.add_endpoint(NAME, v1=0, v2=100)
    assert not is_pushed(push(tmp_path, blessed=0))
    assert vertex.deployed(endpoint) == {"v1", "v2"}
    assert vertex.calls == []


def test_nothing_is_undeployed_where_the_deployment_failed(vertex, tmp_path, monkeypatch):
    def fail(**_):
        raise ServiceUnavailable("no machine is left")

    endpoint = vertex.add_endpoint(NAME, v1=0, v2=100)
    monkeypatch.setattr(vertex, "deploy_model", fail)
    with pytest.raises(ServiceUnavailable, match="no machine is left"):
        push(tmp_path)
    assert vertex.deployed(endpoint) == {"v1", "v2"}


def test_what_cannot_be_undeployed_is_said_and_the_push_stands(vertex, tmp_path, said):
    endpoint = vertex.add_endpoint(NAME, v1=0, v2=100)
    vertex.unwilling = {"1"}
    assert is_pushed(push(tmp_path))
    assert vertex.deployed(endpoint) == {"new", "v1"}
    (line,) = [line for line in said().splitlines() if "still billed" in line]
    assert f"Endpoint {NAME} ({endpoint}): the deployed model 1 (v1) could not be undepl" in line
    assert "it is unwilling" in line
    assert "undeploy-model 1 --region europe-west4 --deployed-model-id 1`" in line


def test_an_endpoint_that_cannot_be_looked_through_is_said_and_the_push_stands(
    vertex, tmp_path, said
):
    def break_down(endpoint):
        vertex.list_endpoints = fail

    def fail(**_):
        raise ServiceUnavailable("come back later")

    endpoint = vertex.add_endpoint(NAME, v1=0, v2=100)
    vertex.after_deployment = break_down
    assert is_pushed(push(tmp_path))
    assert vertex.deployed(endpoint) == {"new", "v1", "v2"}
    assert f"Endpoint {NAME} could not be looked through" in said()
    assert "come back later" in said()


def test_a_model_that_somebody_undeployed_at_once_leads_to_no_guess(vertex, tmp_path, said):
    def take_away(endpoint):
        del endpoint.deployed_models[-1]
        endpoint.traffic_split = {"2": 100}

    vertex.after_deployment = take_away
    endpoint = vertex.add_endpoint(NAME, v1=0, v2=100)
    assert is_pushed(push(tmp_path))
    assert vertex.deployed(endpoint) == {"v1", "v2"}
    assert f"No endpoint named {NAME} has the model" in said()
