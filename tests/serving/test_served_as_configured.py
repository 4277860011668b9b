"""The double of TensorFlow Serving with our own config: labels and batching as documented."""

import shutil
from types import SimpleNamespace

import pytest

from model.export.signatures import export
from schema.errors import UserError
from serving.batches import MOST_CLOUDS
from serving.exported_model import ExportedModel
from serving.grpc_client import GrpcClient
from serving.model_config import SHIPPED, empty_config, model_of, serve_labelled
from serving.rest_client import RestClient
from tests.model.export.made_network import ROCKET, cloud, make_network
from tests.serving.loopback.batching import BatchingSettings
from tests.serving.loopback_server import LoopbackServer
from tests.serving.test_clients import CLIENTS, PAUSE, assert_same, clouds

NAME = "pointnet_parts"


@pytest.fixture(scope="module")
def pushed(one_folder, tmp_path_factory):
    """A serving folder with versions 8 and 9, and what each of them answers."""
    base = tmp_path_factory.mktemp("pushed") / NAME
    shutil.copytree(one_folder, base / "8")
    export(make_network(len(ROCKET.parts), 1, seed=5), (ROCKET,), str(base / "9"))
    answers = {
        version: ExportedModel(base / str(version)).segment(clouds(), None) for version in (8, 9)
    }
    return SimpleNamespace(base=base, answers=answers)


def configured(pushed, *steps):
    """The model's config after `pointnet-parts labels` was given some steps."""
    model = model_of(empty_config(), NAME, str(pushed.base.parent))
    for labels, also in steps:
        serve_labelled(model, labels, also, (8, 9))
    return model


def asked(kind, server, **options):
    address = server.grpc_address if kind is GrpcClient else server.rest_address
    return kind(address, NAME, first_pause=PAUSE, timeout=60, **options).segment(clouds(), None)


FIRST = ({"stable": 8}, ())
CANARY = ({"stable": 8, "canary": 9}, ())
PROMOTED = ({"stable": 9}, (8,))
RETIRED = ({"stable": 9}, ())


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([FIRST], {"stable": 8, "": 8}),
        # Who asks for no label gets the largest version that is loaded: the canary.
        ([FIRST, CANARY], {"stable": 8, "canary": 9, "": 9}),
        ([FIRST, CANARY, PROMOTED], {"stable": 9, "": 9}),
        ([FIRST, CANARY, PROMOTED, ({"stable": 8}, (9,))], {"stable": 8, "": 9}),
        ([FIRST, CANARY, PROMOTED, RETIRED], {"stable": 9, "": 9}),
    ],
)
def test_each_step_of_a_canary_gives_each_client_its_version(steps, expected, pushed):
    config = configured(pushed, *steps)
    with LoopbackServer(config=config) as server:
        for version in config.model_version_policy.specific.versions:
            server.wait_until(version)
        for label, version in expected.items():
            for kind in (GrpcClient, RestClient):
                assert_same(asked(kind, server, label=label), pushed.answers[version])


@CLIENTS
def test_a_label_that_the_server_does_not_have_is_said(kind, pushed):
    with LoopbackServer(config=configured(pushed, FIRST)) as server:
        server.wait_until(8)
        with pytest.raises(UserError, match="has no version with the label canary; "):
            asked(kind, server, label="canary")


@CLIENTS
def test_the_shipped_batching_takes_our_clients_largest_request_and_says_what_it_does_not(
    kind, pushed
):
    text = (SHIPPED / "config" / "batching.pbtxt").read_text("utf-8")
    settings = BatchingSettings.from_text(text)
    with LoopbackServer(pushed.base, NAME, settings) as server:
        server.wait_until(9)
        address = server.grpc_address if kind is GrpcClient else server.rest_address
        client = kind(address, NAME, first_pause=PAUSE, timeout=60)
        some = [cloud(10 + number, seed=number) for number in range(MOST_CLOUDS)]
        expected = ExportedModel(pushed.base / "9").segment(some, None)
        assert_same(client.segment(some, None), expected)
        too_many = [cloud(5, seed=number) for number in range(settings.max_batch_size + 1)]
        with pytest.raises(UserError, match="is larger than maximum input batch size") as error:
            client.segment(too_many, None)
        # So that the clouds are asked for again, each by itself.
        assert error.value.code != "unavailable"


def test_requests_go_to_all_addresses_that_a_name_stands_for(pushed):
    with LoopbackServer(pushed.base) as first, LoopbackServer(pushed.base) as second:
        first.wait_until(9)
        second.wait_until(9)
        client = GrpcClient(f"ipv4:{first.grpc_address},{second.grpc_address}", NAME, timeout=60)
        # The first requests wait for the first connection that stands.
        for _ in range(200):
            assert_same(client.segment(clouds(), None), pushed.answers[9])
            if first.requests and second.requests:
                break
        assert first.requests and second.requests
