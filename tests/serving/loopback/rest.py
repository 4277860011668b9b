"""The double's REST side, version 1: `:predict`, `/metadata` and status, by version or label."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import model_pb2

from tests.serving.loopback import json_tensors
from tests.serving.loopback.refusal import Refusal, bad_argument

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<what>:predict|/metadata|)"
)
_MOST_BYTES = 2**28


class Server(ThreadingHTTPServer):
    """HTTP on a port of this machine's loopback.

    Args:
      port: 0: any that is free.
      answering: predicts, and tells metadata and status; see `loopback_server.LoopbackServer`.
    """

    daemon_threads = True
    # Many clients may come at once.
    request_queue_size = 128

    def __init__(self, port: int, answering: Any):
        self.answering = answering
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer's head and body leave together.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        self._serve(self._get)

    def do_POST(self):
        self._serve(self._post)

    def log_message(self, *_):
        pass

    def _serve(self, call: Callable[[], dict]):
        try:
            status, answer = 200, call()
        except Refusal as refusal:
            status, answer = refusal.http_status, {"error": str(refusal)}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _asked(self, *known: str) -> tuple[model_pb2.ModelSpec, str]:
        match = _PATH.fullmatch(self.path)
        if match is None or match["what"] not in known:
            raise bad_argument(f"Malformed request: {self.command} {self.path}")
        spec = model_pb2.ModelSpec(name=match["name"])
        if match["version"]:
            if int(match["version"]) >= 2**63:
                raise bad_argument(f"Failed to convert version: {match['version']} to numeric.")
            spec.version.value = int(match["version"])
        elif match["label"]:
            spec.version_label = match["label"]
        return spec, match["what"]

    def _get(self) -> dict:
        spec, what = self._asked("", "/metadata")
        answering = self.server.answering
        answer = answering.metadata(spec) if what else answering.status(spec)
        return json_format.MessageToDict(answer, preserving_proto_field_name=True)

    def _post(self) -> dict:
        body = self._body()
        spec, _ = self._asked(":predict")
        request = json_tensors.parse_request(body)
        in_rows = "instances" in request
        tensors_of = json_tensors.tensors_of_rows if in_rows else json_tensors.tensors_of_columns
        values = request["instances" if in_rows else "inputs"]
        _, _, outputs = self.server.answering.predict(
            spec,
            request.get("signature_name", ""),
            lambda signature: tensors_of(values, signature),
            [],
        )
        return json_tensors.rows(outputs) if in_rows else json_tensors.columns(outputs)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            # What follows cannot be told from the next request.
            self.close_connection = True
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Content-Length: found {length or 'none'}, expected 0 to {_MOST_BYTES}",
            )
        return self.rfile.read(int(length))
