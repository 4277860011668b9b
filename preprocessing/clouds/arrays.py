"""Clouds as NumPy arrays: `.npy` [n, 3] or [n, 4], `.npz` with `points` [n, 3] and labels [n].

UserErrors: `not_npy`, `not_npz`, `no_points`, `wrong_type`, `wrong_shape`, `count_mismatch`.
"""

from __future__ import annotations

import io
import math

import numpy as np

from preprocessing.clouds.columns import Columns, shown
from schema.errors import UserError


def npy_columns(content: bytes, file: str) -> Columns:
    """The columns of an array of x y z, or of x y z label."""
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    except Exception:  # NumPy evaluates the header as a Python literal.
        raise UserError("not_npy", "is not a file of np.save, or is cut short.", file) from None
    _check_type(dtype, file)
    if len(shape) != 2 or shape[1] not in (3, 4):
        message = f"has the shape {list(shape)}, expected [n, 3] (x y z) or [n, 4] (x y z label)."
        raise UserError("wrong_shape", message, file)

    def read() -> np.ndarray:
        found, expected = len(content) - stream.tell(), math.prod(shape) * dtype.itemsize
        if found != expected:
            message = f"has {found} bytes for the shape {list(shape)}, expected {expected}."
            raise UserError("count_mismatch", f"{message} Restore the file.", file)
        return np.load(io.BytesIO(content))

    names = ("x", "y", "z", "label")[: shape[1]]
    return Columns(
        "columns", names, lambda: read()[:, :3].astype(float), lambda i: read()[:, i], 0, False
    )


def npz_columns(content: bytes, file: str) -> Columns:
    """The arrays of an archive."""
    try:
        archive = np.load(io.BytesIO(content))
        names = tuple(archive.files)
    except Exception:  # Many kinds, from struct.error to NotImplementedError.
        raise UserError("not_npz", "is not a file of np.savez, or is cut short.", file) from None
    if "points" not in names:
        message = f"has the arrays {shown(names) or '(none)'}, expected one named points."
        raise UserError("no_points", message, file)

    def read(name: str) -> np.ndarray:
        try:
            array = np.asarray(archive[name])
        except Exception as error:
            message = f"the array {name} is damaged ({error!s:.80}). Restore the file."
            raise UserError("not_npz", message, file) from None
        _check_type(array.dtype, file)
        return array

    def read_points() -> np.ndarray:
        points = read("points")
        if points.ndim != 2 or points.shape[1] != 3:
            message = f"points has the shape {list(points.shape)}, expected [n, 3]."
            raise UserError("wrong_shape", message, file)
        return points.astype(np.float64)

    return Columns("arrays", names, read_points, lambda place: read(names[place]))


def _check_type(dtype: np.dtype, file: str) -> None:
    if dtype.kind not in "fiu":
        message = f"has values of type {dtype!s:.60}, expected numbers."
        raise UserError("wrong_type", message, file)
