"""Made-up categories: pieces of surface, how a shape is built of them, and clouds drawn from them.

Vectors are x (forward), y (up), z (side).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

# Fewest and most points of a shape.
POINTS = (1200, 3200)
Rng = np.random.Generator
Vector = tuple[float, float, float] | np.ndarray
Curve = Callable[[np.ndarray], np.ndarray]


class Surface(NamedTuple):
    """Surface of one part.

    `at` gives points on it, [n, 3], for two arrays [n, 1] of numbers in [0, 1). They are uniform in
    area if the numbers are uniform.
    """

    part: str
    area: float
    at: Callable[[np.ndarray, np.ndarray], np.ndarray]


def plate(
    part: str, corner: Vector, along: Vector, across: Vector, thickness: Vector, taper: float = 1.0
) -> list[Surface]:
    """Both faces of a flat piece whose side `across` shrinks to `taper` times that at its end."""
    area = float(np.linalg.norm(np.cross(along, across))) * (1 + taper) / 2
    corners = (corner, np.add(corner, thickness))
    return [_strip(part, area, c, along, 1.0, taper, lambda t: t * across) for c in corners]


def box(part: str, centre: Vector, size: Vector) -> list[Surface]:
    """The six faces of an upright box."""
    low = np.subtract(centre, np.divide(size, 2))
    x, y, z = np.diag(size)
    return plate(part, low, x, y, z) + plate(part, low, y, z, x) + plate(part, low, x, z, y)


def tube(part: str, start: Vector, end: Vector, radius: float, end_radius: float) -> list[Surface]:
    """The side of a cylinder or cone; a level disc or ring if its two ends are the same."""
    axis = np.subtract(end, start)
    length = float(np.linalg.norm(axis))
    u, v = np.eye(3)[[0, 2]]
    area = np.pi * abs(end_radius**2 - radius**2)
    if length:
        u = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
        u /= np.linalg.norm(u)
        v = np.cross(axis / length, u)
        area = np.pi * (radius + end_radius) * float(np.hypot(length, radius - end_radius))

    def circle(t: np.ndarray) -> np.ndarray:
        return np.cos(t * 2 * np.pi) * u + np.sin(t * 2 * np.pi) * v

    return [_strip(part, area, start, axis, radius, end_radius, circle)]


def cylinder(part: str, foot: Vector, height: float, radius: float, top: float) -> list[Surface]:
    """An upright cylinder or cone with its two lids."""
    head = np.add(foot, (0, height, 0))
    lids = tube(part, foot, foot, 0, radius) + tube(part, head, head, 0, top)
    return tube(part, foot, head, radius, top) + lids


def arc(
    part: str, centre: Vector, width: float, height: float, thickness: float, turn: float
) -> list[Surface]:
    """Half of an upright elliptic ring, bulging along x, then turned about the y axis."""

    def at(s: np.ndarray, t: np.ndarray) -> np.ndarray:
        x, y = np.sin(s * np.pi), -np.cos(s * np.pi)
        out, side = thickness * np.cos(t * 2 * np.pi), thickness * np.sin(t * 2 * np.pi)
        ring = np.hstack([x * (width + out), y * (height + out), side])
        return (centre + ring) @ turned(turn)

    return [Surface(part, np.pi * (width + height) / 2 * 2 * np.pi * thickness, at)]


def turned(angle: float) -> np.ndarray:
    """The matrix [3, 3] that turns points, on its left, about the y axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def _strip(
    part: str, area: float, start: Vector, along: Vector, width: float, end: float, curve: Curve
) -> Surface:
    """A curve that moves along a straight line while it grows from `width` to `end`."""

    def at(s: np.ndarray, t: np.ndarray) -> np.ndarray:
        if abs(end - width) > 1e-9:
            # Wider places have more points.
            s = (np.sqrt(width**2 + s * (end**2 - width**2)) - width) / (end - width)
        return start + s * along + (width + s * (end - width)) * curve(t)

    return Surface(part, area, at)


def _between(rng: Rng, *ranges: tuple[float, float]) -> np.ndarray:
    return rng.uniform(*np.transpose(ranges))


def _legs(x: float, height: float, z: float, r: float, spread: float = 0.0) -> list[Surface]:
    """Four legs under the corners (+-x, height, +-z)."""
    surfaces = []
    for a, b in product((-1, 1), (-1, 1)):
        foot = (a * (x + spread), 0, b * (z + spread))
        surfaces += tube("leg", (a * x, height, b * z), foot, r, r * 0.8)
    return surfaces


