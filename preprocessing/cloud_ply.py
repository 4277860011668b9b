"""Clouds as PLY: ascii and both binary forms, any order and type of the vertex's properties.

The header is read here and the numbers by NumPy and preprocessing.number_table. trimesh's reader
takes a file that is cut short, a word where a number should stand, or a label that its type cannot
hold (300 in a uchar becomes 44) without a word; in the tests it is the oracle for sound files.

Source of the format: Greg Turk, "The PLY Polygon File Format", 1994.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from preprocessing.cloud_columns import (
    MAX_HEADER_BYTES,
    Columns,
    FileCloud,
    choose_columns,
    finite_points,
    whole_numbers,
)
from preprocessing.cloud_tables import parse_rows
from preprocessing.findings import BadInput

_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "int64": "i8",
    "uint64": "u8",
    "float32": "f4",
    "float64": "f8",
}
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}


@dataclass
class _Element:
    """A kind of thing in the file: count of them, and the names and types of their properties."""

    name: str
    count: int
    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    has_list: bool = False

    def dtype(self, order: str) -> np.dtype:
        """One of them in a binary file; only where it has no list."""
        return np.dtype([(f"p{i}", order + kind) for i, kind in enumerate(self.types)])


@dataclass(frozen=True)
class _Header:
    order: str
    elements: list[_Element]
    vertex: _Element
    places: tuple[int, ...]
    lines: int
    end: int


def ply_columns(start: bytes, file: str, label: str | None) -> Columns:
    """The vertices' properties, from the file's first MAX_HEADER_BYTES."""
    header = _header(start, file, label)
    return Columns("properties", tuple(header.vertex.names), len(header.places) > 3)


def parse_ply(content: bytes, file: str, label: str | None) -> FileCloud:
    """Reads the vertices; faces and whatever else follows them are not looked at.

    Args:
      content: of the file.
      file: its name, for messages.
      label: name of the label's property; None takes a common one.

    Raises:
      BadInput: it is no PLY, has no vertices with x, y, z, or holds fewer or more than its header
        says.
    """
    header = _header(content, file, label)
    if not header.vertex.count:
        raise BadInput(
            "empty_file", "holds no vertex, expected at least one. Remove the file.", file
        )
    return _ascii(content, header, file) if not header.order else _binary(content, header, file)


def _ascii(content: bytes, header: _Header, file: str) -> FileCloud:
    try:
        text = content[header.end :].decode("ascii")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, header.end + error.start) + 1
        raise BadInput(
            "wrong_encoding",
            f"found the byte {error.object[error.start]:#04x}, expected plain ASCII numbers as "
            "the header says. Restore the file.",
            file,
            line,
        ) from None
    lines = text.rstrip().split("\n") if text.strip() else []
    expected = sum(element.count for element in header.elements)
    if len(lines) != expected:
        raise _other_count(f"{len(lines)} lines after its header", f"{expected}", file)
    before = sum(e.count for e in header.elements[: header.elements.index(header.vertex)])
    return parse_rows(
        lines[before : before + header.vertex.count],
        None,
        header.vertex.names,
        header.places,
        file,
        header.lines + before + 1,
    )


def _binary(content: bytes, header: _Header, file: str) -> FileCloud:
    start = header.end
    for element in header.elements:
        if element is header.vertex:
            break
        if element.has_list:
            raise BadInput(
                "wrong_order",
                f"has lists of {element.name} before the vertices, expected the vertices first. "
                "Save it again with another program.",
                file,
            )
        start += element.count * element.dtype(header.order).itemsize
    dtype = header.vertex.dtype(header.order)
    has_lists = any(element.has_list for element in header.elements)
    expected = sum(
        e.count * e.dtype(header.order).itemsize for e in header.elements if not e.has_list
    )
    found = len(content) - header.end
    if found < expected or (found != expected and not has_lists):
        least = "at least " if has_lists else ""
        raise _other_count(f"{found} bytes after its header", f"{least}{expected}", file)
    table = np.frombuffer(content, dtype, header.vertex.count, start)
    x, y, z, *label = (table[f"p{place}"] for place in header.places)
    points = np.stack([column.astype(np.float64) for column in (x, y, z)], axis=1)
    return FileCloud(finite_points(points, file), whole_numbers(label[0], file) if label else None)


def _other_count(found: str, expected: str, file: str) -> BadInput:
    return BadInput(
        "count_mismatch",
        f"has {found}, expected {expected} by the header's counts. Restore the file (one cut short "
        "looks so) or remove it.",
        file,
    )


def _header(content: bytes, file: str, label: str | None) -> _Header:
    lines, end = _header_lines(content, file)
    order: str | None = None
    elements: list[_Element] = []
    for number, line in enumerate(lines, 1):
        match line.split():
            case ["ply"] if number == 1:
                pass
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", name, _] if name in _BYTE_ORDERS and order is None:
                order = _BYTE_ORDERS[name]
            case ["element", name, count] if count.isdecimal() and len(count) < 16:
                elements.append(_Element(name, int(count)))
            case ["property", "list", length, kind, _] if (
                elements and length in _TYPES and kind in _TYPES
            ):
                elements[-1].has_list = True
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1].names.append(name)
                elements[-1].types.append(_TYPES[kind])
            case _:
                raise BadInput(
                    "bad_header",
                    f"found {line[:60]!r}, expected a line of a PLY header (format, element, "
                    "property, comment). Restore the file.",
                    file,
                    number,
                )
    vertices = [element for element in elements if element.name == "vertex"]
    lacks = None
    if order is None:
        lacks = "no line format"
    elif len(vertices) != 1:
        lacks = f"{len(vertices) or 'no'} elements named vertex"
    elif vertices[0].has_list:
        lacks = "a list among the vertices' properties"
    if order is None or lacks is not None:
        raise BadInput(
            "bad_header",
            f"has {lacks} in its header, expected one format and one element vertex of plain "
            "numbers. Save the cloud again as PLY.",
            file,
        )
    places = choose_columns(vertices[0].names, label, file)
    return _Header(order, elements, vertices[0], places, len(lines) + 1, end)


def _header_lines(content: bytes, file: str) -> tuple[list[str], int]:
    """The header's lines without end_header, and where the content begins."""
    lines: list[str] = []
    start = 0
    while True:
        end = content.find(b"\n", start, MAX_HEADER_BYTES)
        line = content[start:end].decode("utf-8", "replace").rstrip("\r \t")
        if end < 0 or (not lines and line != "ply"):
            raise BadInput(
                "not_ply",
                "has no PLY header (ply ... end_header). Restore the file, or give it the ending "
                "of what it is.",
                file,
            )
        start = end + 1
        if line == "end_header":
            return lines, start
        lines.append(line)
