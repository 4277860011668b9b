"""Requests of one signature put together as TensorFlow Serving's batching session does.

With `pad_variable_length_inputs`, requests of different shapes go together: each dimension but the
first is filled up to the longest with the tensor's own first scalar, and what comes back is dealt
out by rows and not cut to what was asked. If a batch fails, everyone in it gets the same error.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import grpc
import numpy as np

from tests.serving.loopback.refusal import Refusal, bad_argument

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class BatchingSettings:
    """What a --batching_parameters_file says; the defaults are the model server's.

    Attributes:
      max_batch_size: rows of a batch; a larger request is refused.
      batch_timeout_micros: how long the first request of a batch waits for others.
      num_batch_threads: batches that are computed at once.
      max_enqueued_batches: of a signature; beyond these, requests are UNAVAILABLE.
      pad_variable_length_inputs: put together what differs in other dimensions than the first.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    num_batch_threads: int = 2
    max_enqueued_batches: int = 10
    pad_variable_length_inputs: bool = False

    @classmethod
    def from_text(cls, text: str) -> BatchingSettings:
        """Reads the file's text form.

        Raises:
          ValueError: it has a setting that the double does not know.
        """
        text = re.sub(r"#.*", "", text)
        found = dict(re.findall(r"(\w+)\s*:?\s*\{\s*value\s*:\s*(\w+)\s*\}", text))
        found |= dict(re.findall(r"(\w+)\s*:\s*(true|false)", text))
        found = {name: value for name, value in found.items() if name != "value"}
        known = {f.name for f in fields(cls)}
        unknown = set(found) - known - {"thread_pool_name"}
        if unknown:
            raise ValueError(f"the double does not know {', '.join(sorted(unknown))}")
        return cls(
            **{name: value == "true" if value in ("true", "false") else int(value)
               for name, value in found.items() if name in known}
        )  # fmt: skip

    def to_text(self) -> str:
        """The file's text form."""
        lines = [
            f"{f.name} {{ value: {getattr(self, f.name)} }}"
            for f in fields(self)
            if f.name != "pad_variable_length_inputs"
        ]
        lines.append(f"pad_variable_length_inputs: {str(self.pad_variable_length_inputs).lower()}")
        return "\n".join(lines) + "\n"


@dataclass
class _Task:
    """A waiting request."""

    inputs: Tensors
    rows: int
    begun: float
    done: threading.Event = field(default_factory=threading.Event)
    outputs: Tensors | None = None
    refusal: Refusal | None = None


class Batcher:
    """The batches of one signature.

    Args:
      run: computes the outputs of inputs, or raises a Refusal.
      settings: how they are made.
      seen: told of each batch the rows of its requests.
    """

    def __init__(
        self,
        run: Callable[[Tensors], Tensors],
        settings: BatchingSettings,
        seen: Callable[[list[int]], None],
    ):
        self._run, self._settings, self._seen = run, settings, seen
        self._waiting: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._forming = threading.Lock()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(settings.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends the threads; nobody may be waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def answer(self, inputs: Tensors) -> Tensors:
        """A request's rows of the batch that it was put into.

        Raises:
          Refusal: it cannot be put into one, or the batch failed.
        """
        shapes = [value.shape for value in inputs.values()]
        if any(not shape for shape in shapes):
            raise bad_argument(
                "Batching session Run() input tensors must have at least one dimension"
            )
        if len({shape[0] for shape in shapes}) != 1:
            raise bad_argument(
                "Batching session Run() input tensors must have equal 0th-dimension size"
            )
        most = self._settings.max_batch_size
        task = _Task(inputs, shapes[0][0], time.monotonic())
        if task.rows > most:
            raise bad_argument(
                f"Task size {task.rows} is larger than maximum input batch size {most}"
            )
        with self._changed:
            waiting = sum(other.rows for other in self._waiting)
            if waiting + task.rows > most * self._settings.max_enqueued_batches:
                raise Refusal(
                    grpc.StatusCode.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full",
                )
            self._waiting.append(task)
            self._changed.notify_all()
        task.done.wait()
        if task.refusal:
            # One of its own: the same object raised in several threads would mix their traces.
            raise Refusal(task.refusal.code, str(task.refusal))
        return task.outputs

    def _work(self) -> None:
        while True:
            with self._forming:
                batch = self._next_batch()
            if batch is None:
                return
            self._compute(batch)

    def _next_batch(self) -> list[_Task] | None:
        """Waits for a batch to be full, or for its first request to have waited long enough."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            until = self._waiting[0].begun + self._settings.batch_timeout_micros / 1e6
            while not self._full() and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            batch = [self._waiting.popleft()]
            rows = batch[0].rows
            while self._waiting and rows + self._waiting[0].rows <= self._settings.max_batch_size:
                batch.append(self._waiting.popleft())
                rows += batch[-1].rows
            return batch

    def _full(self) -> bool:
        rows = sum(task.rows for task in self._waiting)
        return rows >= self._settings.max_batch_size or self._closed

    def _compute(self, batch: list[_Task]) -> None:
        try:
            self._seen([task.rows for task in batch])
            outputs = self._run(self._merged(batch))
            total = sum(task.rows for task in batch)
            if any(value.shape[:1] != (total,) for value in outputs.values()):
                raise Refusal(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors",
                )
            start = 0
            for task in batch:
                rows = slice(start, start + task.rows)
                task.outputs = {name: value[rows] for name, value in outputs.items()}
                start += task.rows
        except Refusal as refusal:
            for task in batch:
                task.refusal = refusal
        except Exception as error:
            for task in batch:
                task.refusal = Refusal(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
        finally:
            for task in batch:
                task.done.set()

    def _merged(self, batch: list[_Task]) -> Tensors:
        if len(batch) == 1:
            return batch[0].inputs
        merged = {}
        for name in batch[0].inputs:
            values = [task.inputs[name] for task in batch]
            if len({value.ndim for value in values}) > 1:
                raise bad_argument(
                    f"Tensors with name '{name}' from different tasks differ in rank"
                )
            if len({value.shape[1:] for value in values}) > 1:
                values = self._padded(name, values)
            merged[name] = np.concatenate(values)
        return merged

    def _padded(self, name: str, values: list[np.ndarray]) -> list[np.ndarray]:
        if not self._settings.pad_variable_length_inputs:
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different shapes and "
                "padding is turned off.Set pad_variable_length_inputs to true, or ensure that all "
                "tensors with the same namehave equal dimensions starting with the first dim.",
            )
        longest = np.max([value.shape[1:] for value in values], axis=0)
        padded = []
        for value in values:
            if not value.size:
                raise bad_argument("Got empty tensor in batch of non-empty tensors.")
            whole = np.full((len(value), *longest), value.flat[0], value.dtype)
            whole[tuple(slice(size) for size in value.shape)] = value
            padded.append(whole)
        return padded
