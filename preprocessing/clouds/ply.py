"""Clouds as PLY: reader of ascii and binary files, and writer of clouds with coloured parts.

Source of the format: Greg Turk, "The PLY Polygon File Format", 1994.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from preprocessing.clouds.columns import Columns, places_of_axes
from preprocessing.clouds.text import MAX_HEADER_BYTES, Table, checked_text
from schema.categories import UNANNOTATED_COLOUR, Category
from schema.errors import UserError
from schema.record import to_float32

PLY_ENDING, LABELS_ENDING = ".ply", ".labels"
_C_TYPES = ("char", "uchar", "short", "ushort", "int", "uint", "float", "double")
_TYPES = dict(zip(_C_TYPES, ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"), strict=True))
_TYPES |= {np.dtype(kind).name: kind for kind in (*_TYPES.values(), "i8", "u8")} | {"list": ""}
_BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class _Element:
    name: str
    count: int
    # Name, and NumPy's type or "" for a list.
    properties: list[tuple[str, str]] = field(default_factory=list)


def ply_columns(content: bytes, file: str) -> Columns:
    """The properties of the vertices; faces and other elements are ignored.

    UserErrors: `not_ply`, `bad_header`, `wrong_columns`, `empty_file`, `count_mismatch`; of an
    ascii file also those of a table of text.
    """
    order, elements, vertices, end = _header(content, file)
    kinds = [[kind for _, kind in element.properties] for element in elements]
    # In bytes, without those of lists, or in lines.
    units = [sum(int(kind[1:] or 0) for kind in each) if order else 1 for each in kinds]
    sizes = [element.count * unit for element, unit in zip(elements, units, strict=True)]
    before, known, count = sum(sizes[:vertices]), sum(sizes), elements[vertices].count
    names = tuple(name for name, _ in elements[vertices].properties)
    axes = places_of_axes(names, file)

    def check_size(found: int, noun: str) -> None:
        may_be_more = order and any("" in each for each in kinds)
        if found < known or (found > known and not may_be_more):
            message = f"has {found} {noun} after its header, expected {known}. Restore the file."
            raise UserError("count_mismatch", message, file)

    if order:

        def read(place: int) -> np.ndarray:
            check_size(len(content) - end, "bytes")
            fields = [(str(i), order + kind) for i, kind in enumerate(kinds[vertices])]
            return np.frombuffer(content, fields, count, end + before)[str(place)]

        def read_points() -> np.ndarray:
            return np.stack([read(axis).astype(np.float64) for axis in axes], axis=1)

        return Columns("properties", names, read_points, read)

    above = content.count(b"\n", 0, end)
    first = above + before

    def read_text() -> bytes:
        # Blank lines for the header's, so that an error names the line in the file.
        lines = checked_text(b"\n" * above + content[end:], file).split(b"\n")
        check_size(max(len(lines) - above, 0), "lines")
        return b"\n".join(lines[: first + count])

    table = Table(read_text, None, len(names), file, first + 1)
    return Columns("properties", names, lambda: table.numbers(axes), table.values, first + 1)


def _header(content: bytes, file: str) -> tuple[str, list[_Element], int, int]:
    """Byte order ("" of an ascii file), elements, place of the vertices, and the header's end."""
    head, mark, rest = content[:MAX_HEADER_BYTES].partition(b"\nend_header")
    lines = [line.split() for line in head.decode("utf-8", "replace").split("\n")]
    if lines[0] != ["ply"] or not mark or b"\n" not in rest:
        raise UserError("not_ply", "has no PLY header (ply ... end_header).", file)
    orders: list[str] = []
    # Properties before the first element belong to none.
    elements = [_Element("", 0)]
    for number, line in enumerate(lines[1:], 2):
        match line:
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", name, _] if name in _BYTE_ORDERS:
                orders.append(_BYTE_ORDERS[name])
            case ["element", name, count] if count.isdecimal() and len(count) < 16:
                elements.append(_Element(name, int(count)))
            case ["property", kind, name] | ["property", "list" as kind, *_, name] if (
                kind in _TYPES
            ):
                elements[-1].properties.append((name, _TYPES[kind]))
            case _:
                message = f"found {' '.join(line)[:60]!r}, expected a line of a PLY header."
                raise UserError("bad_header", message, file, number)
    names = [element.name for element in elements]
    place = names.index("vertex") if "vertex" in names else -1
    has_lists = any(not kind for e in elements[: place + 1] for _, kind in e.properties)
    if len(orders) != 1 or names.count("vertex") != 1 or has_lists:
        message = "expected a line format and one element vertex, without lists in or before it."
        raise UserError("bad_header", message, file)
    return orders[0], elements, place, len(head) + len(mark) + rest.index(b"\n") + 1


def labels_file(parts: np.ndarray) -> bytes:
    """The parts, int [n], as text: one a line; -1: no part."""
    return "".join(f"{part}\n" for part in np.asarray(parts).tolist()).encode()


def ply_file(points: np.ndarray, parts: np.ndarray, category: Category) -> bytes:
    """A binary PLY: x y z, red green blue of the part, label; comments name the parts.

    Of points [n, 3], raw, written as double where float would lose the shape, and parts, int [n],
    places in the category's parts; any other number is drawn grey.
    """
    points, parts = np.asarray(points), np.asarray(parts)
    if points.ndim != 2 or points.shape[1] != 3 or parts.shape != points.shape[:1]:
        raise ValueError(f"expected [n, 3] and [n], found {points.shape} and {parts.shape}")
    colours = [list(bytes.fromhex(c[1:])) for c in (*category.colours, UNANNOTATED_COLOUR)]
    known = (parts >= 0) & (parts < len(category.parts))
    rgb = np.array(colours)[np.where(known, parts, len(category.parts))]
    kind = "float" if to_float32(points)[1] is None else "double"
    types = dict.fromkeys("xyz", kind) | dict.fromkeys(("red", "green", "blue"), "uchar")
    types["label"] = "int"
    vertices = np.empty(len(points), [(name, f"<{_TYPES[kind]}") for name, kind in types.items()])
    for name, column in zip(types, (*points.T, *rgb.T, parts), strict=True):
        vertices[name] = column
    lines = ["ply", "format binary_little_endian 1.0"]
    # As JSON, a name is ASCII and stays on its line.
    lines.append(f"comment category {json.dumps(category.name)}")
    for label, (part, colour) in enumerate(zip(category.parts, category.colours, strict=True)):
        lines.append(f"comment label {label} {json.dumps(part)} {colour}")
    lines.append(f"element vertex {len(points)}")
    lines += [f"property {kind} {name}" for name, kind in types.items()]
    return "\n".join([*lines, "end_header\n"]).encode("ascii") + vertices.tobytes()
