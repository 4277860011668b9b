"""Asks TensorFlow Serving over gRPC: PredictionService.Predict."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schema.errors import UserError
from serving.certificates import not_believed, read_certificates
from serving.padded_request import NUM_POINTS, SIGNATURE, answers_of, padded_inputs
from serving.segmenter import Answer, asked_again_if_refused
from serving.serving_error import no_such_label, of_label, reason_in, unknown_host

# gRPC itself makes no more attempts than five.
_ATTEMPTS = 5
_MOST_BYTES = 2**31 - 1
_TLS = "https://"
# Any answer will do: asked with nothing, a server says that it was asked for no model. The service
# is not the one whose requests are repeated.
_ANYTHING = "/tensorflow.serving.ModelService/GetModelStatus"
_CONTACT_SECONDS = 5.0
_READY_SECONDS = 0.5
# How gRPC says that it does not believe a certificate, or not for this host.
_UNTRUSTED = re.compile(
    "peer name|handshake failed|certificate.verify.failed|verification check failed", re.IGNORECASE
)
_UNKNOWN_HOST = re.compile(
    "DNS resolution failed|name resolution|hostname lookup error|Domain name not found"
)
_OTHER_PROTOCOL = re.compile("parsing HTTP/2|http1.x server", re.IGNORECASE)


class GrpcClient:
    """A `Segmenter` that asks a server, again after a pause where it is unavailable.

    The first request is preceded by a short one that shows whether anybody speaks gRPC there.

    Args:
      address: host:port of the server's gRPC, 8500 by TensorFlow Serving's default; not encrypted
        unless https:// stands before it or a certificate is given.
      name: of the model, as the server calls it.
      version: which of its versions; None: the one of the label, or the one the server chooses.
      timeout: seconds that a request may take, its repetitions included.
      first_pause: seconds before the second attempt, at most; each later pause is twice as long.
      label: of the version, such as stable; "" for none.
      certificate: a PEM file with whom to believe; None: the authorities that gRPC knows.
      tell: is given a line for a person where nobody could be reached and more attempts follow.

    Raises:
      UserError: the certificate cannot be used.
    """

    def __init__(
        self,
        address: str,
        name: str,
        version: int | None = None,
        timeout: float = 60.0,
        first_pause: float = 0.5,
        label: str = "",
        certificate: Path | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        import grpc

        self._address, self._name, self._version = address, name, version
        self._timeout, self._label, self._certificate = timeout, label, certificate
        self._tell = tell
        self._stub: Any = None
        retry = {
            "maxAttempts": _ATTEMPTS,
            "initialBackoff": f"{first_pause:.3f}s",
            "maxBackoff": f"{first_pause * 8:.3f}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        service = {"service": "tensorflow.serving.PredictionService"}
        # Over all addresses that a name such as dns:///host:port stands for.
        config = {
            "methodConfig": [{"name": [service], "retryPolicy": retry}],
            "loadBalancingConfig": [{"round_robin": {}}],
        }
        options = [
            ("grpc.service_config", json.dumps(config)),
            # gRPC repeats no request that its buffer does not hold; by default that is 256 KiB.
            ("grpc.per_rpc_retry_buffer_size", _MOST_BYTES),
            ("grpc.max_send_message_length", _MOST_BYTES),
            ("grpc.max_receive_message_length", _MOST_BYTES),
        ]
        if certificate is None and not address.startswith(_TLS):
            self._channel = grpc.insecure_channel(address, options)
        else:
            roots = None if certificate is None else read_certificates(certificate)
            host = address.removeprefix(_TLS).rstrip("/")
            credentials = grpc.ssl_channel_credentials(roots)
            self._channel = grpc.secure_channel(host, credentials, options)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def segment(self, clouds: Sequence[np.ndarray], category: int | None) -> list[Answer]:
        """See `Segmenter.segment`."""
        inputs = padded_inputs(clouds, category)
        # These take seconds to import, and somebody has to be there to be asked.
        if self._stub is None:
            self._make_contact()
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self._stub = self._stub or prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = SIGNATURE
        if self._version is not None:
            request.model_spec.version.value = self._version
        elif self._label:
            request.model_spec.version_label = self._label
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))

        def ask() -> list[Answer]:
            try:
                response = self._stub.Predict(request, timeout=self._timeout)
            except grpc.RpcError as error:
                raise self._reason(error) from None
            outputs = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
            return answers_of(outputs, inputs[NUM_POINTS].tolist())

        return asked_again_if_refused(ask)

    def _make_contact(self) -> None:
        """Returns where somebody speaks gRPC, or may soon.

        Raises:
          UserError: there is no such host, it is not believed, or it does not speak gRPC.
        """
        import grpc

        seconds = min(_CONTACT_SECONDS, self._timeout)
        try:
            self._channel.unary_unary(_ANYTHING)(b"", timeout=seconds)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            code, said = error.code(), reason_in(error.details() or "")
            if code == grpc.StatusCode.DEADLINE_EXCEEDED and not self._is_connected():
                raise self._no_grpc(f"silent for {seconds:g} s") from None
            if code == grpc.StatusCode.UNAVAILABLE and _OTHER_PROTOCOL.search(said):
                raise self._no_grpc(_innermost(said)) from None
            if code != grpc.StatusCode.UNAVAILABLE:
                return
            if _UNTRUSTED.search(said) or _UNKNOWN_HOST.search(said):
                raise self._reason(error) from None
            self._tell(
                f"{self._address} is unavailable over gRPC ({_innermost(said)}); trying "
                f"{_ATTEMPTS} more times ..."
            )

    def _no_grpc(self, reason: str) -> UserError:
        return UserError(
            "unavailable",
            f"nothing at {self._address} speaks gRPC ({reason}); is this the port of REST? Give "
            "that of gRPC (8500 by default), or ask with --rest.",
        )

    def _is_connected(self) -> bool:
        import grpc

        try:
            grpc.channel_ready_future(self._channel).result(timeout=_READY_SECONDS)
        except grpc.FutureTimeoutError:
            return False
        return True

    def _reason(self, error: Exception) -> UserError:
        """The sentence for what gRPC says."""
        import grpc

        assert isinstance(error, grpc.Call)
        code, said = error.code(), reason_in(error.details() or "")
        if self._label and of_label(said):
            return no_such_label(self._address, self._label)
        if code == grpc.StatusCode.UNAVAILABLE and _UNTRUSTED.search(said):
            return not_believed(self._address, self._certificate, _innermost(said))
        if code == grpc.StatusCode.UNAVAILABLE and _UNKNOWN_HOST.search(said):
            return unknown_host(self._address)
        if code == grpc.StatusCode.UNAVAILABLE:
            return UserError(
                "unavailable",
                f"{self._address} is unavailable over gRPC ({_innermost(said)}); start the "
                "server, or give its host and gRPC port.",
            )
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return UserError(
                "unavailable",
                f"{self._address} gave no answer within {self._timeout:g} s; allow more time or "
                "send fewer points at once.",
            )
        if code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
            return UserError(
                "unavailable",
                f"{self._address} does not serve the model {self._name} ({said}); give the name "
                "and version that the server has.",
            )
        return UserError("no_answer", f"{self._address} refused the request ({code.name}): {said}.")


def _innermost(said: str) -> str:
    """What comes last in gRPC's account of how it could not connect."""
    last = said.rsplit("last error: ", 1)[-1].removeprefix("UNKNOWN: ")
    return last.rsplit("remote host: connect: ", 1)[-1]
