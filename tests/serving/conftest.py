"""Small exported models, of one and of two categories, and servers of each.

`one_server` and `two_server` are the double, and once more TensorFlow Serving itself where it is;
what only the double does is asked of `one_double` and `two_double`.
"""

import pytest

from model.export.signatures import export
from tests.model.export.made_network import MUG, ROCKET, make_network
from tests.serving.loopback_server import LoopbackServer
from tests.serving.real_server import PROGRAM, real_server

SERVERS = ("double", PROGRAM)


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
def one_double(one_folder):
    with LoopbackServer(one_folder.parent) as server:
        yield server


@pytest.fixture(scope="package")
def two_double(two_folder):
    with LoopbackServer(two_folder.parent) as server:
        yield server


@pytest.fixture(scope="package", params=SERVERS)
def one_server(request, one_folder):
    yield from server_of(request, "one_double", one_folder)


@pytest.fixture(scope="package", params=SERVERS)
def two_server(request, two_folder):
    yield from server_of(request, "two_double", two_folder)


def server_of(request, double, folder):
    if request.param == "double":
        yield request.getfixturevalue(double)
        return
    with real_server(folder.parent) as server:
        yield server