def _airplane(rng: Rng) -> list[Surface]:
    r, nose, rear = _between(rng, (0.045, 0.075), (0.08, 0.16), (0.2, 0.34))
    front, back, lift = 0.5 - nose, rear - 0.5, r * rng.uniform(0.2, 0.8)
    surfaces = tube("body", (back, 0, 0), (front, 0, 0), r, r)
    surfaces += tube("body", (front, 0, 0), (0.5, -r * 0.2, 0), r, r * 0.15)
    surfaces += tube("body", (back, 0, 0), (-0.5, lift, 0), r, r * 0.2)
    span, chord, sweep = _between(rng, (0.32, 0.52), (0.14, 0.24), (0.02, 0.26))
    dihedral, x, y, taper = _between(rng, (-0.01, 0.07), (-0.06, 0.1), (-0.7, 0.7), (0.25, 0.7))
    engines = rng.choice([0, 1, 2], p=[0.35, 0.4, 0.25])
    for side in (-1, 1):
        root, along = np.array([x, y * r, side * r * 0.7]), (-sweep, dihedral, side * span)
        surfaces += plate("wing", root, along, (-chord, 0, 0), (0, 0.012, 0), taper)
        for share in (0.35, 0.62)[:engines]:
            ahead, below, size, long = _between(
                rng, (-0.01, 0.05), (0.5, 0.75), (0.35, 0.55), (0.1, 0.16)
            )
            start = root + np.multiply(share, along) + (ahead, -r * below, 0)
            surfaces += tube("engine", start, start - (long, 0, 0), r * size, r * size * 0.8)
    height, small, fin = _between(rng, (0.1, 0.2), (0.1, 0.2), (0.09, 0.15))
    upright, thickness = (-fin * 0.7, height, 0), (0, 0, 0.01)
    corner = (fin - 0.5, lift, -0.005)
    surfaces += plate("tail", corner, upright, (-fin, 0, 0), thickness, 0.5)
    corner = (fin - 0.5, lift + (height * 0.9 if rng.random() < 0.25 else 0), 0)
    for side in (-1, 1):
        along = (-fin * 0.5, 0, side * small)
        surfaces += plate("tail", corner, along, (-fin * 0.9, 0, 0), (0, 0.01, 0), 0.5)
    return surfaces


def _chair(rng: Rng) -> list[Surface]:
    width, depth, seat = _between(rng, (0.4, 0.55), (0.4, 0.55), (0.35, 0.5))
    thick, back, lean = _between(rng, (0.03, 0.1), (0.35, 0.65), (0, 0.12))
    surfaces = box("seat", (0, seat, 0), (depth, thick, width))
    top, bottom, rear = seat + thick / 2, seat - thick / 2, -depth / 2
    if rng.random() < 0.6:
        corner, across = (rear, top, -width / 2), (0, 0, width)
        surfaces += plate("back", corner, (-lean, back, 0), across, (0.04, 0, 0))
    else:
        for z in np.linspace(0.03 - width / 2, width / 2 - 0.03, rng.integers(3, 6)):
            surfaces += tube("back", (rear, top, z), (rear - lean, top + back, z), 0.018, 0.018)
        surfaces += box("back", (rear - lean, top + back, 0), (0.04, 0.07, width))
    if rng.random() < 0.7:
        spread, r = _between(rng, (0, 0.06), (0.015, 0.03))
        surfaces += _legs(depth / 2 - 0.04, bottom, width / 2 - 0.04, r, spread)
    else:
        surfaces += tube("leg", (0, bottom, 0), (0, 0.03, 0), 0.035, 0.035)
        surfaces += cylinder("leg", (0, 0, 0), 0.03, width * rng.uniform(0.35, 0.5), 0.04)
    if rng.random() < 0.45:
        height, x = top + rng.uniform(0.15, 0.26), depth * 0.4
        for z in (-width / 2, width / 2):
            surfaces += box("arm", (0, height, z), (depth, 0.035, 0.05))
            surfaces += tube("arm", (x, top, z), (x, height, z), 0.016, 0.016)
    return surfaces


def _table(rng: Rng) -> list[Surface]:
    length, width = _between(rng, (0.6, 1.1), (0.45, 0.7))
    height, thick = _between(rng, (0.35, 0.7), (0.02, 0.06))
    if rng.random() < 0.3:
        surfaces = cylinder("top", (0, height, 0), thick, length / 2, length / 2)
        length = width = length * 0.7
    else:
        surfaces = box("top", (0, height + thick / 2, 0), (length, thick, width))
    if rng.random() < 0.75:
        r, inset = _between(rng, (0.018, 0.04), (0.02, 0.1))
        x, z = length / 2 - inset, width / 2 - inset
        surfaces += _legs(x, height, z, r)
        if rng.random() < 0.6:
            y = height * rng.uniform(0.15, 0.8)
            corners = [(-x, y, -z), (x, y, -z), (-x, y, z), (x, y, z)]
            for start, end in ((0, 1), (2, 3), (0, 2), (1, 3)):
                surfaces += tube("support", corners[start], corners[end], 0.016, 0.016)
    else:
        r = rng.uniform(0.03, 0.06)
        surfaces += tube("leg", (0, height, 0), (0, 0.04, 0), r, r)
        surfaces += cylinder("support", (0, 0, 0), 0.04, width * rng.uniform(0.3, 0.5), r * 1.2)
    return surfaces


