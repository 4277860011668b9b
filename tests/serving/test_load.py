"""Load and abuse of the server and its clients."""

import re
import shutil

import numpy as np
import pytest

from model.export.settings import ServingSettings
from model.export.signatures import export
from serving.exported_model import ExportedModel
from serving.grpc_client import GrpcClient
from serving.rest_client import RestClient
from tests.model.export.made_network import MUG, ROCKET, cloud, make_network
from tests.serving.load import run_load
from tests.serving.loopback.batching import BatchingSettings
from tests.serving.loopback_server import LoopbackServer
from tests.serving.malformed import LIMIT, all_malformed

BATCHING = BatchingSettings(16, 1000, 2, 100, pad_variable_length_inputs=True)
REQUESTS, CLIENTS, ROUNDS = 320, 16, 5


@pytest.mark.slow
def test_a_version_switched_under_load_leaves_no_request_unanswered_or_wrong(tmp_path):
    folders = [tmp_path / "base" / "1", tmp_path / "2"]
    for seed, folder in enumerate(folders, start=3):
        export(make_network(3, 1, seed), (ROCKET,), str(folder))
    clouds = [cloud(size, size) for size in (1, 2, 17, 60, 130, 200)]
    known = [ExportedModel(folder).segment(clouds, None) for folder in folders]
    with LoopbackServer(folders[0].parent, batching=BATCHING) as server:
        clients = [
            GrpcClient(server.grpc_address, server.name)
            if number % 4
            else RestClient(server.rest_address, server.name)
            for number in range(CLIENTS)
        ]

        def switch():
            shutil.move(folders[1], folders[0].parent / "2")
            server.wait_until(2)
            server.wait_until(1, "END")

        found = run_load(clients, REQUESTS, clouds, known, switch)
    assert not found.failures
    assert found.wrong == 0
    assert len(found.seconds) == sum(found.versions.values()) >= REQUESTS
    # Both versions were asked, and requests of several clients went together.
    assert set(found.versions) == {0, 1}
    assert max(map(len, server.batches)) > 1


@pytest.fixture(scope="module")
def abused(tmp_path_factory):
    folder = tmp_path_factory.mktemp("abused") / "1"
    export(make_network(5, 2), (MUG, ROCKET), str(folder), ServingSettings(most_points=LIMIT))
    with LoopbackServer(folder.parent, batching=BATCHING) as server:
        yield server


@pytest.fixture(scope="module")
def abused_without_batching(abused):
    with LoopbackServer(abused.versions.config.base_path) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("server", ["abused", "abused_without_batching"])
def test_each_malformed_request_is_told_what_is_wrong_and_the_server_goes_on(server, request):
    server = request.getfixturevalue(server)
    expected = ExportedModel(server.versions.config.base_path + "/1").segment([cloud(30)], 1)
    malformed = all_malformed(server.grpc_address, server.rest_address, server.name)
    assert len(malformed) > 70
    for _ in range(ROUNDS):
        said = {title: call() for title, (call, _) in malformed.items()}
        other = {
            title: said[title]
            for title, (_, pattern) in malformed.items()
            if not re.search(pattern, said[title] or "", re.DOTALL)
        }
        assert not other
    client = GrpcClient(server.grpc_address, server.name)
    np.testing.assert_array_equal(client.segment([cloud(30)], 1)[0][0], expected[0][0])
