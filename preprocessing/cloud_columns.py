"""One cloud as a file holds it, and which of the file's columns are its points and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preprocessing.findings import BadInput

# What programs call the label where nobody says so; "scalar_label" is CloudCompare's name.
LABEL_NAMES = ("label", "labels", "scalar_label", "class", "classification", "part")
# Where a file says at its beginning what it holds, it says so within these bytes.
MAX_HEADER_BYTES = 2**16
# Labels are small whole numbers: text is read as float32, which holds these exactly.
MAX_LABEL = 2**24
_NAMES_SHOWN = 12


@dataclass(frozen=True)
class FileCloud:
    """One cloud, its labels as they stand in the file.

    Attributes:
      points: float32 [n, 3], finite, n >= 1.
      labels: int64 [n], or n words where the file names the parts; None where it has no labels.
      first_line: line of the first point; 0 where the file has no lines. One point a line.
    """

    points: np.ndarray
    labels: np.ndarray | list[str] | None
    first_line: int = 0

    def bad_point(self, code: str, sentence: str, file: str, point: int) -> BadInput:
        """What to raise for one point of the file."""
        return bad_point(code, sentence, file, self.first_line, point)


def bad_point(code: str, sentence: str, file: str, first_line: int, point: int) -> BadInput:
    """Names the line where the file has lines, else the point, counted from 1."""
    if first_line:
        return BadInput(code, sentence, file, first_line + point)
    return BadInput(code, f"point {point + 1}: {sentence}", file)


@dataclass(frozen=True)
class Columns:
    """What a file holds of each point, by the look of its beginning.

    Attributes:
      kind: what such a file calls them: "columns", "properties" or "arrays".
      names: their names; x, y, z and label where the file has none.
      has_labels: whether one of them is the label.
    """

    kind: str
    names: tuple[str, ...]
    has_labels: bool

    @property
    def others(self) -> tuple[str, ...]:
        """The names that are no coordinate: one could be a label that we do not know."""
        return tuple(name for name in self.names if name.lower() not in ("x", "y", "z", "points"))

    def __str__(self) -> str:
        more = ", ..." if len(self.names) > _NAMES_SHOWN else ""
        return f"{self.kind} {', '.join(self.names[:_NAMES_SHOWN])}{more}"


def label_name(names: Sequence[str], label: str | None, file: str) -> str | None:
    """The name that the labels have among these, or None.

    Args:
      names: of columns, properties or arrays.
      label: the only name to look for; None takes any of LABEL_NAMES. Case does not matter.
      file: for messages.

    Raises:
      BadInput: more than one could be meant.
    """
    wanted = LABEL_NAMES if label is None else (label.lower(),)
    found = [name for name in names if name.lower() in wanted]
    if len(found) > 1:
        raise BadInput(
            "two_labels",
            f"found {' and '.join(found)}, expected one that holds the labels. Say which with "
            "`label: <name>` in clouds.yaml, or remove one.",
            file,
        )
    return found[0] if found else None


def choose_columns(
    names: Sequence[str], label: str | None, file: str, line: int = 0
) -> tuple[int, ...]:
    """Places of x, y, z and, where there is one, of the label among a file's columns.

    Raises:
      BadInput: one of x, y, z is missing, or a name stands twice.
    """
    lower = [name.lower() for name in names]
    places = []
    for axis in "xyz":
        if lower.count(axis) != 1:
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise BadInput(
                "wrong_columns",
                f"found {lower.count(axis) or 'no'} columns named {axis} (columns: {shown}), "
                "expected x, y, z, each once. Name the columns so.",
                file,
                line,
            )
        places.append(lower.index(axis))
    chosen = label_name(names, label, file)
    return (*places, names.index(chosen)) if chosen is not None else tuple(places)


def finite_points(points: np.ndarray, file: str, first_line: int = 0) -> np.ndarray:
    """Coordinates [n, 3] as float32.

    Raises:
      BadInput: there is no point, or a number is not finite as float32.
    """
    if not len(points):
        raise BadInput(
            "empty_file",
            "holds no point, expected at least one. Restore the file or remove it.",
            file,
        )
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.array(points, np.float32, order="C")
    finite = np.isfinite(rounded).all(axis=1)
    if not finite.all():
        bad = int(finite.argmin())
        found = ", ".join(f"{number:g}" for number in points[bad].tolist())
        raise bad_point(
            "not_finite",
            f"found {found}, expected three finite 32-bit numbers. Correct the point or remove "
            "the file.",
            file,
            first_line,
            bad,
        )
    return rounded


def whole_numbers(numbers: np.ndarray, file: str) -> np.ndarray:
    """Labels [n] of any number type as int64.

    Raises:
      BadInput: a label is not whole, or larger than any label can be.
    """
    exact = numbers.astype(np.float64)
    whole = (exact == np.floor(exact)) & (np.abs(exact) < MAX_LABEL)
    if not whole.all():
        bad = int(whole.argmin())
        raise bad_point(
            "not_a_label",
            f"found label {exact[bad]:g}, expected a whole number. Correct the label or remove "
            "the file.",
            file,
            0,
            bad,
        )
    return exact.astype(np.int64)


def is_number(word: str) -> bool:
    """Whether Python would read a number from the word."""
    try:
        float(word)
    except ValueError:
        return False
    return True
