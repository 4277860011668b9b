"""Triangle meshes as text, OFF and Wavefront OBJ, and points drawn evenly from their faces.

Sources of the formats: the Princeton Shape Benchmark's "Object File Format", and Wavefront's
"Object Files (.obj)", of which only `v` and `f` are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from preprocessing.cloud_columns import finite_points
from preprocessing.findings import BadInput

MESH_ENDINGS = (".off", ".obj")
_SEED = 0


@dataclass(frozen=True)
class Mesh:
    """A surface of triangles.

    Attributes:
      vertices: float64 [v, 3].
      triangles: int64 [f, 3], indices into the vertices.
    """

    vertices: np.ndarray
    triangles: np.ndarray


def parse_mesh(name: str, content: bytes) -> Mesh:
    """Reads a mesh; polygons become fans of triangles around their first corner.

    Args:
      name: of the file; its ending, one of MESH_ENDINGS, says what it is.
      content: all of it.

    Raises:
      BadInput: it is no such mesh, or has no face; names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            "wrong_encoding",
            f"found the byte 0x{content[error.start]:02x}, expected text. Save the mesh as text.",
            name,
            content.count(b"\n", 0, error.start) + 1,
        ) from None
    lines = _Lines(name, text)
    vertices, triangles = _off(lines) if name.lower().endswith(".off") else _obj(lines)
    if not triangles:
        raise BadInput(
            "no_faces",
            f"holds {len(vertices)} vertices and no face, expected faces to draw points from. "
            "Save the vertices as a cloud (.xyz, x y z a line) or the mesh with its faces.",
            name,
        )
    return Mesh(np.array(vertices, np.float64), np.array(triangles, np.int64))


def sample_mesh(mesh: Mesh, count: int, name: str) -> np.ndarray:
    """Draws points evenly from the surface, the same ones each time.

    A triangle gets its share of the area in points, rounded up or down.

    Args:
      mesh: the surface.
      count: how many points, at least 1.
      name: of the file, for messages.

    Returns:
      float32 [count, 3].

    Raises:
      BadInput: the faces have no area, or a coordinate is too large for 32 bits.
    """
    corners = mesh.vertices[mesh.triangles]  # [f, 3 corners, 3]
    sides = corners[:, 1:] - corners[:, :1]
    with np.errstate(over="ignore", invalid="ignore"):
        area = np.sqrt(np.square(np.cross(sides[:, 0], sides[:, 1])).sum(axis=1)) / 2
        reached = np.cumsum(area)
    if not np.isfinite(reached[-1]) or reached[-1] <= 0:
        raise BadInput(
            "no_area",
            f"its {len(area)} triangles have an area of {reached[-1]:g} together, expected more "
            "than 0 and a finite number. Correct the mesh or its unit.",
            name,
        )
    random = np.random.default_rng(_SEED)
    # One point in each of `count` equal shares of the area: more even than independent draws.
    at = (np.arange(count) + random.random(count)) / count * reached[-1]
    face = np.minimum(np.searchsorted(reached, at, side="right"), len(area) - 1)
    along, across = random.random((2, count, 1))
    # The square root makes up for the triangle's becoming narrow towards its first corner.
    along = np.sqrt(along)
    points = corners[face, 0] + along * (sides[face, 0] * (1 - across) + sides[face, 1] * across)
    return finite_points(points, name)


class _Lines:
    """The lines that hold something, comments taken away, with their numbers."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.number = 0
        self._lines = enumerate(text.splitlines(), 1)

    def __iter__(self) -> Iterator[list[str]]:
        for number, line in self._lines:
            self.number = number
            words = line.split("#", 1)[0].split()
            if words:
                yield words

    def wrong(self, found: str, expected: str) -> BadInput:
        """What to raise for the line read last."""
        return BadInput(
            "bad_mesh",
            f"found {found[:60]!r}, expected {expected}. Save the mesh again, or restore the file.",
            self.name,
            self.number,
        )

    def vertex(self, words: list[str]) -> tuple[float, ...]:
        """The first three words as finite numbers."""
        try:
            numbers = tuple(float(word) for word in words[:3])
        except ValueError:
            numbers = ()
        if len(numbers) != 3 or not np.isfinite(numbers).all():
            raise self.wrong(" ".join(words), "x y z of a vertex, three finite numbers")
        return numbers

    def fan(self, words: list[str], corners: list[int], most: int) -> list[tuple[int, ...]]:
        """A face's corners as triangles around the first; each must be from 0 to below `most`."""
        if len(corners) < 3 or not all(0 <= corner < most for corner in corners):
            raise self.wrong(
                " ".join(words), f"a face of at least three corners among the {most} vertices"
            )
        return [(corners[0], *pair) for pair in pairwise(corners[1:])]


def _off(lines: _Lines) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]]]:
    rows = iter(lines)
    head = next(rows, [])
    start = head[0] if head else ""
    # Many files of ModelNet have the counts behind the keyword, without so much as a blank.
    if not start.upper().startswith(("OFF", "COFF")):
        raise lines.wrong(" ".join(head), "OFF in the first line")
    counts = [start[start.upper().index("OFF") + 3 :], *head[1:]]
    counts = [word for word in counts if word] or next(rows, [])
    if len(counts) < 2 or not all(word.isdecimal() and len(word) < 12 for word in counts[:2]):
        raise lines.wrong(" ".join(counts), "the numbers of vertices and faces")
    num_vertices, num_faces = int(counts[0]), int(counts[1])
    vertices: list[tuple[float, ...]] = []
    triangles: list[tuple[int, ...]] = []
    faces = 0
    for words in rows:
        if len(vertices) < num_vertices:
            vertices.append(lines.vertex(words))
        elif faces < num_faces:
            faces += 1
            size = int(words[0]) if words[0].isdecimal() and len(words[0]) < 9 else 0
            if len(words) <= size:
                raise lines.wrong(" ".join(words), f"a face: {words[0]} and as many vertices")
            corners = [_whole(word) for word in words[1 : size + 1]]
            triangles += lines.fan(words, corners, num_vertices)
    if len(vertices) != num_vertices or faces != num_faces:
        raise BadInput(
            "count_mismatch",
            f"has {len(vertices)} vertices and {faces} faces, expected {num_vertices} and "
            f"{num_faces} by its counts. Restore the file (one cut short looks so).",
            lines.name,
        )
    return vertices, triangles


def _obj(lines: _Lines) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]]]:
    vertices: list[tuple[float, ...]] = []
    triangles: list[tuple[int, ...]] = []
    for words in lines:
        if words[0] == "v":
            vertices.append(lines.vertex(words[1:]))
        elif words[0] == "f":
            numbers = [_whole(word.split("/", 1)[0]) for word in words[1:]]
            # Counted from 1; from the last vertex backwards where negative; 0 is nobody's.
            corners = [n - 1 if n > 0 else len(vertices) + n if n else -1 for n in numbers]
            triangles += lines.fan(words, corners, len(vertices))
    return vertices, triangles


def _whole(word: str) -> int:
    """A whole number of a face; one that is never a vertex where the word is none."""
    digits = word.removeprefix("-")
    return int(word) if digits.isdecimal() and len(digits) < 12 else -(10**12)
