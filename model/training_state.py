"""Checkpoints that let a stopped training go on at the very step, on a CPU bit by bit.

A checkpoint is one file, `state.npz`: arrays and a JSON text. It is written beside its name and
then renamed, and the one before it is kept as `previous.npz`, so that a process that is killed, or
a disk that is full, at any moment leaves a whole one. The folder must be in a place that outlives
the component (TFX removes what a failed one wrote); it may be gs:// or the like.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from schema.errors import UserError

CURRENT, PREVIOUS = "state.npz", "previous.npz"
_ABOUT = "about"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
      about: plain values, such as the epoch and the step.
      arrays: in the order in which they were given.
    """

    about: dict[str, Any]
    arrays: list[np.ndarray]


class TrainingState:
    """The folder of one training's checkpoints.

    Args:
      folder: where they are; made when the first one is written.
    """

    def __init__(self, folder: str):
        self.folder = folder

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint; the one before it stays as the previous one.

        Raises:
          UserError: it cannot be written; the checkpoints before it are as they were.
        """
        current, unfinished = self._path(CURRENT), self._path("unfinished.npz")
        arrays = {f"{i:05d}": array for i, array in enumerate(checkpoint.arrays)}
        about = np.frombuffer(json.dumps(checkpoint.about).encode(), np.uint8)
        try:
            tf.io.gfile.makedirs(self.folder)
            try:
                # Zip files are written back and forth, which object storage does not do.
                content = io.BytesIO()
                np.savez(content, **{_ABOUT: about}, **arrays)
                _write(unfinished, content.getbuffer())
                if tf.io.gfile.exists(current):
                    tf.io.gfile.rename(current, self._path(PREVIOUS), overwrite=True)
                tf.io.gfile.rename(unfinished, current, overwrite=True)
            finally:
                if tf.io.gfile.exists(unfinished):
                    tf.io.gfile.remove(unfinished)
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                "cannot_train",
                f"cannot write a checkpoint to {self.folder}: {_reason(error)}. The checkpoint "
                "before it is kept: make room, and run again; training goes on from there",
            ) from error

    def load(self) -> Checkpoint | None:
        """The newest whole checkpoint, None without one. Damaged ones are removed, with a word."""
        for name in (CURRENT, PREVIOUS):
            path = self._path(name)
            if not tf.io.gfile.exists(path):
                continue
            try:
                return _read(path)
            except (
                OSError, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError,
                zipfile.BadZipFile, zlib.error, tf.errors.OpError,
            ) as error:  # fmt: skip
                logging.warning(
                    "The checkpoint %s is damaged (%s) and is put aside; %s.",
                    path,
                    _reason(error),
                    "the one before it is tried" if name == CURRENT else "training starts anew",
                )
                # Else the next one written would push the damaged one over the good one.
                with suppress(tf.errors.NotFoundError):  # another worker was quicker
                    tf.io.gfile.remove(path)
        return None

    def remove(self) -> None:
        """Removes the folder: what it was for is finished."""
        if tf.io.gfile.exists(self.folder):
            tf.io.gfile.rmtree(self.folder)

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


def _read(path: str) -> Checkpoint:
    with tf.io.gfile.GFile(path, "rb") as file, np.load(file, allow_pickle=False) as members:
        names: Sequence[str] = sorted(name for name in members.files if name != _ABOUT)
        about = json.loads(members[_ABOUT].tobytes())
        return Checkpoint(about, [members[name] for name in names])


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
