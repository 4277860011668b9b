"""What a file of a cloud holds of each point, and which of it are the coordinates and the label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from schema.errors import UserError

# Case does not matter, and CloudCompare writes "scalar_" before a name.
LABEL_NAMES = ("label", "labels", "class", "classification", "part")
# Labels are whole numbers below this one, which every float type holds exactly.
MAX_LABEL = 2**24
_MAX_COORDINATE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class FileCloud:
    """One cloud, with its labels as the file has them.

    Attributes:
      points: float64 [n, 3], n >= 1, finite and within the range of float32.
      labels: int64 [n]; float64 [n] where some are NaN; n words; None: no labels, or not read.
      first_line: line of the first point, one point a line; 0 where the file has no lines.
    """

    points: np.ndarray
    labels: np.ndarray | list[str] | None
    first_line: int = 0


@dataclass(frozen=True)
class Columns:
    """What a file holds of each point, known from its beginning; its numbers are read on demand.

    Attributes:
      kind: what they are called in such a file: "columns", "properties" or "arrays".
      names: their names, some perhaps empty; x, y, z and perhaps label where the file has none.
      read_points: returns the coordinates, float64 [n, 3], perhaps not finite.
      read_values: returns the column at a place in `names`: [n] of any number type, or n words.
      first_line: as in `FileCloud`.
      has_names: whether the names are the file's.
      labels: places in `names` of what may be the label.
    """

    kind: str
    names: tuple[str, ...]
    read_points: Callable[[], np.ndarray]
    read_values: Callable[[int], np.ndarray | list[str]]
    first_line: int = 0
    has_names: bool = True
    labels: tuple[int, ...] = ()

    def labelled(self, name: str | None) -> Columns:
        """With the places of the columns of this name, or of a common one if it is None."""
        known = (_plain(name),) if name and self.has_names else LABEL_NAMES
        places = tuple(i for i, column in enumerate(self.names) if _plain(column) in known)
        return replace(self, labels=places)

    @property
    def has_labels(self) -> bool:
        """Whether one of the columns is the label."""
        return bool(self.labels)

    @property
    def others(self) -> tuple[str, ...]:
        """The names that are not coordinates: one of them may be an unknown name of the label."""
        return tuple(name for name in self.names if name.lower() not in ("x", "y", "z", "points"))

    def __str__(self) -> str:
        return f"{self.kind} {shown(self.names)}"


def shown(names: Sequence[str]) -> str:
    """The names for a message."""
    return ", ".join(name or "(no name)" for name in names)[:300]


def point_error(code: str, message: str, file: str, first_line: int, point: int) -> UserError:
    """Names a point by its line, or by its number from 1 where there are no lines."""
    if first_line:
        return UserError(code, message, file, first_line + point)
    return UserError(code, f"point {point + 1}: {message}", file)


def places_of_axes(names: Sequence[str], file: str, line: int = 0) -> tuple[int, ...]:
    """Places of x, y and z among the names; UserError `wrong_columns` unless each occurs once."""
    lower = [name.lower() for name in names]
    for axis in "xyz":
        if lower.count(axis) != 1:
            message = f"found {lower.count(axis) or 'no'} columns named {axis} ({shown(names)})"
            raise UserError("wrong_columns", f"{message}, expected x, y, z once each.", file, line)
    return tuple(map(lower.index, "xyz"))


def checked_points(points: np.ndarray, file: str, first_line: int = 0) -> np.ndarray:
    """The coordinates [n, 3]; UserError `empty_file` or `not_finite` (also beyond float32)."""
    if not len(points):
        raise UserError("empty_file", "has no points, expected at least one.", file)
    fits = np.abs(points) <= _MAX_COORDINATE
    if not fits.all():
        point = int(fits.all(axis=1).argmin())
        numbers = ", ".join(f"{number:g}" for number in points[point].tolist())
        message = f"found {numbers}, expected finite numbers within the range of 32-bit floats."
        raise point_error("not_finite", message, file, first_line, point)
    return points


def checked_labels(numbers: np.ndarray, file: str, first_line: int = 0) -> np.ndarray:
    """Labels [n] as int64, or float64 where some are NaN; UserError `not_a_label`."""
    exact = np.asarray(numbers, np.float64)
    missing = np.isnan(exact)
    fits = missing | ((np.abs(exact) < MAX_LABEL) & (exact == np.trunc(exact)))
    if not fits.all():
        point = int(fits.argmin())
        message = f"found label {exact[point]:g}, expected a whole number below {MAX_LABEL}."
        raise point_error("not_a_label", message, file, first_line, point)
    return exact if missing.any() else exact.astype(np.int64)


def _plain(name: str) -> str:
    return name.lower().removeprefix("scalar_")
