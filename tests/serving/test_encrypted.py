"""Encrypted connections: servers with a certificate that pass requests on to the double."""

import ssl
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
import requests
from tensorflow_serving.apis import prediction_service_pb2_grpc

from schema.errors import UserError
from serving.exported_model import ExportedModel
from serving.grpc_client import GrpcClient
from serving.rest_client import RestClient
from tests.certificate import certificate
from tests.serving.test_clients import CLIENTS, PAUSE, assert_same, clouds


@pytest.fixture(autouse=True)
def everybody_elses_certificates(monkeypatch):
    """Whom everybody else believes must not matter where somebody is named."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())


class PassedOn(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with what a server behind it answers."""

    def __init__(self, address):
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(address)
        )

    def Predict(self, request, context):
        return self._stub.Predict(request)


def rest_passed_on(address):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = requests.post(f"http://{address}{self.path}", body, timeout=30)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture(scope="module")
def encrypted(one_double, tmp_path_factory):
    """The ports of both protocols by TLS, for the host localhost, and whom to believe."""
    pem, key = certificate(tmp_path_factory.mktemp("certificate"), "localhost")
    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PassedOn(one_double.grpc_address), server
    )
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), pem.read_bytes())])
    # All addresses of that name: gRPC tells of the last one that it tried.
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    http = ThreadingHTTPServer(("127.0.0.1", 0), rest_passed_on(one_double.rest_address))
    http.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    yield SimpleNamespace(ports={GrpcClient: port, RestClient: http.server_port}, pem=pem)
    http.shutdown()
    http.server_close()
    server.stop(None).wait()


def asking(kind, encrypted, host="localhost", certificate=None, **options):
    address = f"{host}:{encrypted.ports[kind]}"
    return kind(
        address, "pointnet_parts", first_pause=PAUSE, certificate=certificate, timeout=30, **options
    )


@CLIENTS
@pytest.mark.parametrize("host", ["localhost", "https://localhost"])
def test_a_believed_server_answers_as_the_exported_model(kind, host, encrypted, one_folder):
    client = asking(kind, encrypted, host, encrypted.pem)
    assert_same(client.segment(clouds(), None), ExportedModel(one_folder).segment(clouds(), None))


@CLIENTS
def test_a_server_that_somebody_else_vouches_for_is_refused(kind, encrypted, tmp_path):
    other, _ = certificate(tmp_path, "localhost")
    with pytest.raises(UserError, match=r"not vouched for by .*localhost\.pem") as error:
        asking(kind, encrypted, certificate=other).segment(clouds(), None)
    assert error.value.code == "unavailable" and "\n" not in str(error.value)


@CLIENTS
def test_a_server_that_signed_itself_is_refused_where_nothing_is_given(kind, encrypted):
    with pytest.raises(UserError, match="not vouched for by the authorities known here"):
        asking(kind, encrypted, "https://localhost").segment(clouds(), None)


@CLIENTS
def test_a_host_by_another_name_is_refused(kind, encrypted):
    with pytest.raises(UserError, match="the host by the name that stands in it"):
        asking(kind, encrypted, "127.0.0.1", encrypted.pem).segment(clouds(), None)


@CLIENTS
@pytest.mark.parametrize("content", [None, b"", b"something else", b"\xff\xfe"])
def test_what_is_no_certificate_is_a_sentence(kind, content, encrypted, tmp_path):
    file = Path(tmp_path) / "roots.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"roots\.pem: .*give the PEM file") as error:
        asking(kind, encrypted, certificate=file)
    assert error.value.code == "unavailable"
