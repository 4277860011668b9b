"""Requests that nobody can answer, over gRPC and REST, and what the answer has to say.

They are for a model of two categories with a serving.most_points of LIMIT.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

LIMIT = 3000
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_SIZE = 10


def _inputs(**changed: Any) -> dict[str, np.ndarray]:
    """A sound request to `serve_padded`, some of it changed; None leaves it out."""
    points = np.random.default_rng(0).normal(size=(2, _SIZE, 3)).astype(np.float32)
    inputs = {
        "points": points,
        "num_points": np.array([_SIZE, 4], np.int64),
        "category": np.array([0, 1], np.int64),
        **changed,
    }
    return {name: value for name, value in inputs.items() if value is not None}


def _with(value: float) -> np.ndarray:
    points = _inputs()["points"].copy()
    points[1, 2, 1] = value
    return points


def _sizes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _empty(clouds: int, points: int) -> dict[str, np.ndarray]:
    return _inputs(
        points=np.zeros((clouds, points, 3), np.float32),
        num_points=np.full(clouds, points, np.int64),
        category=np.zeros(clouds, np.int64),
    )


_SHAPE = r"points: send x y z of each, \[B, N, 3\]"
# Tensors, and a pattern of what has to be said of them; to both gRPC and REST.
TENSORS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "no points": (_empty(2, 0), "points: there is none|Got empty tensor"),
    "empty batch": (_empty(0, 5), "points: there is none|Got empty tensor"),
    "two coordinates": (_inputs(points=np.ones((2, _SIZE, 2), np.float32)), _SHAPE),
    "four coordinates": (_inputs(points=np.ones((2, _SIZE, 4), np.float32)), _SHAPE),
    "no batch": (_inputs(points=np.ones((2, 3), np.float32)), _SHAPE),
    "a batch of batches": (_inputs(points=np.ones((2, 1, _SIZE, 3), np.float32)), _SHAPE),
    "NaN": (_inputs(points=_with(np.nan)), "points: NaN or infinity"),
    "infinity": (_inputs(points=_with(-np.inf)), "points: NaN or infinity"),
    "num_points above N": (
        _inputs(num_points=_sizes(_SIZE, _SIZE + 1)),
        "num_points: send 1 to N for each cloud",
    ),
    "num_points below 1": (_inputs(num_points=_sizes(0, 4)), "num_points: send 1 to N"),
    "num_points negative": (_inputs(num_points=_sizes(-(2**62), 4)), "num_points: send 1 to N"),
    "num_points too few": (
        _inputs(num_points=_sizes(4)),
        "num_points: send one number a cloud|equal 0th-dimension size",
    ),
    "num_points too many": (
        _inputs(num_points=_sizes(4, 4, 4)),
        "num_points: send one number a cloud|equal 0th-dimension size",
    ),
    "num_points a number": (
        _inputs(num_points=np.array(4, np.int64)),
        "num_points: send one number a cloud|at least one dimension",
    ),
    "category out of range": (
        _inputs(category=_sizes(0, 2)),
        "category: the model knows 0 to 1, in the order of assets/parts.json",
    ),
    "category negative": (_inputs(category=_sizes(-1, 0)), "category: the model knows 0 to 1"),
    "category too many": (
        _inputs(category=_sizes(0, 0, 0)),
        "category: send one number a cloud|equal 0th-dimension size",
    ),
    "too many points": (_empty(2, LIMIT // 2 + 1), f"points: too many .* than {LIMIT}"),
    "no category": (_inputs(category=None), "category"),
    "no num_points": (_inputs(num_points=None), "num_points"),
}
# Only gRPC knows types, and more tensors than a signature has.
GRPC_ONLY: dict[str, tuple[dict[str, np.ndarray], str, str]] = {
    "doubles": (
        _inputs(points=np.ones((2, _SIZE, 3))),
        "serve_padded",
        "Expects points to be float32 but float64",
    ),
    "numbers as text": (
        _inputs(points=np.full((2, _SIZE, 3), b"1", object)),
        "serve_padded",
        "Expects points to be float32 but string",
    ),
    "num_points of 32 bits": (
        _inputs(num_points=np.array([_SIZE, 4], np.int32)),
        "serve_padded",
        "Expects num_points to be int64 but int32",
    ),
    "a tensor too many": (
        _inputs(colours=np.zeros(2, np.float32)),
        "serve_padded",
        r"Sent extra: \{colours\}",
    ),
    "another tensor": (
        _inputs(num_points=None, colours=np.zeros(2, np.float32)),
        "serve_padded",
        "alias not found in signature: colours",
    ),
    "unknown signature": (_inputs(), "serve_nothing", 'signature key "serve_nothing" not found'),
    "no Example": (
        {"examples": np.array([b"no Example"], object)},
        "serve_examples",
        "Could not parse example",
    ),
}
_ROW = {"points": [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], "num_points": 2, "category": 0}


def _rows(*rows: Any) -> dict[str, Any]:
    return {"signature_name": "serve_padded", "instances": list(rows)}


# Bodies of REST's own, and a pattern of what has to be said of them.
BODIES: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "document is empty"),
    "bad JSON": (b'{"instances": [[1, 2', "JSON Parse error: .* at offset"),
    "bytes": (b"\xff\xfe\x00{", "JSON Parse error"),
    "a list": ([1, 2, 3], "Is not object"),
    "neither form": ({"points": []}, "Missing 'inputs' or 'instances'"),
    "both forms": ({"instances": [_ROW], "inputs": _ROW}, "only one of 'inputs' or 'instances'"),
    "a signature's number": ({"signature_name": 3, "instances": [_ROW]}, "must be a string"),
    "an unknown signature": (
        {"signature_name": "serve_nothing", "instances": [_ROW]},
        '"serve_nothing" not found',
    ),
    "rows no list": ({"signature_name": "serve_padded", "instances": 4}, "list/array"),
    "no rows": (_rows(), "No values in 'instances'"),
    "plain rows": (_rows([[0, 0, 0]]), "expecting list of objects"),
    "ragged rows": (
        _rows(_ROW, {**_ROW, "points": [[0.0, 0.0, 0.0]]}),
        r"element: 1 key: points .*Expecting shape \[2,3\] but got: \[1,3\]",
    ),
    "a ragged point": (
        _rows({**_ROW, "points": [[0.0, 0.0, 0.0], [1.0, 0.0]]}),
        "list at unexpected size: 2 at level: 1 expected size: 3",
    ),
    "a word among numbers": (
        _rows({**_ROW, "points": [[0.0, 0.0, "x"], [1.0, 0.0, 0.0]]}),
        '"x" Type: String is not of expected type: float',
    ),
    "null among numbers": (
        _rows({**_ROW, "points": [[0.0, 0.0, None], [1.0, 0.0, 0.0]]}),
        "null Type: Null is not of expected type: float",
    ),
    "true among numbers": (
        _rows({**_ROW, "points": [[0.0, 0.0, True], [1.0, 0.0, 0.0]]}),
        "true Type: True is not of expected type: float",
    ),
    "a number beyond float": (
        _rows({**_ROW, "points": [[0.0, 0.0, 1e300], [1.0, 0.0, 0.0]]}),
        "without loss of precision",
    ),
    "a fraction of a count": (_rows({**_ROW, "num_points": 1.5}), "not of expected type: int64"),
    "a key too many": (_rows({**_ROW, "colour": 1}), "does not have named input: colour"),
    "a key too few": (_rows({"points": _ROW["points"]}), "keys must be equal to: category,num"),
    "rows of two kinds": (_rows(_ROW, 3), "item 1"),
    "columns without names": (
        {"signature_name": "serve_padded", "inputs": [[0.0, 0.0, 0.0]]},
        "expecting an object as multiple input tensors",
    ),
    "no base64": (
        {"signature_name": "serve_examples", "instances": [{"b64": "?"}]},
        "Unable to base64 decode",
    ),
}


def all_malformed(
    grpc_address: str, rest_address: str, name: str
) -> dict[str, tuple[Callable[[], str | None], str]]:
    """Each request as a call that returns what the server said, None where it answered.

    Args:
      grpc_address: host:port.
      rest_address: host:port.
      name: the model's.

    Returns:
      By name, the call, and the pattern of what has to be said.
    """
    options = [("grpc.max_send_message_length", -1)]
    call = grpc.insecure_channel(grpc_address, options).unary_unary(_PREDICT)
    session = requests.Session()
    session.trust_env = False
    models = f"http://{rest_address}/v1/models"

    def by_grpc(content: bytes) -> str | None:
        try:
            call(content, timeout=60)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            return error.details()
        return None

    def by_rest(body: Any, path: str = f"{name}:predict") -> str | None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = session.post(f"{models}/{path}", content, timeout=60)
        return None if answer.ok else answer.json()["error"]

    def get(path: str) -> str | None:
        answer = session.get(f"{models}{path}", timeout=60)
        return None if answer.ok else answer.json()["error"]

    found: dict[str, tuple[Callable[[], str | None], str]] = {}
    for title, (inputs, pattern) in TENSORS.items():
        content = _predict(name, "serve_padded", inputs)
        found[f"{title} by gRPC"] = (lambda content=content: by_grpc(content)), pattern
        columns = {key: value.tolist() for key, value in inputs.items()}
        if not inputs["points"].size:
            # JSON has no shape for it.
            pattern = f"{pattern}|{_SHAPE}"
        body = {"signature_name": "serve_padded", "inputs": columns}
        found[f"{title} by REST"] = (lambda body=body: by_rest(body)), pattern
    for title, (inputs, signature, pattern) in GRPC_ONLY.items():
        content = _predict(name, signature, inputs)
        found[f"{title} by gRPC"] = (lambda content=content: by_grpc(content)), pattern
    for title, (body, pattern) in BODIES.items():
        found[f"{title} by REST"] = (lambda body=body: by_rest(body)), pattern
    whole = _predict(name, "serve_padded", _inputs())
    short = predict_pb2.PredictRequest.FromString(whole)
    short.inputs["points"].tensor_content = short.inputs["points"].tensor_content[:-3]
    for title, content, pattern in (
        ("a truncated message", whole[:-20], "deserializ|pars"),
        ("no message", b"\xff" * 30, "deserializ|pars"),
        ("an empty message", b"", "no name"),
        ("a truncated tensor", short.SerializeToString(), "tensor parsing error: points"),
        ("another model", _predict("another", "", _inputs()), "Servable not found"),
        ("another version", _predict(name, "", _inputs(), 99), "Servable not found"),
    ):
        found[f"{title} by gRPC"] = (lambda content=content: by_grpc(content)), pattern
    row = {"instances": [_ROW]}
    for title, path, pattern in (
        ("another model", "another:predict", "Servable not found"),
        ("another version", f"{name}/versions/99:predict", "Servable not found"),
        ("another label", f"{name}/labels/old:predict", "Unrecognized servable version label"),
        ("another verb", f"{name}:explain", "Malformed request"),
        ("a version beyond numbers", f"{name}/versions/{'9' * 30}:predict", "to numeric"),
    ):
        found[f"{title} by REST"] = (lambda path=path: by_rest(row, path)), pattern
    found["status of another model"] = (lambda: get("/another")), "Could not find any versions"
    found["no path"] = (lambda: get("/")), "Malformed request"
    return found


def _predict(
    name: str, signature: str, inputs: dict[str, np.ndarray], version: int | None = None
) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request.SerializeToString()
