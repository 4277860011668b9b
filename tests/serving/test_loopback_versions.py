"""The double switches versions as TensorFlow Serving does: asked while it does so."""

import shutil

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from model.export.signatures import export
from schema.errors import UserError
from serving.exported_model import ExportedModel
from serving.grpc_client import GrpcClient
from tests.model.export.made_network import ROCKET, cloud, make_network
from tests.serving.loopback_server import LoopbackServer

STATES = get_model_status_pb2.ModelVersionStatus
POINTS = cloud(40)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models that answer differently: the folders to publish, and what they answer."""
    folders = []
    for seed in (3, 4):
        folder = tmp_path_factory.mktemp("models") / str(seed)
        export(make_network(3, 1, seed), (ROCKET,), str(folder))
        folders.append(folder)
    answers = [ExportedModel(folder).segment([POINTS], None)[0] for folder in folders]
    assert np.abs(answers[0][1] - answers[1][1]).max() > 0.01
    return folders, answers


def publish(folder, base, number):
    """A version that appears whole, as Pusher's do."""
    base.mkdir(exist_ok=True)
    partial = base.parent / f"{base.name}_{number}"
    shutil.copytree(folder, partial)
    partial.rename(base / str(number))


def server_of(base, **options):
    return LoopbackServer(base, poll_seconds=0.01, load_retries=0, **options)


def states(server):
    """Of all versions, by number: what the status says of them."""
    with grpc.insecure_channel(server.grpc_address) as channel:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = server.name
        answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    return {one.version: one for one in answer.model_version_status}


def assert_answers_as(server, expected, **options):
    client = GrpcClient(server.grpc_address, server.name, first_pause=0.01, **options)
    ((part, probability),) = client.segment([POINTS], None)
    client.close()
    np.testing.assert_array_equal(part, expected[0])
    np.testing.assert_allclose(probability, expected[1], atol=1e-6)


def test_a_new_version_is_switched_to_and_a_withdrawn_one_gives_way_to_the_one_before(
    models, tmp_path
):
    (first, second), answers = models
    base = tmp_path / "base"
    publish(first, base, 9)
    with server_of(base) as server:
        assert_answers_as(server, answers[0])
        # Larger as a number, not as text.
        publish(second, base, 10)
        server.wait_until(10)
        server.wait_until(9, "END")
        assert_answers_as(server, answers[1])
        with pytest.raises(UserError, match="does not serve the model"):
            assert_answers_as(server, answers[0], version=9)
        shutil.rmtree(base / "10")
        server.wait_until(9)
        server.wait_until(10, "END")
        assert_answers_as(server, answers[0])


def test_the_old_version_answers_until_its_last_request_is_answered(models, tmp_path):
    (first, second), answers = models
    base = tmp_path / "base"
    publish(first, base, 1)
    with server_of(base) as server:
        spec = predict_pb2.PredictRequest().model_spec
        spec.name = server.name
        with server.versions.using(spec) as old:
            publish(second, base, 2)
            server.wait_until(2)
            server.wait_until(1, "UNLOADING")
            # New requests have the new version, and those under way the one they began with.
            assert_answers_as(server, answers[1])
            inputs = {"points": POINTS[np.newaxis]}
            answer = old.answer("serving_default", inputs)
            np.testing.assert_array_equal(answer["part"][0], answers[0][0])
        server.wait_until(1, "END")


def half_written(folder):
    (folder / "saved_model.pb").unlink()


def without_weights(folder):
    shutil.rmtree(folder / "variables")


def of_another_program(folder):
    (folder / "saved_model.pb").write_bytes(b"something else")


