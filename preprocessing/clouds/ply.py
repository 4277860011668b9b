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
_TYPES |= {np.dtype(kind).name: kind for kind in (*_TYPES.values(), "i8", "u8")}
_LIST = ""
_BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class _Element:
    name: str
    count: int
    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)


def ply_columns(content: bytes, file: str) -> Columns:
    """The properties of the vertices; faces and other elements are ignored.

    UserErrors: `not_ply`, `bad_header`, `wrong_columns`, `empty_file`, `count_mismatch`; of an
    ascii file also those of a table of text.
    """
    order, elements, place, end = _header(content, file)
    vertex = elements[place]
    # In bytes, without those of lists, or in lines.
    units = [sum(int(kind[1:] or 0) for kind in e.types) if order else 1 for e in elements]
    sizes = [element.count * unit for element, unit in zip(elements, units, strict=True)]
    before, known = sum(sizes[:place]), sum(sizes)
    names = tuple(vertex.names)
    axes = places_of_axes(names, file)

    def check_size(found: int, noun: str) -> None:
        has_lists = any(_LIST in element.types for element in elements)
        if found < known or (found > known and not (order and has_lists)):
            message = f"has {found} {noun} after its header, expected {known}. Restore the file."
            raise UserError("count_mismatch", message, file)

    if order:

        def read(place: int) -> np.ndarray:
            check_size(len(content) - end, "bytes")
            fields = [(str(place), order + kind) for place, kind in enumerate(vertex.types)]
            return np.frombuffer(content, fields, vertex.count, end + before)[str(place)]

        def read_points() -> np.ndarray:
            return np.stack([read(axis).astype(np.float64) for axis in axes], axis=1)

        return Columns("properties", names, read_points, read)

    above = content.count(b"\n", 0, end)
    first = above + before

    def read_text() -> bytes:
        # Blank lines for the header's, so that an error names the line in the file.
        lines = checked_text(b"\n" * above + content[end:], file).split(b"\n")
        check_size(max(len(lines) - above, 0), "lines")
        return b"\n".join(lines[: first + vertex.count])

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
            case ["property", kind, *_, name] if kind in _TYPES or kind == "list":
                elements[-1].names.append(name)
                elements[-1].types.append(_TYPES.get(kind, _LIST))
            case _:
                message = f"found {' '.join(line)[:60]!r}, expected a line of a PLY header."
                raise UserError("bad_header", message, file, number)
    names = [element.name for element in elements]
    place = names.index("vertex") if "vertex" in names else -1
    has_lists = any(_LIST in element.types for element in elements[: place + 1])
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
