"""An exported model and a server of it, asked: the same answers, or a sentence that says why."""

import re
import socket
import threading

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from schema.errors import UserError
from serving.exported_model import ExportedModel, exported_folder
from serving.grpc_client import GrpcClient
from serving.rest_client import RestClient
from tests.model.export.made_network import cloud

SIZES = (60, 1, 25)
CLIENTS = pytest.mark.parametrize("kind", [GrpcClient, RestClient])
# Seconds between attempts, too short to be felt. gRPC 1.85 now and then never wakes up from pauses
# of a thousandth of a second.
PAUSE = 0.01


def asking(kind, server, **options):
    address = server.grpc_address if kind is GrpcClient else server.rest_address
    options = {"name": server.name, "first_pause": PAUSE, **options}
    return kind(address, **options)


def clouds():
    return [cloud(size, seed=size) for size in SIZES]


def assert_same(found, expected, tolerance=0.0):
    assert len(found) == len(expected)
    for (part, probability), (other_part, other_probability) in zip(found, expected, strict=True):
        assert (part.dtype, probability.dtype) == (np.int64, np.float32)
        np.testing.assert_array_equal(part, other_part)
        np.testing.assert_allclose(probability, other_probability, rtol=0, atol=tolerance)


def test_the_exported_model_answers_as_its_signature_for_one_cloud(one_folder):
    whole = tf.saved_model.load(str(one_folder))
    answers = ExportedModel(one_folder).segment(clouds(), None)
    for points, (part, probability) in zip(clouds(), answers, strict=True):
        alone = whole.signatures["serving_default"](points=tf.constant(points[np.newaxis]))
        np.testing.assert_array_equal(part, alone["part"][0])
        np.testing.assert_allclose(probability, alone["probability"][0], atol=1e-5)
        assert probability.shape == (len(points), 3)


@CLIENTS
def test_a_server_answers_exactly_as_the_exported_model(kind, one_folder, one_server):
    expected = ExportedModel(one_folder).segment(clouds(), None)
    tolerance = one_server.tolerance
    assert_same(asking(kind, one_server).segment(clouds(), None), expected, tolerance)
    versioned = asking(kind, one_server, version=one_server.version)
    assert_same(versioned.segment(clouds(), None), expected, tolerance)


@CLIENTS
@pytest.mark.parametrize("category", [0, 1])
def test_a_model_of_two_categories_is_told_which(kind, category, two_folder, two_server):
    expected = ExportedModel(two_folder).segment(clouds(), category)
    found = asking(kind, two_server).segment(clouds(), category)
    assert_same(found, expected, two_server.tolerance)
    # The classes of the other category have no probability.
    other = slice(2, 5) if category == 0 else slice(0, 2)
    assert not expected[0][1][:, other].any()


@CLIENTS
def test_a_request_is_repeated_while_the_server_is_unavailable(kind, one_double):
    # Larger than what gRPC keeps for a repetition by default.
    points = [cloud(40_000)]
    expected = asking(kind, one_double).segment(points, None)
    before, one_double.unavailable = one_double.refused, 3
    assert_same(asking(kind, one_double).segment(points, None), expected)
    assert one_double.refused == before + 3


def test_that_requests_are_repeated_is_told_once(one_double):
    told = []
    client = asking(RestClient, one_double, tell=told.append)
    for _ in range(2):
        one_double.unavailable = 2
        client.segment(clouds(), None)
    (line,) = told
    assert line.endswith("is unavailable over REST (status 503); trying 4 more times ...")


@CLIENTS
def test_a_server_that_stays_unavailable_is_given_up(kind, one_double):
    one_double.unavailable = 1000
    before = one_double.refused
    try:
        with pytest.raises(UserError, match="unavailable") as error:
            asking(kind, one_double).segment(clouds(), None)
    finally:
        one_double.unavailable = 0
    assert error.value.code == "unavailable"
    assert one_double.refused == before + 5


