"""Made-up categories: how a shape of each is built, and the clouds drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from preprocessing.datasets.demo_surfaces import Rng, Surface, arc, box, cylinder, disc, plate, tube

# Fewest and most points of a shape.
POINTS = (1200, 3200)


def _airplane(rng: Rng) -> list[Surface]:
    r, length = rng.uniform(0.045, 0.075), 1.0
    nose, rear = rng.uniform(0.08, 0.16), rng.uniform(0.2, 0.34)
    front, back = length / 2 - nose, -length / 2 + rear
    lift = r * rng.uniform(0.2, 0.8)
    surfaces = tube("body", (back, 0, 0), (front, 0, 0), r, r)
    surfaces += tube("body", (front, 0, 0), (length / 2, -r * 0.2, 0), r, r * 0.15)
    surfaces += tube("body", (back, 0, 0), (-length / 2, lift, 0), r, r * 0.2)
    span, chord = rng.uniform(0.32, 0.52), rng.uniform(0.14, 0.24)
    sweep, dihedral = rng.uniform(0.02, 0.26), rng.uniform(-0.01, 0.07)
    root_x, root_y = rng.uniform(-0.06, 0.1), rng.uniform(-0.7, 0.7) * r
    taper = rng.uniform(0.25, 0.7)
    engines = int(rng.choice([0, 2, 4], p=[0.35, 0.4, 0.25]))
    for side in (-1, 1):
        root = (root_x, root_y, side * r * 0.7)
        along = (-sweep, dihedral, side * span)
        surfaces += plate("wing", root, along, (-chord, 0, 0), (0, 0.012, 0), taper)
        for share in (0.35, 0.62)[: engines // 2]:
            x = root_x - sweep * share + rng.uniform(-0.01, 0.05)
            y = root_y + dihedral * share - r * rng.uniform(0.5, 0.75)
            z = root[2] + side * span * share
            size, long = r * rng.uniform(0.35, 0.55), rng.uniform(0.1, 0.16)
            surfaces += tube("engine", (x, y, z), (x - long, y, z), size, size * 0.8)
    height, small = rng.uniform(0.1, 0.2), rng.uniform(0.1, 0.2)
    fin = rng.uniform(0.09, 0.15)
    at = -length / 2 + fin
    upright = (-fin * 0.7, height, 0)
    surfaces += plate("tail", (at, lift, -0.005), upright, (-fin, 0, 0), (0, 0, 0.01), 0.5)
    level = lift + (height * 0.9 if rng.random() < 0.25 else 0.0)
    for side in (-1, 1):
        along = (-fin * 0.5, 0, side * small)
        surfaces += plate("tail", (at, level, 0), along, (-fin * 0.9, 0, 0), (0, 0.01, 0), 0.5)
    return surfaces


def _chair(rng: Rng) -> list[Surface]:
    width, depth = rng.uniform(0.4, 0.55), rng.uniform(0.4, 0.55)
    seat, thick = rng.uniform(0.35, 0.5), rng.uniform(0.03, 0.1)
    back, lean = rng.uniform(0.35, 0.65), rng.uniform(0, 0.12)
    surfaces = box("seat", (0, seat, 0), (depth, thick, width))
    top, rear = seat + thick / 2, -depth / 2
    if rng.random() < 0.6:
        corner, across = (rear, top, -width / 2), (0, 0, width)
        surfaces += plate("back", corner, (-lean, back, 0), across, (0.04, 0, 0))
    else:
        bars = int(rng.integers(3, 6))
        for z in np.linspace(-width / 2 + 0.03, width / 2 - 0.03, bars):
            surfaces += tube("back", (rear, top, z), (rear - lean, top + back, z), 0.018, 0.018)
        surfaces += box("back", (rear - lean, top + back, 0), (0.04, 0.07, width))
    bottom = seat - thick / 2
    if rng.random() < 0.7:
        spread, r = rng.uniform(0, 0.06), rng.uniform(0.015, 0.03)
        for x, z in product((-1.0, 1.0), (-1.0, 1.0)):
            head = (x * (depth / 2 - 0.04), bottom, z * (width / 2 - 0.04))
            foot = (head[0] + x * spread, 0, head[2] + z * spread)
            surfaces += tube("leg", head, foot, r, r * 0.8)
    else:
        surfaces += tube("leg", (0, bottom, 0), (0, 0.03, 0), 0.035, 0.035)
        surfaces += cylinder("leg", (0, 0, 0), 0.03, width * rng.uniform(0.35, 0.5), 0.04)
    if rng.random() < 0.45:
        height, x = rng.uniform(0.15, 0.26), depth * 0.4
        for z in (-width / 2, width / 2):
            surfaces += box("arm", (0, top + height, z), (depth, 0.035, 0.05))
            surfaces += tube("arm", (x, top, z), (x, top + height, z), 0.016, 0.016)
    return surfaces


def _table(rng: Rng) -> list[Surface]:
    length, width = rng.uniform(0.6, 1.1), rng.uniform(0.45, 0.7)
    height, thick = rng.uniform(0.35, 0.7), rng.uniform(0.02, 0.06)
    if rng.random() < 0.3:
        surfaces = cylinder("top", (0, height, 0), thick, length / 2, length / 2)
        length = width = length * 0.7
    else:
        surfaces = box("top", (0, height + thick / 2, 0), (length, thick, width))
    if rng.random() < 0.75:
        r, inset = rng.uniform(0.018, 0.04), rng.uniform(0.02, 0.1)
        x, z = length / 2 - inset, width / 2 - inset
        for a, b in product((-x, x), (-z, z)):
            surfaces += tube("leg", (a, height, b), (a, 0, b), r, r * 0.8)
        if rng.random() < 0.6:
            y = height * rng.uniform(0.15, 0.8)
            for b in (-z, z):
                surfaces += tube("support", (-x, y, b), (x, y, b), 0.016, 0.016)
            for a in (-x, x):
                surfaces += tube("support", (a, y, -z), (a, y, z), 0.016, 0.016)
    else:
        r = rng.uniform(0.03, 0.06)
        surfaces += tube("leg", (0, height, 0), (0, 0.04, 0), r, r)
        surfaces += cylinder("support", (0, 0, 0), 0.04, width * rng.uniform(0.3, 0.5), r * 1.2)
    return surfaces


def _lamp(rng: Rng) -> list[Surface]:
    height, r = rng.uniform(0.5, 1.1), rng.uniform(0.012, 0.022)
    base, shade = rng.uniform(0.1, 0.2), rng.uniform(0.13, 0.24)
    tall = rng.uniform(0.03, 0.14)
    surfaces = cylinder("base", (0, 0, 0), tall, base, base * rng.uniform(0.3, 1.0))
    lean = rng.uniform(0, 0.2) if rng.random() < 0.4 else 0.0
    middle, x = (lean, height * 0.6, 0), lean * rng.uniform(0, 2)
    surfaces += tube("tube", (0, tall, 0), middle, r, r)
    surfaces += tube("tube", middle, (x, height, 0), r, r)
    deep = rng.uniform(0.12, 0.26)
    rim, crown = (x, height - deep * 0.8, 0), (x, height + deep * 0.2, 0)
    return surfaces + tube("lampshade", rim, crown, shade, shade * rng.uniform(0.35, 1.0))


def _mug(rng: Rng) -> list[Surface]:
    height, r = rng.uniform(0.35, 0.6), rng.uniform(0.16, 0.26)
    top = r * rng.uniform(0.85, 1.25)
    wall = rng.uniform(0.015, 0.03)
    foot, floor, brim = (0, 0, 0), (0, wall, 0), (0, height, 0)
    surfaces = tube("body", foot, brim, r, top) + tube("body", floor, brim, r - wall, top - wall)
    surfaces += disc("body", foot, r) + disc("body", floor, r - wall)
    tall = height * rng.uniform(0.22, 0.4)
    centre = ((r + top) / 2 - 0.01, height * rng.uniform(0.45, 0.6), 0)
    width, thickness = rng.uniform(0.08, 0.2), rng.uniform(0.02, 0.045)
    return surfaces + arc("handle", centre, width, tall, thickness, rng.uniform(-0.9, 0.9))


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

    Returns:
      points float64 [n, 3] in random order; labels int64 [n], index into the category's parts, or
      -1 for unannotated points.
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
    points = points * rng.uniform(0.88, 1.12, 3)
    turn = rng.normal(0, 0.12)
    cos, sin = np.cos(turn), np.sin(turn)
    points = points @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    return points * (rng.uniform(0.3, 0.6) / size) + rng.normal(0, 0.03, 3)
