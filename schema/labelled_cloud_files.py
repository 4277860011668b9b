"""A cloud with a part for each point, as files that other programs open: PLY and plain labels.

Written for people and viewers: colours are those of the category's parts. The layout `own_clouds`
(docs/own_clouds.md) reads both back, so that predicted parts can be corrected by hand and learnt
from.
"""

from __future__ import annotations

import hashlib
import json
from urllib.parse import quote

import numpy as np

from schema.categories import UNANNOTATED_COLOUR, Category

PLY_ENDING, LABELS_ENDING = ".ply", ".labels"

_VERTEX = np.dtype(
    {
        "names": ["x", "y", "z", "red", "green", "blue", "label"],
        "formats": ["<f4", "<f4", "<f4", "u1", "u1", "u1", "<i4"],
    }
)
_TYPE_NAMES = {"<f4": "float", "|u1": "uchar", "<i4": "int"}
# File systems take names of 255 bytes; the endings are shorter than what is left here.
_LONGEST_STEM = 200


def labels_file(parts: np.ndarray) -> bytes:
    """The parts as text: an integer a line, in the order of the points; -1: no part.

    Args:
      parts: int [n].
    """
    return "".join(f"{part}\n" for part in np.asarray(parts).tolist()).encode()


def ply_file(points: np.ndarray, parts: np.ndarray, category: Category) -> bytes:
    """A binary little-endian PLY: x y z float, red green blue uchar, label int.

    The parts' names and colours stand in the header as comments.

    Args:
      points: float [n, 3], raw coordinates.
      parts: int [n], index into the category's parts; anything else is drawn grey.
      category: whose parts these are.

    Raises:
      ValueError: the shapes do not fit.
    """
    points, parts = np.asarray(points), np.asarray(parts)
    if points.ndim != 2 or points.shape[1] != 3 or parts.shape != points.shape[:1]:
        raise ValueError(
            f"points have shape {points.shape} and parts {parts.shape}; expected [n, 3] and [n]"
        )
    palette = np.array([_bytes_of(colour) for colour in (*category.colours, UNANNOTATED_COLOUR)])
    known = (parts >= 0) & (parts < len(category.parts))
    colours = palette[np.where(known, parts, len(category.parts))]  # [n, 3]
    vertices = np.empty(len(points), _VERTEX)
    for column, name in enumerate(("x", "y", "z")):
        vertices[name] = points[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        vertices[name] = colours[:, column]
    vertices["label"] = parts
    header = ["ply", "format binary_little_endian 1.0"]
    # As JSON, a name stays on its line and is ASCII.
    header.append(f"comment category {json.dumps(category.name)}")
    for label, (part, colour) in enumerate(zip(category.parts, category.colours, strict=True)):
        header.append(f"comment label {label} {json.dumps(part)} {colour}")
    header.append(f"element vertex {len(points)}")
    for name in _VERTEX.names or ():
        header.append(f"property {_TYPE_NAMES[_VERTEX[name].str]} {name}")
    header.append("end_header")
    return "".join(f"{line}\n" for line in header).encode("ascii") + vertices.tobytes()


def file_stem(shape_id: str) -> str:
    """A file name without its ending for a shape's id, whatever that holds.

    Letters, digits, _ . - ~ stay; all else, and a dot or hyphen in front, is percent-encoded, so
    that no name leads out of its folder, is hidden or reads like an option. Different ids have
    different names; a very long one ends in a hash.
    """
    stem = quote(shape_id, safe="", errors="surrogatepass")
    if stem[:1] in (".", "-"):
        stem = f"%{ord(stem[0]):02X}{stem[1:]}"
    if len(stem) > _LONGEST_STEM:
        digest = hashlib.sha256(stem.encode()).hexdigest()[:32]
        stem = f"{stem[: _LONGEST_STEM - 33]}%{digest}"
    return stem or "%"


def _bytes_of(colour: str) -> tuple[int, ...]:
    """Red, green and blue of #RRGGBB, 0 to 255."""
    return tuple(bytes.fromhex(colour.removeprefix("#")))