@CLIENTS
def test_no_server_is_one_sentence(kind):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match="Connection refused") as error:
            told = []
            client = kind(address, "pointnet_parts", first_pause=PAUSE, tell=told.append)
            client.segment(clouds(), None)
    assert error.value.code == "unavailable" and str(error.value).startswith(address)
    assert "\n" not in str(error.value)
    (line,) = told
    assert re.fullmatch(
        rf"{address} is unavailable .*Connection refused.*trying \d more times \.\.\.", line
    )


@CLIENTS
def test_a_host_that_is_not_known_is_asked_for_once(kind, monkeypatch):
    lookups = []

    def unknown(*arguments):
        lookups.append(arguments)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    # A proxy would be the one to look for it.
    monkeypatch.setenv("no_proxy", "no..host,nohost.invalid")
    told = []
    # A name that gRPC, which looks it up itself, refuses without asking anybody.
    client = kind("no..host:8500", "pointnet_parts", first_pause=PAUSE, tell=told.append)
    if kind is RestClient:
        client = kind("nohost.invalid:8501", "pointnet_parts", tell=told.append)
    with pytest.raises(UserError, match="finds no host of that name") as error:
        client.segment(clouds(), None)
    assert error.value.code == "unavailable" and not told
    assert len(lookups) == (kind is RestClient)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (GrpcClient, "nothing at ADDRESS speaks gRPC .*is this the port of REST"),
        (RestClient, r"ADDRESS gave no answer within 0\.05 s"),
    ],
)
def test_a_server_that_is_silent_is_given_up_after_the_timeout(kind, said):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        client = kind(address, "pointnet_parts", timeout=0.05, first_pause=PAUSE)
        with pytest.raises(UserError, match=said.replace("ADDRESS", address)) as error:
            client.segment(clouds(), None)
    assert error.value.code == "unavailable"


@pytest.mark.parametrize(
    ("kind", "port", "said"),
    [
        (GrpcClient, "rest_address", "nothing at ADDRESS speaks gRPC .*is this the port of REST"),
        (RestClient, "grpc_address", "is ADDRESS the port of REST"),
    ],
)
def test_the_other_protocols_port_is_said(kind, port, said, one_server):
    address = getattr(one_server, port)
    client = kind(address, one_server.name, first_pause=PAUSE)
    with pytest.raises(UserError, match=said.replace("ADDRESS", address)) as error:
        client.segment(clouds(), None)
    assert error.value.code == "unavailable" and str(error.value).isprintable()


@CLIENTS
def test_a_label_that_the_server_does_not_have_is_said(kind, one_server):
    with pytest.raises(UserError, match="no version with the label stable; ") as error:
        asking(kind, one_server, label="stable").segment(clouds(), None)
    assert error.value.code == "unavailable" and "--version" in str(error.value)


def test_a_server_that_speaks_grpc_and_answers_too_late_is_given_up(one_double, monkeypatch):
    served = threading.Event()
    monkeypatch.setattr(one_double, "changed", lambda outputs: served.wait() and outputs)
    client = asking(GrpcClient, one_double, timeout=0.5)
    try:
        with pytest.raises(UserError, match=r"no answer within 0\.5 s"):
            client.segment(clouds(), None)
    finally:
        served.set()


@CLIENTS
@pytest.mark.parametrize("other", [{"name": "else"}, {"version": 99}])
def test_a_model_that_is_not_served_is_said(kind, other, one_server):
    with pytest.raises(UserError, match="does not serve the model") as error:
        asking(kind, one_server, **other).segment(clouds(), None)
    assert error.value.code == "unavailable"


@CLIENTS
def test_what_the_model_refuses_is_its_own_sentence_and_others_go_on(kind, two_server):
    client = asking(kind, two_server)
    with pytest.raises(
        UserError, match=r"category: the model knows 0 to 1, .*; found \[[59] [59] [59]\]\.$"
    ) as error:
        client.segment(clouds(), 5)
    assert error.value.code != "unavailable"
    assert "\n" not in str(error.value)
    assert len(client.segment(clouds(), 1)) == 3


