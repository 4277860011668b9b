import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from preprocessing.google_storage import check_bucket, is_known_missing
from schema.errors import UserError


class Answer(BaseHTTPRequestHandler):
    """A fake of the storage's listing: one bucket exists, and is empty."""

    def do_GET(self):
        exists = "/b/here/" in self.path
        body = json.dumps({"items": []} if exists else {"error": {"message": "no such bucket"}})
        self.send_response(200 if exists else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def storage(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def reason(address):
    with pytest.raises(UserError) as error:
        check_bucket(address)
    assert (error.value.code, error.value.file) == ("bad_address", address)
    return error.value.message


def test_a_bucket_that_may_be_listed(storage):
    check_bucket("gs://here/clouds/data")
    assert not is_known_missing("gs://here/clouds/data")


def test_a_missing_bucket(storage):
    assert "404" in reason("gs://elsewhere/clouds/data")
    assert is_known_missing("gs://elsewhere/clouds/data")


def test_a_storage_that_cannot_be_reached(monkeypatch, closed_port):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{closed_port}")
    assert "refused" in reason("gs://here/data")
    assert not is_known_missing("gs://here/data")


def test_a_token_service_that_cannot_be_reached(monkeypatch, key_of_a_dead_token_service):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_of_a_dead_token_service))
    assert "refused" in reason("gs://here/data")


def test_no_credentials(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert "gcloud auth application-default login" in reason("gs://here/data")
