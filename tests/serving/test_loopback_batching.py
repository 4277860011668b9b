"""Requests of different sizes in one batch, as TensorFlow Serving makes them of its clients'."""

import threading
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from schema.errors import UserError
from serving.batches import MOST_CLOUDS
from serving.exported_model import ExportedModel
from serving.grpc_client import GrpcClient
from serving.padded_request import answers_of
from serving.rest_client import RestClient
from tests.model.export.made_network import cloud
from tests.serving.loopback.batching import Batcher, BatchingSettings
from tests.serving.loopback.refusal import Refusal
from tests.serving.loopback_server import LoopbackServer
from tests.serving.test_clients import CLIENTS, asking

CONFIG = Path(__file__).parents[2] / "serving" / "tensorflow_serving" / "config"
# So long that a batch is computed because it is full, and never because it has waited.
PATIENT = 10**9


def padding(rows, timeout=PATIENT, threads=1):
    return BatchingSettings(rows, timeout, threads, 100, pad_variable_length_inputs=True)


@contextmanager
def together(*calls):
    """The calls' futures, each in a thread of its own."""
    with futures.ThreadPoolExecutor(len(calls)) as pool:
        yield [pool.submit(call) for call in calls]


def predict(server, signature, **inputs):
    """An answer's arrays by name, without the client."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = server.name, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}


def padded_request(size, seed=0):
    return {
        "points": cloud(size, seed)[np.newaxis],
        "num_points": np.array([size], np.int64),
    }


@CLIENTS
def test_clouds_of_different_clients_in_one_batch_get_each_its_own_answer(kind, one_folder):
    alone = ExportedModel(one_folder)
    asked = [[cloud(60)], [cloud(1), cloud(25)], [cloud(9)]]
    with LoopbackServer(one_folder.parent, batching=padding(4)) as server:
        calls = [lambda c=c: asking(kind, server).segment(c, None) for c in asked]
        with together(*calls) as answers:
            for clouds, answer in zip(asked, answers, strict=True):
                for points, (part, probability) in zip(clouds, answer.result(), strict=True):
                    assert len(part) == len(points)
                    ((expected, sure),) = alone.segment([points], None)
                    np.testing.assert_array_equal(part, expected)
                    np.testing.assert_allclose(probability, sure, atol=1e-5)
        assert [sorted(rows) for rows in server.batches] == [[1, 1, 2]]


def test_what_is_filled_up_is_the_tensors_first_scalar_and_is_not_cut_off(one_folder):
    with LoopbackServer(one_folder.parent, batching=padding(2)) as server:
        points = cloud(30)
        calls = [
            lambda: predict(server, "serving_default", points=points[np.newaxis]),
            lambda: predict(server, "serving_default", points=cloud(50, 1)[np.newaxis]),
        ]
        with together(*calls) as answers:
            short, long = (answer.result() for answer in answers)
    assert short["part"].shape == long["part"].shape == (1, 50)
    # Why `serving_default` is not for a server that pads: the points that it added move the rest.
    filled = np.full((1, 50, 3), points[0, 0], np.float32)
    filled[0, :30] = points
    whole = tf.saved_model.load(str(one_folder))
    expected = whole.signatures["serving_default"](points=tf.constant(filled))
    np.testing.assert_allclose(short["probability"], expected["probability"], atol=1e-5)
    ((_, alone),) = ExportedModel(one_folder).segment([points], None)
    assert np.abs(short["probability"][0, :30] - alone).max() > 1e-3


def test_signatures_are_not_put_together(one_folder):
    with LoopbackServer(one_folder.parent, batching=padding(2)) as server:
        calls = [
            lambda i=i: predict(server, "serve_padded", **padded_request(20, i)) for i in (0, 1)
        ]
        calls += [
            lambda i=i: predict(server, "serving_default", points=cloud(20, i)[np.newaxis])
            for i in (0, 1)
        ]
        with together(*calls) as answers:
            assert all(answer.result()["part"].shape == (1, 20) for answer in answers)
        assert server.batches == [[1, 1], [1, 1]]


def test_a_request_that_waits_alone_is_answered_after_the_timeout(one_folder):
    with LoopbackServer(one_folder.parent, batching=padding(100, timeout=1000)) as server:
        assert predict(server, "serve_padded", **padded_request(20))["part"].shape == (1, 20)
        assert server.batches == [[1]]


@CLIENTS
def test_a_request_refused_for_anothers_in_its_batch_is_asked_again(kind, one_folder):
    bad = padded_request(20)
    bad["points"][0, 3] = np.nan
    with LoopbackServer(one_folder.parent, batching=padding(2)) as server:
        calls = [
            lambda: asking(kind, server).segment([cloud(30)], None),
            lambda: predict(server, "serve_padded", **bad),
        ]
        with together(*calls) as (answer, refused):
            with pytest.raises(grpc.RpcError, match="NaN or infinity"):
                refused.result()
            # The client's second request goes with this one.
            predict(server, "serve_padded", **padded_request(40))
            ((part, _),) = answer.result()
    ((expected, _),) = ExportedModel(one_folder).segment([cloud(30)], None)
    np.testing.assert_array_equal(part, expected)


def test_a_request_larger_than_a_batch_is_refused(one_folder):
    with LoopbackServer(one_folder.parent, batching=padding(2)) as server:
        client = asking(GrpcClient, server)
        with pytest.raises(UserError, match="Task size 3 is larger than maximum"):
            client.segment([cloud(5)] * 3, None)


def test_without_padding_different_sizes_in_one_batch_are_refused(one_folder):
    settings = BatchingSettings(2, PATIENT, 1, 100, pad_variable_length_inputs=False)
    with LoopbackServer(one_folder.parent, batching=settings) as server:
        calls = [lambda n=n: predict(server, "serve_padded", **padded_request(n)) for n in (20, 30)]
        with together(*calls) as answers:
            for answer in answers:
                with pytest.raises(grpc.RpcError, match="padding is turned off"):
                    answer.result()


@pytest.mark.parametrize(
    ("num_points", "said"),
    [(np.array([20, 20], np.int64), "equal 0th-dimension"), (np.int64(20), "at least one dim")],
)
def test_tensors_that_are_no_batch_are_refused_before_there_is_one(num_points, said, one_folder):
    with LoopbackServer(one_folder.parent, batching=padding(2)) as server:
        with pytest.raises(grpc.RpcError, match=said):
            predict(server, "serve_padded", points=cloud(20)[np.newaxis], num_points=num_points)
        assert not server.batches


def test_a_full_queue_is_unavailable():
    settings = BatchingSettings(4, PATIENT, 1, 1, pad_variable_length_inputs=True)
    began, go_on = threading.Event(), threading.Event()

    def run(inputs):
        began.set()
        go_on.wait()
        return inputs

    batcher = Batcher(run, settings, lambda rows: None)
    inputs = {"points": np.zeros((4, 2))}
    with together(lambda: batcher.answer(inputs)) as (first,):
        began.wait()
        # While that is computed there is room for one of these, and none for the other.
        with together(*[lambda: batcher.answer(inputs)] * 2) as others:
            (refused,), (waiting,) = futures.wait(others, return_when=futures.FIRST_COMPLETED)
            with pytest.raises(Refusal, match="queue to which this task was submitted is full"):
                refused.result()
            go_on.set()
            assert waiting.result()["points"].shape == first.result()["points"].shape == (4, 2)
    batcher.close()


def test_an_answer_longer_than_asked_is_cut_to_each_cloud():
    part = np.arange(12).reshape(2, 6)
    probability = np.arange(36, dtype=np.float64).reshape(2, 6, 3)
    (first, sure), (second, _) = answers_of({"part": part, "probability": probability}, [4, 2])
    assert first.tolist() == [0, 1, 2, 3] and second.tolist() == [6, 7]
    np.testing.assert_array_equal(sure, probability[0, :4])
    assert (first.dtype, sure.dtype) == (np.int64, np.float32)
    for sizes in ([7, 2], [4], [4, 2, 1]):
        with pytest.raises(UserError, match="expected part"):
            answers_of({"part": part, "probability": probability}, sizes)
    with pytest.raises(UserError, match="expected part"):
        answers_of({"part": part, "probability": probability[:, :5]}, [4, 2])


def test_the_model_servers_file_of_batching_parameters_is_read_and_written():
    settings = BatchingSettings(32, 2000, 4, 64, pad_variable_length_inputs=True)
    assert BatchingSettings.from_text(settings.to_text()) == settings
    assert BatchingSettings.from_text("# nothing\n") == BatchingSettings()
    text = 'thread_pool_name { value: "cloud_batches" }\nmax_batch_size: { value: 8 } # rows\n'
    assert BatchingSettings.from_text(text).max_batch_size == 8
    with pytest.raises(ValueError, match="some_other"):
        BatchingSettings.from_text("some_other { value: 3 }")


@CLIENTS
def test_our_own_configuration_answers_our_own_clients(kind, one_folder):
    text = (CONFIG / "batching.pbtxt").read_text()
    listed = text_format.Parse(
        (CONFIG / "models.pbtxt").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (config,) = listed.model_config_list.config
    config.base_path = str(one_folder.parent)
    clouds = [cloud(5 + i, i) for i in range(MOST_CLOUDS)]
    alone = ExportedModel(one_folder)
    with LoopbackServer(config=config, batching=BatchingSettings.from_text(text)) as server:
        calls = [lambda: asking(kind, server).segment(clouds, None)] * 4
        with together(*calls) as answers:
            for answer in answers:
                for points, (part, _) in zip(clouds, answer.result(), strict=True):
                    np.testing.assert_array_equal(part, alone.segment([points], None)[0][0])


def test_rest_rows_go_through_batches_too(one_folder):
    with LoopbackServer(one_folder.parent, batching=padding(2)) as server:
        url = f"http://{server.rest_address}/v1/models/{server.name}:predict"
        rows = [{"points": cloud(20, i).tolist(), "num_points": 20} for i in (0, 1)]
        body = {"signature_name": "serve_padded", "instances": rows}
        found = requests.post(url, json=body, timeout=30).json()["predictions"]
        columns = asking(RestClient, server).segment([cloud(20, 0), cloud(20, 1)], None)
    for row, (part, _) in zip(found, columns, strict=True):
        assert row["part"] == part.tolist()
