"""One file of one point cloud, by its ending: PLY, NumPy arrays, or a table of text."""

from __future__ import annotations

from pathlib import PurePosixPath

from preprocessing.cloud_arrays import npy_columns, npz_columns, parse_npy, parse_npz
from preprocessing.cloud_columns import MAX_HEADER_BYTES, Columns, FileCloud
from preprocessing.cloud_ply import parse_ply, ply_columns
from preprocessing.cloud_tables import parse_cloud_table, table_columns
from preprocessing.findings import BadInput

TABLE_ENDINGS = (".pts", ".csv", ".txt", ".xyz")
ENDINGS = (".ply", ".npy", ".npz", *TABLE_ENDINGS)


def ending_of(name: str) -> str:
    """The ending of a file's name, in small letters: ".ply"."""
    return PurePosixPath(name).suffix.lower()


def start_size(name: str) -> int | None:
    """How many of the file's first bytes `columns_of` needs; None: all."""
    # An .npz has its list of arrays at its end.
    return None if ending_of(name) == ".npz" else MAX_HEADER_BYTES


def columns_of(name: str, start: bytes, label: str | None) -> Columns:
    """What the file holds of each point, without reading its points.

    Args:
      name: of the file; its ending says what it is.
      start: its first `start_size(name)` bytes.
      label: name of the column, property or array with the labels; None takes a common one.

    Raises:
      BadInput: it does not begin as such a file does.
    """
    ending = ending_of(name)
    if ending == ".ply":
        return ply_columns(start, name, label)
    if ending == ".npy":
        return npy_columns(start, name)
    if ending == ".npz":
        return npz_columns(start, name, label)
    return table_columns(start, name, label)


def parse_cloud_file(name: str, content: bytes, label: str | None) -> FileCloud:
    """Reads one cloud.

    Args:
      name: of the file; its ending, one of ENDINGS, says what it is.
      content: all of it.
      label: name of the column, property or array with the labels; None takes a common one.

    Returns:
      The points, and the labels as the file has them.

    Raises:
      BadInput: it is not what its ending says, is cut short, or holds a number that is not finite.
    """
    ending = ending_of(name)
    if ending == ".ply":
        return parse_ply(content, name, label)
    if ending == ".npy":
        return parse_npy(content, name)
    if ending == ".npz":
        return parse_npz(content, name, label)
    if ending in TABLE_ENDINGS:
        return parse_cloud_table(content, name, label)
    raise BadInput(
        "unknown_ending",
        f"has the ending {ending!r}, expected one of {', '.join(ENDINGS)}. Save it so.",
        name,
    )
