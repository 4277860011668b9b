"""A SavedModel in a session of TensorFlow's C++ runtime, as the model server holds it.

Requests go straight to the session: none of Python's own checks of shapes stands before the graph.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

from tests.serving.loopback.refusal import bad_argument, refusal_of

DEFAULT_SIGNATURE = "serving_default"
WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


class LoadedModel:
    """One version of a model, loaded and warm.

    Args:
      folder: the SavedModel's.

    Attributes:
      signatures: SignatureDef by name.
      warmed_up: how many warm-up requests were answered.

    Raises:
      tf.errors.OpError, OSError, ValueError, RuntimeError: it cannot be loaded.
    """

    def __init__(self, folder: Path):
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        self._callables: dict = {}
        self._lock = threading.Lock()
        try:
            with self._session.graph.as_default():
                graph = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(folder))
            self.signatures = dict(graph.signature_def)
            self.warmed_up = self._warm_up(folder / WARM_UP_FILE)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._callables.clear()
        self._session.close()

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of a signature; the inputs are those that it has, in its types.

        Raises:
          Refusal: what the graph said.
        """
        feeds, fetches, call = self._callable(signature)
        try:
            return dict(zip(fetches, call(*(inputs[name] for name in feeds)), strict=True))
        except tf.errors.OpError as error:
            raise refusal_of(error) from None

    def _callable(self, name: str):
        with self._lock:
            if name not in self._callables:
                signature = self.signatures[name]
                feeds, fetches = sorted(signature.inputs), sorted(signature.outputs)
                options = config_pb2.CallableOptions()
                options.feed.extend(signature.inputs[feed].name for feed in feeds)
                options.fetch.extend(signature.outputs[fetch].name for fetch in fetches)
                # Session.run would hold the requests against the placeholders' shapes first.
                made = self._session._make_callable_from_options(options)
                self._callables[name] = feeds, fetches, made
            return self._callables[name]

    def _warm_up(self, file: Path) -> int:
        if not file.exists():
            return 0
        count = 0
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            self.run(name, checked_inputs(self.signatures[name], request.inputs))
            count += 1
        return count


def checked_inputs(signature, given) -> dict[str, np.ndarray]:
    """A request's tensors, as the signature wants them.

    Args:
      signature: a SignatureDef.
      given: TensorProto by name.

    Raises:
      Refusal: other names or types, or no tensor, in the model server's words.
    """
    check_names(signature, set(given))
    found = {}
    for name, proto in given.items():
        wanted = tf.as_dtype(signature.inputs[name].dtype)
        try:
            found[name] = tf.make_ndarray(proto)
        except (ValueError, TypeError, OverflowError, MemoryError):
            raise bad_argument(f"tensor parsing error: {name}") from None
        sent = tf.as_dtype(proto.dtype)
        if sent != wanted:
            raise bad_argument(f"Expects {name} to be {wanted.name} but {sent.name} is provided")
    return found


def check_names(signature, sent: set[str]) -> None:
    """Raises a Refusal where inputs are missing or too many."""
    known = set(signature.inputs)
    if len(sent) != len(known):
        raise bad_argument(
            f"input size does not match signature: {len(sent)}!={len(known)} "
            f"len({_names(sent)}) != len({_names(known)}). Sent extra: {_names(sent - known)}. "
            f"Missing but required: {_names(known - sent)}."
        )
    for name in sorted(sent - known):
        raise bad_argument(
            f"input tensor alias not found in signature: {name}. Inputs expected to be in the set "
            f"{_names(known)}."
        )


def _names(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
