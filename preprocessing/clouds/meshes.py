"""Meshes as text, OFF and Wavefront OBJ: points drawn evenly from their faces.

Parsed here because trimesh reads some OBJ files as another mesh: with an index 0, with faces like
`1/1 2//3`, or with negative indices before further vertices.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from preprocessing.clouds.columns import checked_points
from preprocessing.clouds.text import checked_text
from schema.errors import UserError

MESH_ENDINGS = (".off", ".obj")


def read_mesh_points(file: str, content: bytes, count: int) -> np.ndarray:
    """Draws points from the faces of a mesh: float64 [count, 3], the same ones each time.

    Each triangle has its share of the area in points, rounded up or down. UserErrors: `bad_mesh`,
    `no_faces`, `no_area`, `not_finite`, and those of text.
    """
    text = re.sub("#.*", "", checked_text(content, file).decode())
    try:
        vertices, faces = _off(text) if file.lower().endswith(".off") else _obj(text)
        points = np.array(vertices, np.float64).reshape(len(vertices), 3)
    except (ValueError, IndexError) as error:
        raise UserError("bad_mesh", f"cannot be read ({error!s:.100}).", file) from None
    smallest = min(map(len, faces), default=0)
    if smallest < 3:
        message = f"found {len(faces)} faces, the smallest of {smallest} vertices, expected 3 each."
        raise UserError("no_faces", f"{message} Save a cloud as .xyz instead.", file)
    # Polygons are fans of triangles around their first corner.
    fans = np.array([(first, *pair) for first, *others in faces for pair in pairwise(others)])
    if fans.min() < 0 or fans.max() >= len(points):
        message = f"has faces of the vertices {fans.min()} to {fans.max()}, counted from 0, but "
        raise UserError("bad_mesh", f"{message}only {len(points)} vertices.", file)
    return _sample(checked_points(points, file)[fans], count, file)


def _off(text: str) -> tuple[list[list[str]], list[list[int]]]:
    """Coordinates of the vertices, and for each face the places of its vertices."""
    # The counts may follow the keyword without a blank, as in ModelNet.
    head, *rows = _rows(re.sub(r"\A\s*C?OFF", "", text, flags=re.IGNORECASE))
    vertices, end = int(head[0]), int(head[0]) + int(head[1])
    if not 0 <= vertices <= end <= len(rows):
        raise ValueError(f"{len(rows)} lines of vertices and faces, expected {end}")
    faces = [[int(row[place + 1]) for place in range(int(row[0]))] for row in rows[vertices:end]]
    return [row[:3] for row in rows[:vertices]], faces


def _obj(text: str) -> tuple[list[list[str]], list[list[int]]]:
    vertices: list[list[str]] = []
    faces: list[list[int]] = []
    for kind, *words in _rows(text):
        if kind == "v":
            vertices.append(words[:3])
        elif kind == "f":
            indices = [int(word.partition("/")[0]) for word in words]
            # From 1, or backwards from the last vertex so far.
            faces.append([i - 1 if i >= 0 else i + len(vertices) for i in indices])
    return vertices, faces


def _rows(text: str) -> list[list[str]]:
    return [words for words in map(str.split, text.split("\n")) if words]


def _sample(corners: np.ndarray, count: int, file: str) -> np.ndarray:
    """Points [count, 3] of triangles [f, 3, 3]."""
    sides = corners[:, 1:] - corners[:, :1]
    area = np.cumsum(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1) / 2)
    if not area[-1]:
        raise UserError("no_area", "has faces without any area, expected an area above 0.", file)
    random = np.random.default_rng(0)
    # One point in each of `count` equal shares of the area: more even than independent draws.
    at = (np.arange(count) + random.random(count)) / count * area[-1]
    face = np.minimum(np.searchsorted(area, at, side="right"), len(area) - 1)
    along, across = random.random((2, count, 1))
    side = sides[face, 0] * (1 - across) + sides[face, 1] * across
    # The square root makes up for the triangle's becoming narrow towards its first corner.
    return corners[face, 0] + np.sqrt(along) * side
