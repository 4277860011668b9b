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
    retry=tenacity.retry_if_exception_type(_STORAGE_ERRORS),
    stop=tenacity.stop_after_attempt(4),
    wait=tenacity.wait_exponential(multiplier=0.5),
    reraise=True,
)


class Checkpoints:
    """The folder of one training's checkpoints; made when the first one is written.

    Only the process that `writes` changes files.
    """

    def __init__(self, folder: str, writes: bool = True):
        self.folder = folder
        self.writes = writes

    def save(self, about: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Writes plain values and arrays; the checkpoint before it becomes the previous one.

        Raises UserError if it cannot be written; those before it are as they were.
        """
        if not self.writes:
            return
        # Zip files are written back and forth, which object storage does not do.
        content = io.BytesIO()
        named = {f"{i:05d}": array for i, array in enumerate(arrays)}
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez(content, **{_ABOUT: text}, **named)
        current, unfinished = self._path(CURRENT), self._path("unfinished.npz")

        def write() -> None:
            tf.io.gfile.makedirs(self.folder)
            _write(unfinished, content.getvalue())
            if tf.io.gfile.exists(current):
                tf.io.gfile.rename(current, self._path(PREVIOUS), overwrite=True)
            tf.io.gfile.rename(unfinished, current, overwrite=True)

        try:
            self._with_storage("write", write)
        except UserError:
            with suppress(*_STORAGE_ERRORS):
                tf.io.gfile.remove(unfinished)
            raise

    def load(self) -> tuple[dict[str, Any], list[np.ndarray]] | None:
        """The newest readable checkpoint's values and arrays, or None.

        A damaged file is renamed to `damaged-...`. Raises UserError if storage cannot be read.
        """
        for name in (CURRENT, PREVIOUS):
            path = self._path(name)
            content = self._with_storage("read", partial(_read, path))
            if content is None:
                continue
            try:
                return _parse(content)
            # Damaged zip files raise many kinds of errors.
            except Exception as error:
                logging.warning("The checkpoint %s is damaged (%s).", path, error)
                if self.writes:
                    # Else the next one written would push the damaged one over the good one.
                    tf.io.gfile.rename(path, self._path(f"damaged-{name}"), overwrite=True)
        return None

    def remove(self) -> None:
        """Removes the folder of a finished training."""
        if self.writes and tf.io.gfile.exists(self.folder):
            tf.io.gfile.rmtree(self.folder)

    def _with_storage(self, verb: str, action: Callable[[], Any]) -> Any:
        try:
            return retried(action)
        except _STORAGE_ERRORS as error:
            raise UserError(
                "cannot_train",
                f"cannot {verb} the checkpoint in {self.folder}: {error}. Files there are kept: "
                "check the storage (space, permissions, network) and run again; training is "
                "resumed from the last checkpoint",
            ) from error

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)


def _write(path: str, content: bytes) -> None:
    if "://" in path:
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(content)
        return
    with open(path, "wb") as file:
        file.write(content)
        # A renamed file whose content was lost by a power cut would be a damaged checkpoint.
        file.flush()
        os.fsync(file.fileno())


def _read(path: str) -> bytes | None:
    """The content of a file, None if there is none."""
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as file:
        content: bytes = file.read()
        return content


def _parse(content: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as members:
        names = sorted(name for name in members.files if name != _ABOUT)
        return json.loads(members[_ABOUT].tobytes()), [members[name] for name in names]
