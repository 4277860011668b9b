"""Clouds that a model was asked for, kept as records, to be compared with the training clouds.

TensorFlow Serving's open server logs no requests, so the client does. A log is one GZIP TFRecord
file of tf.Examples as a conversion writes them, without labels: what `pointnet-parts inspect` and
`pointnet-parts skew` read.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from preprocessing.conversion.records import SUFFIX, Writer, to_example
from schema.errors import UserError
from schema.record import UNKNOWN_CATEGORY, Cloud


class RequestLog:
    """A file that is there, whole, when the log is closed.

    Args:
      path: the file; it must not be there yet.
      share: of all clouds that are kept. Which are is decided by their points: the same cloud is
        always kept or never.
      category: of all clouds; "" where nobody knows.

    Raises:
      UserError: the file is there already, has another ending, or cannot be written.
    """

    def __init__(self, path: Path, share: float, category: str) -> None:
        if not path.name.endswith(SUFFIX):
            raise UserError(
                "other_name", f"{path}: a log of requests ends in {SUFFIX}; give such a name."
            )
        if path.exists():
            raise UserError(
                "log_there",
                f"{path}: it is there already, and a log is not added to; give another name, such "
                "as one with the date.",
            )
        self._path, self._partial = path, path.with_name(f".{path.name}.partial")
        self._share, self._category = share, category or UNKNOWN_CATEGORY
        self.clouds = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._partial, "wb")  # noqa: SIM115 - close() does
        except OSError as error:
            raise UserError(
                "unwritable", f"{path}: it cannot be written ({error.strerror}); give another."
            ) from None
        self._writer = Writer(self._file)

    def add(self, name: str, points: np.ndarray) -> None:
        """Keeps a cloud, or not; see the share.

        Args:
          name: of the cloud.
          points: float32 [n, 3], as the model was asked.
        """
        if zlib.crc32(np.ascontiguousarray(points, np.float32).tobytes()) >= self._share * 2**32:
            return
        self._writer.write(to_example(Cloud(name, self._category, points)))
        self.clouds += 1

    def close(self) -> None:
        """Ends the file; where no cloud was kept there is none."""
        self._writer.close()
        self._file.close()
        if self.clouds:
            self._partial.rename(self._path)
        else:
            self._partial.unlink()
