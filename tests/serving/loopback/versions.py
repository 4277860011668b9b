"""The numbered versions of a model in its base folder: loaded, switched and unloaded as the model
server does it.

The folder is looked at again and again. Of its versions the largest are wanted (or those that the
policy names). A wanted version is loaded and warmed up while the older one goes on answering; only
then is what nobody wants unloaded, when its last request is answered. A version that cannot be
loaded is tried again and then given up, with the reason in its status; nothing else changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.loopback.batching import Batcher, BatchingSettings, Tensors
from tests.serving.loopback.loaded_model import LoadedModel
from tests.serving.loopback.refusal import Refusal, bad_argument, refusal_of

States = get_model_status_pb2.ModelVersionStatus
# Give up waiting for a state after so long: a test has gone wrong.
_MOST_SECONDS = 120.0


@dataclass
class Version:
    """A version that is or was wanted.

    Attributes:
      number: its folder's name.
      state: as in ModelVersionStatus.
      error: why it was given up; None where it was not.
      served: answers requests while it is available.
    """

    number: int
    state: int = States.START
    error: Refusal | None = None
    served: ServedVersion | None = None
    attempts: int = 0
    next_attempt: float = 0.0


class ServedVersion:
    """A loaded model and the batches of its signatures.

    Args:
      number: of the version.
      model: loaded.
      batching: None: each request by itself.
      seen: told of each batch the rows of its requests.
    """

    def __init__(
        self,
        number: int,
        model: LoadedModel,
        batching: BatchingSettings | None,
        seen: Callable[[list[int]], None],
    ):
        self.number, self.model = number, model
        self.in_use = 0
        self._batchers = {
            name: Batcher(lambda inputs, name=name: model.run(name, inputs), batching, seen)
            for name in model.signatures
            if batching is not None and model.signatures[name].inputs
        }

    def answer(self, signature: str, inputs: Tensors) -> Tensors:
        """A signature's outputs; a Refusal where there are none."""
        if signature in self._batchers:
            return self._batchers[signature].answer(inputs)
        return self.model.run(signature, inputs)

    def close(self) -> None:
        for batcher in self._batchers.values():
            batcher.close()
        self.model.close()


