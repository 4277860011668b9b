"""Clouds as NumPy arrays: `.npy` [n, 3] or [n, 4], `.npz` with points and labels.

Nothing is unpickled, and nothing is allocated that the file does not hold: the header's shape is
compared with the bytes that are there.
"""

from __future__ import annotations

import io
import math
import warnings

import numpy as np

from preprocessing.cloud_columns import (
    Columns,
    FileCloud,
    finite_points,
    label_name,
    whole_numbers,
)
from preprocessing.file_tree import Archive
from preprocessing.findings import BadInput

_POINTS = "points"


def npy_columns(start: bytes, file: str) -> Columns:
    """The columns of an array [n, 3] or [n, 4] that begins so."""
    shape = _header(io.BytesIO(start), file)[0]
    has_labels = len(shape) == 2 and shape[1] == 4
    return Columns("columns", ("x", "y", "z", "label")[: 3 + has_labels], has_labels)


def parse_npy(content: bytes, file: str) -> FileCloud:
    """Reads an array of x y z, or x y z label.

    Raises:
      BadInput: it is no such array.
    """
    table = _array(content, file)
    if table.ndim != 2 or table.shape[1] not in (3, 4):
        raise _wrong_shape("the array", table, "[n, 3] (x y z) or [n, 4] (x y z label)", file)
    points = finite_points(table[:, :3], file)
    return FileCloud(points, whole_numbers(table[:, 3], file) if table.shape[1] == 4 else None)


def npz_columns(content: bytes, file: str, label: str | None) -> Columns:
    """The archive's arrays."""
    names = _names(_archive(content, file), file)
    return Columns("arrays", tuple(names), label_name(names, label, file) is not None)


def parse_npz(content: bytes, file: str, label: str | None) -> FileCloud:
    """Reads the arrays `points` [n, 3] and, if there is one, the labels' [n].

    Args:
      content: of the file.
      file: its name, for messages.
      label: name of the labels' array; None takes a common one.

    Raises:
      BadInput: there are no such arrays, or the archive is damaged.
    """
    archive = _archive(content, file)
    names = _names(archive, file)
    points = _member(archive, _POINTS, file)
    if points.ndim != 2 or points.shape[1] != 3:
        raise _wrong_shape("points", points, "[n, 3]", file)
    points = finite_points(points, file)
    chosen = label_name(names, label, file)
    if chosen is None:
        return FileCloud(points, None)
    labels = _member(archive, chosen, file)
    if labels.ndim != 1 or len(labels) != len(points):
        raise _wrong_shape(chosen, labels, f"[{len(points)}], one for each point", file)
    return FileCloud(points, whole_numbers(labels, file))


def _archive(content: bytes, file: str) -> Archive:
    try:
        return Archive(file, content)
    except BadInput:
        raise BadInput(
            "not_npz",
            "is no .npz, or cut short. Save it with np.savez, or restore it.",
            file,
        ) from None


def _names(archive: Archive, file: str) -> list[str]:
    ending = ".npy"
    names = [e.name.removesuffix(ending) for e in archive.entries("") if e.name.endswith(ending)]
    if _POINTS not in names:
        raise BadInput(
            "no_points",
            f"holds the arrays {', '.join(names[:6]) or '(none)'}, expected one named points. "
            "Save it with np.savez(file, points=..., labels=...).",
            file,
        )
    return names


def _member(archive: Archive, name: str, file: str) -> np.ndarray:
    try:
        content = archive.read(f"{name}.npy")
    except BadInput as error:
        raise BadInput(error.code, f"array {name} {error.sentence}", file) from None
    return _array(content, file)


def _header(stream: io.BytesIO, file: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type; leaves the stream where the numbers begin."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(stream)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            return read(stream)
    # Whatever Python's own parser raises on a literal of random bytes.
    except Exception:
        raise BadInput(
            "not_npy",
            "is no NumPy array of numbers, or cut short in its header. Save it with np.save, or "
            "restore it.",
            file,
        ) from None


def _array(content: bytes, file: str) -> np.ndarray:
    stream = io.BytesIO(content)
    shape, is_fortran, dtype = _header(stream, file)
    if dtype.kind not in "fiu":
        raise BadInput(
            "wrong_type",
            f"holds values of type {str(dtype)[:60]}, expected numbers (float32, float64, or an "
            "integer type). Save it as numbers.",
            file,
        )
    start = stream.tell()
    expected = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or len(content) - start != expected:
        raise BadInput(
            "count_mismatch",
            f"has the shape {list(shape)}, which takes {expected} bytes, but holds "
            f"{len(content) - start}. Restore the file or remove it.",
            file,
        )
    flat = np.frombuffer(content, dtype, offset=start)
    return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)


def _wrong_shape(name: str, array: np.ndarray, expected: str, file: str) -> BadInput:
    return BadInput(
        "wrong_shape",
        f"{name} has the shape {list(array.shape)}, expected {expected}. Save it so, or remove "
        "the file.",
        file,
    )