@CLIENTS
@pytest.mark.parametrize(
    "changed",
    [
        lambda outputs: {"part": outputs["part"], "other": outputs["part"]},
        lambda outputs: {**outputs, "part": outputs["part"][:, :-1]},
        lambda outputs: {**outputs, "probability": outputs["part"]},
    ],
)
def test_an_answer_of_another_form_is_refused(kind, changed, one_double, monkeypatch):
    monkeypatch.setattr(one_double, "changed", changed)
    with pytest.raises(UserError, match="expected part"):
        asking(kind, one_double).segment(clouds(), None)


def test_what_is_no_answer_of_tensorflow_serving_is_refused(one_double, monkeypatch):
    monkeypatch.setattr(requests.Response, "json", lambda self: {"hello": "world"})
    with pytest.raises(UserError, match="something else"):
        asking(RestClient, one_double).segment(clouds(), None)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.zeros((0, 3), np.float32), "found no point"),
        (np.zeros((4, 2), np.float32), r"\[4, 2\]"),
        (np.zeros(3, np.float32), r"\[3\]"),
        (np.array([["a", "b", "c"]]), "expected numbers"),
        (np.array([[0, 0, 0], [1, np.nan, 1]]), "point 2: found 1, nan, 1"),
        (np.array([[1e300, 0, 0]]), "point 1"),
    ],
)
def test_a_cloud_that_cannot_be_sent_is_refused_before_a_request(bad, said, one_double):
    before = len(one_double.requests)
    for kind in (GrpcClient, RestClient):
        with pytest.raises(UserError, match=said) as error:
            asking(kind, one_double).segment([cloud(5), bad], None)
        assert error.value.code != "unavailable"
    assert len(one_double.requests) == before


def test_numbers_of_other_types_are_sent_as_float32(one_server):
    points = cloud(30)
    client = asking(GrpcClient, one_server)
    whole = np.rint(points * 4).astype(np.int64)
    assert_same(client.segment([whole], None), client.segment([whole.astype(np.float32)], None))


def test_a_category_that_the_model_does_not_take_is_refused(one_folder, two_folder):
    with pytest.raises(UserError, match="takes no category"):
        ExportedModel(one_folder).segment(clouds(), 0)
    with pytest.raises(UserError, match="needs a category"):
        ExportedModel(two_folder).segment(clouds(), None)


def test_what_the_exported_model_refuses_is_its_own_sentence(two_folder):
    with pytest.raises(
        UserError, match=r"category: the model knows 0 to 1, .*; found \[[59] [59] [59]\]\.$"
    ) as error:
        ExportedModel(two_folder).segment(clouds(), 9)
    assert error.value.code != "unavailable"


def test_the_last_version_of_a_folder_is_found(tmp_path):
    for version in ("2", "10", "9"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").write_bytes(b"")
    assert exported_folder(tmp_path) == tmp_path / "10"
    assert exported_folder(tmp_path / "2") == tmp_path / "2"
    with pytest.raises(UserError, match="no SavedModel"):
        exported_folder(tmp_path / "nowhere")


def test_what_is_no_model_is_a_sentence(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"something else")
    with pytest.raises(UserError, match="cannot be loaded as a model") as error:
        ExportedModel(tmp_path)
    assert "\n" not in str(error.value)


def test_a_server_tells_metadata_and_status_by_grpc_and_rest(one_server):
    with grpc.insecure_channel(one_server.grpc_address) as channel:
        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name = one_server.name
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(asked)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert answer.metadata["signature_def"].Unpack(signatures)
        inputs = signatures.signature_def["serve_padded"].inputs
        assert set(inputs) == {"points", "num_points"}
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = one_server.name
        found = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status)
        assert [one.version for one in found.model_version_status] == [one_server.version]
    url = f"http://{one_server.rest_address}/v1/models/{one_server.name}"
    state = requests.get(url, timeout=30).json()["model_version_status"][0]
    assert (state["version"], state["state"]) == ("7", "AVAILABLE")
    metadata = requests.get(f"{url}/metadata", timeout=30).json()["metadata"]["signature_def"]
    assert "serve_padded" in metadata["signature_def"]
    assert requests.get(f"{url}/versions/3", timeout=30).status_code == 404