def _lamp(rng: Rng) -> list[Surface]:
    height, r, base = _between(rng, (0.5, 1.1), (0.012, 0.022), (0.1, 0.2))
    shade, tall, narrow = _between(rng, (0.13, 0.24), (0.03, 0.14), (0.3, 1.0))
    lean = rng.uniform(0, 0.2) if rng.random() < 0.4 else 0.0
    x, deep = lean * rng.uniform(0, 2), rng.uniform(0.12, 0.26)
    middle, rim, crown = (lean, height * 0.6, 0), height - deep * 0.8, height + deep * 0.2
    return [
        *cylinder("base", (0, 0, 0), tall, base, base * narrow),
        *tube("tube", (0, tall, 0), middle, r, r),
        *tube("tube", middle, (x, height, 0), r, r),
        *tube("lampshade", (x, rim, 0), (x, crown, 0), shade, shade * rng.uniform(0.35, 1.0)),
    ]


def _mug(rng: Rng) -> list[Surface]:
    height, r, wider, wall = _between(rng, (0.35, 0.6), (0.16, 0.26), (0.85, 1.25), (0.015, 0.03))
    top, inside = r * wider, r - wall
    foot, floor, brim = (0, 0, 0), (0, wall, 0), (0, height, 0)
    surfaces = tube("body", foot, brim, r, top) + tube("body", floor, brim, inside, top - wall)
    surfaces += tube("body", foot, foot, 0, r) + tube("body", floor, floor, 0, inside)
    tall, up, width = _between(rng, (0.22, 0.4), (0.45, 0.6), (0.08, 0.2))
    thickness, turn = _between(rng, (0.02, 0.045), (-0.9, 0.9))
    centre = ((r + top) / 2 - 0.01, height * up, 0)
    return surfaces + arc("handle", centre, width, height * tall, thickness, turn)


class DemoCategory(NamedTuple):
    """Parts of a made-up category, and the function that builds one of its shapes."""

    parts: tuple[str, ...]
    build: Callable[[Rng], list[Surface]]


DEMO_CATEGORIES = {
    "Airplane": DemoCategory(("body", "wing", "tail", "engine"), _airplane),
    "Chair": DemoCategory(("back", "seat", "leg", "arm"), _chair),
    "Table": DemoCategory(("top", "leg", "support"), _table),
    "Lamp": DemoCategory(("base", "lampshade", "tube"), _lamp),
    "Mug": DemoCategory(("handle", "body"), _mug),
}


def demo_cloud(
    category: str, index: int, seed: int = 0, size: tuple[int, int] = POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """One made-up shape, with a number of points between the two of `size`.

    Points float64 [n, 3] in random order, and labels int64 [n], -1 for unannotated points.
    """
    parts, build = DEMO_CATEGORIES[category]
    rng = np.random.default_rng([seed, list(DEMO_CATEGORIES).index(category), index])
    surfaces = build(rng)
    total = int(rng.integers(size[0], size[1] + 1))
    area = np.array([surface.area for surface in surfaces])
    counts = rng.multinomial(total, area / area.sum())
    points = [s.at(*rng.random((2, n, 1))) for s, n in zip(surfaces, counts, strict=True)]
    labels = np.repeat([parts.index(surface.part) for surface in surfaces], counts)
    order = rng.permutation(total)
    cloud, labels = _posed(np.concatenate(points)[order], rng), labels[order]
    # A patch around some point, 0.5 to 3 % of the cloud, is unannotated.
    distance = np.square(cloud - cloud[rng.integers(total)]).sum(1)
    left_out = int(total * rng.uniform(0.005, 0.03))
    labels[np.argpartition(distance, left_out)[:left_out]] = -1
    return cloud, labels


def _posed(points: np.ndarray, rng: Rng) -> np.ndarray:
    """A little noise, other proportions, a small turn about the upright axis (y), a shift."""
    size = np.ptp(points, axis=0).max()
    points = points + rng.normal(0, 0.004 * size, points.shape)
    points = points * rng.uniform(0.88, 1.12, 3) @ turned(-rng.normal(0, 0.12))
    return points * (rng.uniform(0.3, 0.6) / size) + rng.normal(0, 0.03, 3)
