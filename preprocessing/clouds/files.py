"""One file of one point cloud, by its ending."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import quote

import numpy as np

from preprocessing.clouds.arrays import npy_columns, npz_columns
from preprocessing.clouds.columns import Columns, FileCloud, checked_labels, checked_points
from preprocessing.clouds.ply import ply_columns
from preprocessing.clouds.text import MAX_HEADER_BYTES, text_columns
from schema.errors import UserError

# Each reader takes a file's content, to list its columns only the start of it, and its name.
FORMATS: dict[str, Callable[[bytes, str], Columns]] = {
    ".ply": ply_columns,
    ".npy": npy_columns,
    ".npz": npz_columns,
    **dict.fromkeys((".pts", ".csv", ".txt", ".xyz"), text_columns),
}
CLOUD_ENDINGS = tuple(FORMATS)
# File systems allow names of 255 bytes, with the ending.
_LONGEST_STEM = 200


def ending_of(name: str) -> str:
    """The ending of a file's name in lower case, for example ".ply"."""
    return PurePosixPath(name).suffix.lower()


def start_size(name: str) -> int | None:
    """How many of the file's first bytes `columns_of` needs; None: all."""
    # An .npz lists its arrays at its end.
    return None if ending_of(name) == ".npz" else MAX_HEADER_BYTES


def columns_of(file: str, start: bytes, label: str | None = None) -> Columns:
    """What the file holds of each point, from its first `start_size(file)` bytes.

    The labels are the column, property or array named `label`; None takes a common name. Raises
    UserError `unknown_ending`, or what is wrong with the start of the file.
    """
    reader = FORMATS.get(ending_of(file))
    if reader is None:
        message = f"has the ending {ending_of(file)!r}, expected one of {', '.join(FORMATS)}."
        raise UserError("unknown_ending", message, file)
    return reader(start, file).labelled(label)


def read_cloud(
    file: str, content: bytes, label: str | None = None, with_labels: bool = True
) -> FileCloud:
    """Reads one cloud, its labels as in `columns_of`.

    Raises UserError if the file is not what its ending says, is cut short or has invalid numbers.
    """
    columns = columns_of(file, content, label)
    points = checked_points(columns.read_points(), file, columns.first_line)
    if not columns.has_names and columns.has_labels and _is_whole(points[:, 0]):
        _refuse_ambiguous(points[:, 0], columns.read_values(3), file)
    if not with_labels or not columns.has_labels:
        return FileCloud(points, None, columns.first_line)
    if len(columns.labels) > 1:
        found = " and ".join(columns.names[place] for place in columns.labels)
        remedy = "Name it in clouds.yaml (`label: <name>`), or remove the others."
        raise UserError("two_labels", f"found {found}, expected one label. {remedy}", file)
    labels = columns.read_values(columns.labels[0])
    if np.shape(labels) != (len(points),):
        message = f"has labels of shape {list(np.shape(labels))}, expected [{len(points)}]."
        raise UserError("wrong_shape", message, file)
    if isinstance(labels, np.ndarray):
        labels = checked_labels(labels, file, columns.first_line)
    return FileCloud(points, labels, columns.first_line)


def file_stem(shape_id: str) -> str:
    """A file name without ending for any shape id; different ids have different names.

    Percent-encoding, also of a dot or hyphen in front, keeps names in their folder, visible and
    unlike an option. A very long name ends in a hash.
    """
    stem = quote(shape_id, safe="", errors="surrogatepass")
    if stem[:1] in (".", "-"):
        stem = f"%{ord(stem[0]):02X}{stem[1:]}"
    if len(stem) > _LONGEST_STEM:
        digest = hashlib.sha256(stem.encode()).hexdigest()[:32]
        stem = f"{stem[: _LONGEST_STEM - 33]}%{digest}"
    return stem or "%"


def _refuse_ambiguous(first: np.ndarray, fourth: np.ndarray | list[str], file: str) -> None:
    """Refuses whole numbers that may be a row number or a label before x y z."""
    counts_rows = len(first) > 2 and first[0] in (0, 1) and (np.diff(first) == 1).all()
    if counts_rows or (isinstance(fourth, np.ndarray) and not _is_whole(np.nan_to_num(fourth))):
        message = "the first of four columns may be a row number or a label before x y z. Name them"
        raise UserError("ambiguous_columns", f"{message} (text: first line x,y,z,label).", file)


def _is_whole(numbers: np.ndarray) -> bool:
    return bool((numbers == np.trunc(numbers)).all())