def with_damaged_warm_up(folder):
    (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records" * 10)


@pytest.mark.parametrize(
    "damage", [half_written, without_weights, of_another_program, with_damaged_warm_up]
)
def test_a_version_that_cannot_be_loaded_changes_nothing_and_its_status_says_why(
    damage, models, tmp_path
):
    (first, second), answers = models
    base = tmp_path / "base"
    publish(first, base, 1)
    broken = shutil.copytree(second, tmp_path / "broken")
    damage(broken)
    with server_of(base) as server:
        publish(broken, base, 2)
        server.wait_until(2, "END")
        assert_answers_as(server, answers[0])
        found = states(server)
        assert found[1].state == STATES.AVAILABLE
        assert found[2].status.error_code != 0 and found[2].status.error_message
        publish(second, base, 3)
        server.wait_until(3)
        assert_answers_as(server, answers[1])


def test_a_version_that_is_written_in_place_is_served_when_it_is_whole(models, tmp_path):
    (first, second), answers = models
    base = tmp_path / "base"
    publish(first, base, 1)
    with LoopbackServer(base, poll_seconds=0.01, retry_seconds=0.01, load_retries=10**6) as server:
        (base / "2").mkdir()
        server.wait_until(2, "LOADING")
        assert_answers_as(server, answers[0])
        shutil.copytree(second, base / "2", dirs_exist_ok=True)
        server.wait_until(2)
        assert_answers_as(server, answers[1])


def test_a_server_that_starts_with_nothing_takes_what_appears(models, tmp_path):
    base = tmp_path / "base"
    with server_of(base) as server:
        with pytest.raises(UserError, match="does not serve the model"):
            assert_answers_as(server, None)
        assert requests.get(
            f"http://{server.rest_address}/v1/models/{server.name}", timeout=30
        ).json() == {"error": f"Could not find any versions of model {server.name}"}
        publish(models[0][0], base, 1)
        server.wait_until(1)
        assert_answers_as(server, models[1][0])


def test_warm_up_requests_are_played_before_a_version_is_available(models, tmp_path):
    base = tmp_path / "base"
    publish(models[0][0], base, 1)
    with server_of(base) as server:
        spec = predict_pb2.PredictRequest().model_spec
        spec.name = server.name
        with server.versions.using(spec) as served:
            # Three signatures with three sizes each.
            assert served.model.warmed_up == 9
        # They are no requests of anybody's.
        assert not server.requests


def test_labels_and_policy_of_the_model_servers_own_configuration(models, tmp_path):
    (first, second), answers = models
    base = tmp_path / "base"
    for number, folder in ((1, first), (2, second), (3, first)):
        publish(folder, base, number)
    config = text_format.Parse(
        f'name: "planes" base_path: "{base}" model_platform: "tensorflow"'
        " model_version_policy { specific { versions: 1 versions: 2 } }"
        ' version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }',
        model_server_config_pb2.ModelConfig(),
    )
    with server_of("", config=config) as server:
        assert sorted(states(server)) == [1, 2]
        assert_answers_as(server, answers[1])
        assert_answers_as(server, answers[0], version=1)
        for label, expected in (("stable", answers[0]), ("canary", answers[1])):
            with grpc.insecure_channel(server.grpc_address) as channel:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = "planes"
                request.model_spec.version_label = label
                request.inputs["points"].CopyFrom(tf.make_tensor_proto(POINTS[np.newaxis]))
                answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
            np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["part"])[0], expected[0])
            url = f"http://{server.rest_address}/v1/models/planes/labels/{label}"
            body = {"instances": POINTS[np.newaxis].tolist()}
            rows = requests.post(f"{url}:predict", json=body, timeout=30).json()["predictions"]
            assert rows[0]["part"] == expected[0].tolist()
            status = requests.get(url, timeout=30).json()["model_version_status"]
            assert [one["state"] for one in status] == ["AVAILABLE"]
        url = f"http://{server.rest_address}/v1/models/planes/labels/old:predict"
        answer = requests.post(url, json={"instances": POINTS[np.newaxis].tolist()}, timeout=30)
        assert (answer.status_code, "version label: old" in answer.json()["error"]) == (400, True)


def test_metadata_are_those_of_the_version_asked_for(models, tmp_path):
    base = tmp_path / "base"
    publish(models[0][0], base, 1)
    with server_of(base) as server, grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = server.name
        assert stub.GetModelMetadata(request).model_spec.version.value == 1
        request.model_spec.version.value = 2
        with pytest.raises(grpc.RpcError, match="Servable not found"):
            stub.GetModelMetadata(request)
        request.model_spec.version.value = 1
        del request.metadata_field[:]
        with pytest.raises(grpc.RpcError, match="Metadata field none is not supported"):
            stub.GetModelMetadata(request)
