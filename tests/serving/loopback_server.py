"""A test double of TensorFlow Serving on this machine's loopback.

It speaks what the model server speaks, with the model server's own messages: over gRPC
PredictionService.Predict and GetModelMetadata and ModelService.GetModelStatus; over REST v1
`:predict` in rows and in columns, `/metadata` and status. It watches a base folder for numbered
versions, plays their warm-up requests, answers by a session of TensorFlow's C++ runtime, and
batches requests of different sizes. It is no TensorFlow Serving: all of it was written after the
model server's source, in Python, for tests. No part that a user runs depends on it.

    python -m tests.serving.loopback_server BASE [--name NAME] [--batching FILE]

serves until its standard input ends; the first line that it prints says where, as JSON.

loopback/versions.py       the versions: loaded, switched, unloaded
loopback/loaded_model.py   one of them in a session
loopback/batching.py       requests put together
loopback/grpc_services.py  gRPC
loopback/rest.py           REST
loopback/json_tensors.py   ... and its tensors
loopback/refusal.py        a request that is answered with a status
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.loopback import rest
from tests.serving.loopback.batching import BatchingSettings, Tensors
from tests.serving.loopback.grpc_services import add_services
from tests.serving.loopback.loaded_model import DEFAULT_SIGNATURE
from tests.serving.loopback.refusal import Refusal, bad_argument
from tests.serving.loopback.versions import States, Versions

# As many as clients of a test may ask at once; the model server has several threads a core.
_GRPC_THREADS = 32


class LoopbackServer:
    """Serves the versions of one model; a context manager.

    Args:
      base: the folder of numbered versions; not needed with a config that names one.
      name: of the model.
      batching: None: each request by itself.
      config: the model server's ModelConfig, for policies and labels; None: the largest version.
      poll_seconds: between two looks at the folder; the model server's own default is 1.
      load_retries: how often a version that cannot be loaded is tried again.
      retry_seconds: before each of these; the model server's own default is 60.
      grpc_port: 0: any that is free.
      rest_port: 0: any that is free.

    Attributes:
      grpc_address: host:port.
      rest_address: host:port.
      requests: shapes of the predictions' points answered so far; () for serialized Examples.
      batches: of each computed batch, the rows of its requests.
      unavailable: so many of the next predictions are answered with UNAVAILABLE (503).
      refused: how many were.
      changed: applied to the outputs before they are sent; nothing by default.
      tolerance: how far probabilities may be from those of TensorFlow here.
    """

    # It runs the kernels that answer here.
    tolerance = 0.0

    def __init__(
        self,
        base: Path | str = "",
        name: str = "pointnet_parts",
        batching: BatchingSettings | None = None,
        config: model_server_config_pb2.ModelConfig | None = None,
        poll_seconds: float = 0.05,
        load_retries: int = 5,
        retry_seconds: float = 60.0,
        grpc_port: int = 0,
        rest_port: int = 0,
    ):
        self.requests: list[tuple[int, ...]] = []
        self.batches: list[list[int]] = []
        self.unavailable = self.refused = 0
        self.changed: Callable[[Tensors], Tensors] = lambda outputs: outputs
        self._lock = threading.Lock()
        if config is None:
            config = model_server_config_pb2.ModelConfig(name=name, base_path=str(base))
        self.name = config.name
        self.versions = Versions(
            config, batching, self.batches.append, poll_seconds, load_retries, retry_seconds
        )
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        threads = futures.ThreadPoolExecutor(_GRPC_THREADS)
        self._grpc = grpc.server(threads, options=options)
        add_services(self._grpc, self)
        self.grpc_address = f"127.0.0.1:{self._grpc.add_insecure_port(f'127.0.0.1:{grpc_port}')}"
        self._http = rest.Server(rest_port, self)
        self.rest_address = f"127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> LoopbackServer:
        self.versions.start()
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None).wait()
        self.versions.stop()

    @property
    def version(self) -> int:
        """The version that answers requests which name none."""
        with self.versions.using(model_pb2.ModelSpec(name=self.name)) as served:
            return served.number

    def wait_until(self, version: int, state: str = "AVAILABLE") -> None:
        """Returns when a version is in a state; a TimeoutError where it never is."""
        self.versions.wait_for(version, States.State.Value(state))

    def predict(
        self,
        spec: model_pb2.ModelSpec,
        signature_name: str,
        tensors_of: Callable,
        output_filter: list[str],
    ) -> tuple[int, str, Tensors]:
        """Answers a prediction.

        Args:
          spec: which model and version.
          signature_name: "": the default one.
          tensors_of: the request's tensors, given the SignatureDef.
          output_filter: the outputs that are wanted; none: all.

        Returns:
          Which version answered, which signature, and the outputs.

        Raises:
          Refusal: it cannot be answered.
        """
        self._play_unavailable()
        name = signature_name or DEFAULT_SIGNATURE
        with self.versions.using(spec) as served:
            if name not in served.model.signatures:
                raise Refusal(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f'Serving signature key "{name}" not found.',
                )
            signature = served.model.signatures[name]
            inputs = tensors_of(signature)
            for output in output_filter:
                if output not in signature.outputs:
                    raise bad_argument(f"output tensor alias not found in signature: {output}")
            outputs = served.answer(name, inputs)
            version = served.number
        self.requests.append(inputs["points"].shape[:2] if "points" in inputs else ())
        wanted = {key: v for key, v in outputs.items() if not output_filter or key in output_filter}
        return version, name, self.changed(wanted)

    def metadata(
        self, spec: model_pb2.ModelSpec
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """A version's signatures."""
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        with self.versions.using(spec) as served:
            answer.model_spec.name = spec.name
            answer.model_spec.version.value = served.number
            for name, signature in served.model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of all versions, or of one."""
        return self.versions.status(spec)

    def _play_unavailable(self) -> None:
        with self._lock:
            if not self.unavailable:
                return
            self.unavailable -= 1
            self.refused += 1
        raise Refusal(grpc.StatusCode.UNAVAILABLE, "the test said so")


def main() -> None:
    """Serves until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", help="the folder of numbered versions, or a --config's text file")
    parser.add_argument("--name", default="pointnet_parts")
    parser.add_argument("--config", action="store_true", help="BASE is a model_config_list")
    parser.add_argument("--batching", type=Path, help="a --batching_parameters_file")
    parser.add_argument("--poll-seconds", type=float, default=1.0)
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--rest-port", type=int, default=0)
    arguments = parser.parse_args()
    # What gRPC logs of broken requests is what its caller gets.
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)
    batching = config = None
    if arguments.batching:
        batching = BatchingSettings.from_text(arguments.batching.read_text())
    if arguments.config:
        listed = text_format.Parse(
            Path(arguments.base).read_text(), model_server_config_pb2.ModelServerConfig()
        )
        (config,) = listed.model_config_list.config
    with LoopbackServer(
        arguments.base,
        arguments.name,
        batching,
        config,
        arguments.poll_seconds,
        grpc_port=arguments.grpc_port,
        rest_port=arguments.rest_port,
    ) as server:
        where = {"grpc": server.grpc_address, "rest": server.rest_address, "name": server.name}
        print(json.dumps(where), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
