"""Only what is said when Google Cloud Storage cannot be asked: nothing here reaches it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from preprocessing.cloud_storage import check_bucket
from preprocessing.destination import check_output
from preprocessing.findings import BadInput


class Answer(BaseHTTPRequestHandler):
    """A double of the storage's listing: one bucket is there, and empty."""

    def do_GET(self):
        found = "/b/here/" in self.path
        body = json.dumps({"items": []} if found else {"error": {"message": "no such bucket"}})
        self.send_response(200 if found else 404)
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


def test_a_bucket_that_may_be_listed_is_all_right(storage):
    check_bucket("gs://here/clouds/data")


def test_a_bucket_that_is_not_there_is_named(storage):
    with pytest.raises(BadInput, match=r"the bucket gs://elsewhere cannot be listed \(404"):
        check_bucket("gs://elsewhere/clouds/data")


def test_a_storage_that_cannot_be_reached_is_told_at_once(monkeypatch, closed_port):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(BadInput, match=r"Google cannot be reached \(.*refused\)"):
        check_bucket("gs://here/data")


def test_a_token_service_that_cannot_be_reached_is_not_called_missing_credentials(
    monkeypatch, key_of_a_dead_token_service
):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_of_a_dead_token_service))
    with pytest.raises(BadInput, match=r"Google cannot be reached \(.*refused\)"):
        check_bucket("gs://here/data")


def test_conversion_without_credentials_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(BadInput, match=r"no credentials .*gcloud auth application-default login"):
        check_output("gs://bucket/data")
