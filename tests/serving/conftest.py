"""Small exported models, of one and of two categories, and a server of each."""

import pytest

from model.signatures import export
from tests.model.test_signatures import MUG, ROCKET, make_network
from tests.serving.loopback_server import LoopbackServer


def export_narrow(categories, folder):
    network = make_network(sum(len(c.parts) for c in categories), len(categories))
    export(network, categories, str(folder))
    return folder


@pytest.fixture(scope="package")
def one_folder(tmp_path_factory):
    return export_narrow((ROCKET,), tmp_path_factory.mktemp("one") / "7")


@pytest.fixture(scope="package")
def two_folder(tmp_path_factory):
    return export_narrow((MUG, ROCKET), tmp_path_factory.mktemp("two") / "7")


@pytest.fixture(scope="package")
def one_server(one_folder):
    with LoopbackServer(one_folder.parent) as server:
        yield server


@pytest.fixture(scope="package")
def two_server(two_folder):
    with LoopbackServer(two_folder.parent) as server:
        yield server
