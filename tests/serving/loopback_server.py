"""A test double of TensorFlow Serving on this machine's loopback, over a loaded SavedModel.

It speaks what our clients need, with TensorFlow Serving's own messages: over gRPC
PredictionService.Predict and GetModelMetadata and ModelService.GetModelStatus; over REST v1
`:predict` (columns), `/metadata` and status. It is no TensorFlow Serving: it neither batches nor
loads versions, and what the real server says in errors may differ.
"""

from __future__ import annotations

import json
import re
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+))?(?P<what>:predict|/metadata|)"
)
_HTTP = {
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class Refusal(Exception):
    """A request that is answered with a status."""

    def __init__(self, code: grpc.StatusCode, said: str):
        self.code = code
        super().__init__(said)


class LoopbackServer:
    """Serves one version of one model; a context manager.

    Args:
      folder: the SavedModel's.
      name: of the model.
      version: of the model.

    Attributes:
      grpc_address: host:port.
      rest_address: host:port.
      requests: sizes [B, N] of the predictions answered so far.
      unavailable: so many of the next predictions are answered with UNAVAILABLE (503).
      refused: how many were.
      changed: applied to the outputs before they are sent; nothing by default.
    """

    def __init__(self, folder: Path, name: str = "pointnet_parts", version: int = 7):
        self.name, self.version = name, version
        self.requests: list[tuple[int, ...]] = []
        self.unavailable = self.refused = 0
        self.changed = lambda outputs: outputs
        self._model = tf.saved_model.load(str(folder))
        stored = saved_model_pb2.SavedModel()
        stored.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
        self._signatures = stored.meta_graphs[0].signature_def
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4), options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Predictions(self), self._grpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), self._grpc)
        self.grpc_address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.rest_address = f"127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> LoopbackServer:
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None).wait()

    def check(self, name: str, version: int | None) -> None:
        """Raises a Refusal where another model is asked for."""
        if name != self.name or version not in (None, self.version):
            raise Refusal(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Specific({name}, {version})",
            )

    def predict(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The model's outputs, or a Refusal."""
        if self.unavailable:
            self.unavailable -= 1
            self.refused += 1
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "the test said so")
        function = self._model.signatures[signature or "serving_default"]
        known = function.structured_input_signature[1]
        if set(known) != set(inputs):
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input keys are {sorted(inputs)}, the signature has {sorted(known)}",
            )
        try:
            tensors = {k: tf.constant(v, known[k].dtype) for k, v in inputs.items()}
            outputs = {k: v.numpy() for k, v in function(**tensors).items()}
        except tf.errors.InvalidArgumentError as error:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, error.message) from None
        self.requests.append(np.shape(inputs["points"])[:2])
        return self.changed(outputs)

    def metadata(self) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The model's signatures."""
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = self.name
        answer.model_spec.version.value = self.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self._signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    def status(self) -> get_model_status_pb2.GetModelStatusResponse:
        """The version, available."""
        answer = get_model_status_pb2.GetModelStatusResponse()
        one = answer.model_version_status.add()
        one.version = self.version
        one.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return answer


def _asked_version(spec) -> int | None:
    return spec.version.value if spec.HasField("version") else None


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server: LoopbackServer):
        self._server = server

    def Predict(self, request, context):
        try:
            self._server.check(request.model_spec.name, _asked_version(request.model_spec))
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = self._server.predict(request.model_spec.signature_name, inputs)
        except Refusal as refusal:
            context.abort(refusal.code, str(refusal))
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name = self._server.name
        answer.model_spec.version.value = self._server.version
        for name, value in outputs.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def GetModelMetadata(self, request, context):
        try:
            self._server.check(request.model_spec.name, _asked_version(request.model_spec))
        except Refusal as refusal:
            context.abort(refusal.code, str(refusal))
        return self._server.metadata()


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server: LoopbackServer):
        self._server = server

    def GetModelStatus(self, request, context):
        try:
            self._server.check(request.model_spec.name, _asked_version(request.model_spec))
        except Refusal as refusal:
            context.abort(refusal.code, str(refusal))
        return self._server.status()


def _handler(server: LoopbackServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._serve({"": server.status, "/metadata": server.metadata})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._serve({":predict": lambda: _predict(server, body)})

        def log_message(self, *_):
            pass

        def _serve(self, answers):
            match = _PATH.fullmatch(self.path)
            try:
                if match is None or match["what"] not in answers:
                    raise Refusal(grpc.StatusCode.NOT_FOUND, f"Malformed request: {self.path}")
                server.check(match["name"], int(match["version"]) if match["version"] else None)
                status, answer = 200, answers[match["what"]]()
            except Refusal as refusal:
                status, answer = _HTTP[refusal.code], {"error": str(refusal)}
            if not isinstance(answer, dict):
                answer = json_format.MessageToDict(answer, preserving_proto_field_name=True)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _predict(server: LoopbackServer, body: bytes) -> dict:
    request = json.loads(body)
    inputs = {name: np.asarray(value) for name, value in request["inputs"].items()}
    outputs = server.predict(request.get("signature_name", ""), inputs)
    return {"outputs": {name: value.tolist() for name, value in outputs.items()}}
