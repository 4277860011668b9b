"""The double's gRPC side: PredictionService and ModelService."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.loopback.loaded_model import checked_inputs
from tests.serving.loopback.refusal import Refusal


def add_services(server: grpc.Server, answering: Any) -> None:
    """Adds both services.

    Args:
      server: not yet started.
      answering: predicts, and tells metadata and status; see `loopback_server.LoopbackServer`.
    """
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Predictions(answering), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(answering), server)


def _answer(context: grpc.ServicerContext, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Refusal as refusal:
        return context.abort(refusal.code, str(refusal))


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, answering: Any):
        self._answering = answering

    def Predict(self, request, context):
        return _answer(context, lambda: self._predict(request))

    def _predict(self, request):
        version, name, outputs = self._answering.predict(
            request.model_spec,
            request.model_spec.signature_name,
            lambda signature: checked_inputs(signature, request.inputs),
            list(request.output_filter),
        )
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name = request.model_spec.name
        answer.model_spec.signature_name = name
        answer.model_spec.version.value = version
        for output, value in outputs.items():
            answer.outputs[output].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def GetModelMetadata(self, request, context):
        return _answer(context, lambda: self._metadata(request))

    def _metadata(self, request) -> get_model_metadata_pb2.GetModelMetadataResponse:
        if list(request.metadata_field) != ["signature_def"]:
            fields = ", ".join(request.metadata_field) or "none"
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Metadata field {fields} is not supported; signature_def is",
            )
        return self._answering.metadata(request.model_spec)


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, answering: Any):
        self._answering = answering

    def GetModelStatus(self, request, context):
        return _answer(context, lambda: self._answering.status(request.model_spec))