class Versions:
    """Watches a model's base folder; see the module.

    Args:
      config: name, base path, version policy and labels, in the model server's own message.
      batching: None: each request by itself.
      seen: told of each batch the rows of its requests.
      poll_seconds: between two looks at the folder.
      load_retries: how often a version that fails is tried again.
      retry_seconds: before each of these.
    """

    def __init__(
        self,
        config: model_server_config_pb2.ModelConfig,
        batching: BatchingSettings | None,
        seen: Callable[[list[int]], None],
        poll_seconds: float,
        load_retries: int,
        retry_seconds: float,
    ):
        self.config = config
        self._batching, self._seen = batching, seen
        self._poll_seconds = poll_seconds
        self._load_retries, self._retry_seconds = load_retries, retry_seconds
        self._known: dict[int, Version] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Looks at the folder once, and from then on in a thread."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Ends the watching and unloads everything."""
        self._stopped.set()
        self._thread.join()
        for version in list(self._known.values()):
            self._unload(version)

    @contextmanager
    def using(self, spec: model_pb2.ModelSpec) -> Iterator[ServedVersion]:
        """The version that a request means; it stays loaded within the context.

        Raises:
          Refusal: there is none.
        """
        served = self._acquire(spec)
        try:
            yield served
        finally:
            with self._changed:
                served.in_use -= 1
                self._changed.notify_all()

    def _acquire(self, spec: model_pb2.ModelSpec) -> ServedVersion:
        with self._changed:
            wanted = self._number(spec)
            ready = {v.number: v for v in self._known.values() if v.state == States.AVAILABLE}
            if spec.name != self.config.name or not ready or wanted not in (None, *ready):
                latest = f"Latest({spec.name})"
                which = latest if wanted is None else f"Specific({spec.name}, {wanted})"
                raise _not_found(f"Servable not found for request: {which}")
            served = ready[max(ready) if wanted is None else wanted].served
            served.in_use += 1
            return served

    def _number(self, spec: model_pb2.ModelSpec) -> int | None:
        if not spec.name:
            raise bad_argument("ModelSpec has no name specified.")
        if spec.HasField("version"):
            return spec.version.value
        if not spec.version_label:
            return None
        if spec.version_label not in self.config.version_labels:
            raise bad_argument(f"Unrecognized servable version label: {spec.version_label}")
        return self.config.version_labels[spec.version_label]

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """What is known of all versions, or of the one that is asked for."""
        answer = get_model_status_pb2.GetModelStatusResponse()
        with self._changed:
            number = self._number(spec)
            known = [] if spec.name != self.config.name else list(self._known.values())
            for version in sorted(known, key=lambda version: version.number):
                if number not in (None, version.number):
                    continue
                one = answer.model_version_status.add()
                one.version, one.state = version.number, version.state
                if version.error:
                    one.status.error_code = version.error.code.value[0]
                    one.status.error_message = str(version.error)
        if not answer.model_version_status:
            which = "any versions" if number is None else f"version {number}"
            raise _not_found(f"Could not find {which} of model {spec.name}")
        return answer

    def wait_for(self, number: int, state: int) -> None:
        """Returns when a version is in a state.

        Raises:
          TimeoutError: it never is.
        """

        def reached() -> bool:
            return number in self._known and self._known[number].state == state

        with self._changed:
            if not self._changed.wait_for(reached, _MOST_SECONDS):
                raise TimeoutError(f"version {number} is not {States.State.Name(state)}")

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            self._look()

    def _look(self) -> None:
        wanted = self._wanted()
        if wanted is None:
            return
        for number in sorted(wanted, reverse=True):
            version = self._known.get(number)
            if version is None or (version.state == States.END and version.error is None):
                version = Version(number)
                with self._changed:
                    self._known[number] = version
            if version.state in (States.START, States.LOADING):
                self._load(version, wanted[number])
        serving = [n for n in wanted if self._known[n].state == States.AVAILABLE]
        for version in list(self._known.values()):
            if version.number in wanted:
                continue
            if version.state != States.AVAILABLE:
                self._forget(version)
            elif serving or not wanted:
                self._unload(version)

    def _wanted(self) -> dict[int, Path] | None:
        """The folders of the versions that the policy wants; None: there is no base folder."""
        base = Path(self.config.base_path)
        try:
            found = {int(p.name): p for p in base.iterdir() if p.name.isdecimal()}
        except OSError:
            return None
        policy = self.config.model_version_policy
        if policy.HasField("all"):
            return found
        if policy.HasField("specific"):
            return {n: p for n, p in found.items() if n in policy.specific.versions}
        return dict(sorted(found.items())[-max(policy.latest.num_versions, 1) :])

    def _load(self, version: Version, folder: Path) -> None:
        if version.next_attempt > time.monotonic():
            return
        self._change(version, States.LOADING)
        version.attempts += 1
        try:
            model = LoadedModel(folder)
        except Exception as error:
            if version.attempts <= self._load_retries:
                version.next_attempt = time.monotonic() + self._retry_seconds
                return
            version.error = _load_error(error)
            self._change(version, States.END)
            return
        version.served = ServedVersion(version.number, model, self._batching, self._seen)
        self._change(version, States.AVAILABLE)

    def _unload(self, version: Version) -> None:
        """Takes no new request, answers the old ones, and lets the model go."""
        if version.served is None:
            return
        with self._changed:
            version.state = States.UNLOADING
            self._changed.notify_all()
            self._changed.wait_for(lambda: not version.served.in_use)
        version.served.close()
        version.served = None
        self._change(version, States.END)

    def _forget(self, version: Version) -> None:
        """A version that failed and is gone may come again; its status stays until it does."""
        if version.state != States.END:
            self._change(version, States.END)
        version.error = None

    def _change(self, version: Version, state: int) -> None:
        with self._changed:
            version.state = state
            self._changed.notify_all()


def _not_found(said: str) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, said)


def _load_error(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, tf.errors.OpError):
        return refusal_of(error)
    if isinstance(error, OSError):
        return _not_found(str(error))
    return Refusal(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
