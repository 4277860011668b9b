"""Checkpoints from which a stopped training is resumed at the very step, on a CPU bit by bit.

A checkpoint is one file, `state.npz`: arrays and a JSON text. It is written beside its name and
then renamed, and the one before it is kept as `previous.npz`, so that a process that is killed, or
a disk that is full, at any moment leaves a complete one. The folder must outlive the component (TFX
removes what a failed one wrote); it may be gs:// or the like.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tenacity
import tensorflow as tf
from absl import logging

from schema.errors import UserError

CURRENT, PREVIOUS = "state.npz", "previous.npz"
_ABOUT = "about"
_STORAGE_ERRORS = (OSError, tf.errors.OpError)

# A storage service answers 503 now and then; a local disk's errors cost a few seconds.
retried = tenacity.Retrying(
    retry=tenacity.retry_if_exception(
        lambda error: (
            isinstance(error, _STORAGE_ERRORS)
            and not isinstance(error, tf.errors.NotFoundError | FileNotFoundError)
        )
    ),
    stop=tenacity.stop_after_attempt(4),
    wait=tenacity.wait_exponential(multiplier=0.5),
    reraise=True,
)


@dataclass(frozen=True)
class Checkpoint:
    """Plain values, such as the step, and arrays in a fixed order."""

    about: dict[str, Any]
    arrays: list[np.ndarray]


class Checkpoints:
    """The folder of one training's checkpoints; made when the first one is written.

    Only the process that `writes` changes files.
    """

    def __init__(self, folder: str, writes: bool = True):
        self.folder = folder
        self.writes = writes

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint; the one before it becomes the previous one.

        Raises UserError if it cannot be written; those before it are as they were.
        """
        if not self.writes:
            return
        current, unfinished = self._path(CURRENT), self._path("unfinished.npz")
        arrays = {f"{i:05d}": array for i, array in enumerate(checkpoint.arrays)}
        about = np.frombuffer(json.dumps(checkpoint.about).encode(), np.uint8)
        # Zip files are written back and forth, which object storage does not do.
        content = io.BytesIO()
        np.savez(content, **{_ABOUT: about}, **arrays)

        def write() -> None:
            tf.io.gfile.makedirs(self.folder)
            _write(unfinished, content.getbuffer())
            if tf.io.gfile.exists(current):
                tf.io.gfile.rename(current, self._path(PREVIOUS), overwrite=True)
            tf.io.gfile.rename(unfinished, current, overwrite=True)

        try:
            self._with_storage("write", write)
        except UserError:
            with suppress(*_STORAGE_ERRORS):
                tf.io.gfile.remove(unfinished)
            raise

    def load(self) -> Checkpoint | None:
        """The newest readable checkpoint, or None.

        A damaged file is renamed to `damaged-...`. Raises UserError if storage cannot be read.
        """
        for name in (CURRENT, PREVIOUS):
            path = self._path(name)
            try:
                content = self._with_storage("read", partial(_read, path))
            except (tf.errors.NotFoundError, FileNotFoundError):
                continue
            try:
                return _parse(content)
            # Damaged zip files raise many kinds of errors.
            except Exception as error:
                logging.warning("The checkpoint %s is damaged (%s).", path, _reason(error))
                if self.writes:
                    # Else the next one written would push the damaged one over the good one.
                    damaged = self._path(f"damaged-{name}")
                    tf.io.gfile.rename(path, damaged, overwrite=True)
        return None

    def remove(self) -> None:
        """Removes the folder of a finished training."""
        if self.writes and tf.io.gfile.exists(self.folder):
            tf.io.gfile.rmtree(self.folder)

    def _with_storage(self, verb: str, action: Callable[[], Any]) -> Any:
        try:
            return retried(action)
        except (tf.errors.NotFoundError, FileNotFoundError):
            raise
        except _STORAGE_ERRORS as error:
            raise UserError(
                "cannot_train",
                f"cannot {verb} the checkpoint in {self.folder}: {_reason(error)}. Files there "
                "are kept: see to the storage (room, rights, network) and run again; training is "
                "resumed from the last checkpoint",
            ) from error

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)


def _write(path: str, content: memoryview) -> None:
    if "://" in path:
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(bytes(content))
        return
    with open(path, "wb") as file:
        file.write(content)
        # A renamed file whose content was lost by a power cut would be a damaged checkpoint.
        file.flush()
        os.fsync(file.fileno())


def _read(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        content: bytes = file.read()
        return content


def _parse(content: bytes) -> Checkpoint:
    with np.load(io.BytesIO(content), allow_pickle=False) as members:
        names = sorted(name for name in members.files if name != _ABOUT)
        about = json.loads(members[_ABOUT].tobytes())
        return Checkpoint(about, [members[name] for name in names])


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
