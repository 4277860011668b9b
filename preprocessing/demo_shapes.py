"""Made-up shapes in the PartAnnotation layout, so that the pipeline runs without a download.

Five categories of procedural geometry, each shape with proportions of its own: boxes, tubes,
plates, ellipsoids and arcs whose surfaces are sampled in proportion to their area, with a little
noise, a small turn and a shift. Engines, arms, crossbars and pedestals come and go; a patch of each
cloud is left unannotated. A number trained on these says nothing about real shapes, and every
folder of them says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.findings import BadInput
from preprocessing.part_annotation import METADATA
from schema.categories import Category

Vector = tuple[float, float, float]
Rng = np.random.Generator

POINTS = (1200, 3200)
README = "README.txt"
# What the folder was made from: where it is the same, nothing is made again.
STAMP = "made_up.json"
_NOTE = "made up by pointnet-parts demo-data: procedural shapes, not ShapeNet's"


@dataclass(frozen=True)
class Surface:
    """A piece of surface that belongs to one part.

    Attributes:
      part: the part's name.
      area: in the shape's own units, squared.
      draw: gives n points on it, uniform in area, [n, 3].
    """

    part: str
    area: float
    draw: Callable[[Rng, int], np.ndarray]


def make_demo_shapes(
    folder: str | Path,
    shapes_per_category: int = 100,
    categories: Iterable[str] | None = None,
    seed: int = 0,
    points: tuple[int, int] = POINTS,
) -> Path:
    """Writes a PartAnnotation folder of made-up shapes.

    The folder appears at once when all is written. An existing one of the same shapes is left as it
    is; one of other made-up shapes is replaced.

    Args:
      folder: the folder to make.
      shapes_per_category: how many of each.
      categories: names of DEMO_CATEGORIES; all by default.
      seed: another seed, other shapes.
      points: fewest and most points of a shape.

    Returns:
      The folder.

    Raises:
      BadInput: an unknown category, the folder holds something that was not made here, or cannot
        be written.
    """
    folder = Path(folder).expanduser()
    names = list(DEMO_CATEGORIES) if categories is None else list(categories)
    for name in names:
        if name not in DEMO_CATEGORIES:
            raise BadInput(
                "unknown_category",
                f"no made-up category {name!r}; there are {', '.join(DEMO_CATEGORIES)}.",
            )
    stamp = json.dumps(
        {
            "note": _NOTE,
            "shapes_per_category": shapes_per_category,
            "categories": names,
            "seed": seed,
            "points": points,
            "code": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        },
        indent=1,
    )
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            if not (folder / STAMP).is_file():
                raise BadInput(
                    "not_ours",
                    f"{folder} holds something else than made-up shapes, so it is not replaced. "
                    "Give another folder, or remove it yourself.",
                )
            if (folder / STAMP).read_text() == stamp:
                return folder
        _write_all(folder, names, shapes_per_category, seed, points, stamp)
    except OSError as error:
        raise BadInput(
            "cannot_write",
            f"{folder} cannot be written ({(error.strerror or str(error)).lower()}). Make room and "
            "give the right to write there, or give another folder.",
        ) from None
    return folder


def _write_all(
    folder: Path,
    names: Sequence[str],
    shapes_per_category: int,
    seed: int,
    points: tuple[int, int],
    stamp: str,
) -> None:
    """Writes the shapes beside the folder, then puts them in its place."""
    partial = folder.with_name(folder.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    for name in names:
        _write_category(partial, name, shapes_per_category, seed, points)
    metadata = {
        name: {
            "directory": _directory(name),
            "lables": list(DEMO_CATEGORIES[name].parts),
            "note": _NOTE,
        }
        for name in names
    }
    (partial / METADATA).write_text(json.dumps(metadata, indent=1) + "\n")
    (partial / README).write_text(
        f"These shapes are {_NOTE}.\n\n"
        "They are for trying the pipeline out. A number measured on them says nothing about real "
        "shapes.\nLayout: the PartAnnotation one, as preprocessing/part_annotation.py describes "
        "it.\n"
    )
    (partial / STAMP).write_text(stamp)
    if folder.exists():
        shutil.rmtree(folder)
    os.rename(partial, folder)


def demo_cloud(
    category: str, index: int, seed: int = 0, points: tuple[int, int] = POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """One made-up shape.

    Args:
      category: a name of DEMO_CATEGORIES.
      index: which one.
      seed: of the data set.
      points: fewest and most points.

    Returns:
      points float64 [n, 3] in random order, and labels int64 [n], an
      index into the category's parts, -1 where unannotated.
    """
    kind = DEMO_CATEGORIES[category]
    rng = np.random.default_rng([seed, list(DEMO_CATEGORIES).index(category), index])
    surfaces = kind.build(rng)
    cloud, labels = _sample(surfaces, kind.parts, rng, points)
    cloud = _posed(cloud, rng)
    # Nobody annotated a patch around some point, 0.5 to 3 % of the cloud.
    distance = np.square(cloud - cloud[rng.integers(len(cloud))]).sum(1)
    left_out = int(len(cloud) * rng.uniform(0.005, 0.03))
    labels[np.argpartition(distance, left_out)[:left_out]] = -1
    return cloud, labels


def _sample(
    surfaces: list[Surface], parts: tuple[str, ...], rng: Rng, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    total = int(rng.integers(size[0], size[1] + 1))
    area = np.array([surface.area for surface in surfaces])
    counts = rng.multinomial(total, area / area.sum())
    points = np.concatenate([s.draw(rng, n) for s, n in zip(surfaces, counts, strict=True)])
    labels = np.repeat([parts.index(surface.part) for surface in surfaces], counts)
    order = rng.permutation(total)
    return points[order], labels[order]


def _posed(points: np.ndarray, rng: Rng) -> np.ndarray:
    """A little noise, other proportions, a small turn about the upright axis (y), a shift."""
    size = np.ptp(points, axis=0).max()
    points = points + rng.normal(0, 0.004 * size, points.shape)
    points = points * rng.uniform(0.88, 1.12, 3)
    turn = rng.normal(0, 0.12)
    cos, sin = np.cos(turn), np.sin(turn)
    points = points @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    return points * (rng.uniform(0.3, 0.6) / size) + rng.normal(0, 0.03, 3)


# Surfaces. All vectors are x (forward), y (up), z (to the side).


def _quad(part: str, corner: Vector, along: Vector, across: Vector, taper: float = 1.0) -> Surface:
    """A trapezium: its side `across` shrinks to `taper` times that at the end of `along`."""
    a, u, v = (np.array(vector, float) for vector in (corner, along, across))
    area = float(np.linalg.norm(np.cross(u, v))) * (1 + taper) / 2

    def draw(rng: Rng, n: int) -> np.ndarray:
        s = _linear_density(rng, n, 1.0, taper)
        t = rng.random(n) * (1 + s * (taper - 1))
        return a + s[:, None] * u + t[:, None] * v

    return Surface(part, area, draw)


def _plate(
    part: str, corner: Vector, along: Vector, across: Vector, thickness: Vector, taper: float = 1.0
) -> list[Surface]:
    """Both faces of a flat piece; its rim is too thin to matter."""
    other = tuple(c + t for c, t in zip(corner, thickness, strict=True))
    return [
        _quad(part, corner, along, across, taper),
        _quad(part, other, along, across, taper),  # type: ignore[arg-type]
    ]


def _box(part: str, centre: Vector, size: Vector) -> list[Surface]:
    """The six faces of an upright box."""
    (x, y, z), (w, h, d) = centre, size
    low: Vector = (x - w / 2, y - h / 2, z - d / 2)
    x_side, y_side, z_side = (w, 0.0, 0.0), (0.0, h, 0.0), (0.0, 0.0, d)
    return [
        *_plate(part, low, x_side, y_side, z_side),
        *_plate(part, low, y_side, z_side, x_side),
        *_plate(part, low, x_side, z_side, y_side),
    ]


def _tube(part: str, start: Vector, end: Vector, radius: float, end_radius: float) -> Surface:
    """The side of a cylinder or cone."""
    a, b = np.array(start, float), np.array(end, float)
    axis = b - a
    length = float(np.linalg.norm(axis))
    helper = np.eye(3)[int(np.abs(axis).argmin())]
    u = np.cross(axis, helper)
    u /= np.linalg.norm(u)
    v = np.cross(axis / length, u)
    slant = float(np.hypot(length, radius - end_radius))

    def draw(rng: Rng, n: int) -> np.ndarray:
        s = _linear_density(rng, n, radius, end_radius)
        angle = rng.random(n) * 2 * np.pi
        r = (radius + s * (end_radius - radius))[:, None]
        around = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
        return a + s[:, None] * axis + r * around

    return Surface(part, np.pi * (radius + end_radius) * slant, draw)


def _disc(part: str, centre: Vector, radius: float) -> Surface:
    """A level disc."""

    def draw(rng: Rng, n: int) -> np.ndarray:
        r, angle = radius * np.sqrt(rng.random(n)), rng.random(n) * 2 * np.pi
        return np.array(centre) + np.stack([r * np.cos(angle), 0 * r, r * np.sin(angle)], 1)

    return Surface(part, np.pi * radius**2, draw)


def _cylinder(part: str, foot: Vector, height: float, radius: float, top: float) -> list[Surface]:
    """An upright cylinder or cone with its two lids."""
    head = (foot[0], foot[1] + height, foot[2])
    return [_tube(part, foot, head, radius, top), _disc(part, foot, radius), _disc(part, head, top)]


def _arc(
    part: str, centre: Vector, radii: tuple[float, float], thickness: float, turn: float
) -> Surface:
    """The half of an upright elliptic ring that stands out along x, turned about the y axis."""
    width, height = radii
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])

    def draw(rng: Rng, n: int) -> np.ndarray:
        angle, roll = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.random(n) * 2 * np.pi
        out = np.stack([np.cos(angle) * width, np.sin(angle) * height, 0 * angle], 1)
        normal = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
        side = np.array([0.0, 0.0, 1.0])
        around = np.cos(roll)[:, None] * normal + np.sin(roll)[:, None] * side
        return (np.array(centre) + out + thickness * around) @ turned

    return Surface(part, np.pi * (width + height) / 2 * 2 * np.pi * thickness, draw)


def _linear_density(rng: Rng, n: int, start: float, end: float) -> np.ndarray:
    """Draws n numbers in [0, 1] whose density goes linearly from `start` to `end`."""
    u = rng.random(n)
    if abs(end - start) < 1e-9:
        return u
    return (np.sqrt(start**2 + u * (end**2 - start**2)) - start) / (end - start)


# Categories.


def _airplane(rng: Rng) -> list[Surface]:
    r, length = rng.uniform(0.045, 0.075), 1.0
    nose, rear = rng.uniform(0.08, 0.16), rng.uniform(0.2, 0.34)
    front, back = length / 2 - nose, -length / 2 + rear
    lift = r * rng.uniform(0.2, 0.8)
    tip = (-length / 2, lift, 0.0)
    surfaces = [
        _tube("body", (back, 0, 0), (front, 0, 0), r, r),
        _tube("body", (front, 0, 0), (length / 2, -r * 0.2, 0), r, r * 0.15),
        _tube("body", (back, 0, 0), tip, r, r * 0.2),
    ]
    span, chord = rng.uniform(0.32, 0.52), rng.uniform(0.14, 0.24)
    sweep, dihedral = rng.uniform(0.02, 0.26), rng.uniform(-0.01, 0.07)
    root = (rng.uniform(-0.06, 0.1), rng.uniform(-0.7, 0.7) * r)
    taper = rng.uniform(0.25, 0.7)
    engines = int(rng.choice([0, 2, 4], p=[0.35, 0.4, 0.25]))
    for side in (-1.0, 1.0):
        inner = (root[0], root[1], side * r * 0.7)
        along = (-sweep, dihedral, side * span)
        surfaces += _plate("wing", inner, along, (-chord, 0, 0), (0, 0.012, 0), taper)
        for share in (0.35, 0.62)[: engines // 2]:
            x = inner[0] - sweep * share + rng.uniform(-0.01, 0.05)
            y = inner[1] + dihedral * share - r * rng.uniform(0.5, 0.75)
            z = inner[2] + side * span * share
            size, long = r * rng.uniform(0.35, 0.55), rng.uniform(0.1, 0.16)
            surfaces.append(_tube("engine", (x, y, z), (x - long, y, z), size, size * 0.8))
    height, small = rng.uniform(0.1, 0.2), rng.uniform(0.1, 0.2)
    fin = rng.uniform(0.09, 0.15)
    at = -length / 2 + fin
    surfaces += _plate(
        "tail", (at, lift, -0.005), (-fin * 0.7, height, 0), (-fin, 0, 0), (0, 0, 0.01), 0.5
    )
    level = lift + (height * 0.9 if rng.random() < 0.25 else 0.0)
    for side in (-1.0, 1.0):
        surfaces += _plate(
            "tail",
            (at, level, 0),
            (-fin * 0.5, 0, side * small),
            (-fin * 0.9, 0, 0),
            (0, 0.01, 0),
            0.5,
        )
    return surfaces


def _chair(rng: Rng) -> list[Surface]:
    width, depth = rng.uniform(0.4, 0.55), rng.uniform(0.4, 0.55)
    seat, thick = rng.uniform(0.35, 0.5), rng.uniform(0.03, 0.1)
    back, lean = rng.uniform(0.35, 0.65), rng.uniform(0, 0.12)
    surfaces = _box("seat", (0, seat, 0), (depth, thick, width))
    top, rear = seat + thick / 2, -depth / 2
    if rng.random() < 0.6:
        surfaces += _plate(
            "back", (rear, top, -width / 2), (-lean, back, 0), (0, 0, width), (0.04, 0, 0)
        )
    else:
        bars = int(rng.integers(3, 6))
        for z in np.linspace(-width / 2 + 0.03, width / 2 - 0.03, bars):
            surfaces.append(
                _tube("back", (rear, top, z), (rear - lean, top + back, z), 0.018, 0.018)
            )
        surfaces += _box("back", (rear - lean, top + back, 0), (0.04, 0.07, width))
    bottom = seat - thick / 2
    if rng.random() < 0.7:
        spread, r = rng.uniform(0, 0.06), rng.uniform(0.015, 0.03)
        for x in (-1, 1):
            for z in (-1, 1):
                head = (x * (depth / 2 - 0.04), bottom, z * (width / 2 - 0.04))
                foot = (head[0] + x * spread, 0.0, head[2] + z * spread)
                surfaces.append(_tube("leg", head, foot, r, r * 0.8))
    else:
        surfaces.append(_tube("leg", (0, bottom, 0), (0, 0.03, 0), 0.035, 0.035))
        surfaces += _cylinder("leg", (0, 0, 0), 0.03, width * rng.uniform(0.35, 0.5), 0.04)
    if rng.random() < 0.45:
        height = rng.uniform(0.15, 0.26)
        for z in (-width / 2, width / 2):
            surfaces += _box("arm", (0, top + height, z), (depth, 0.035, 0.05))
            surfaces.append(
                _tube("arm", (depth * 0.4, top, z), (depth * 0.4, top + height, z), 0.016, 0.016)
            )
    return surfaces


def _table(rng: Rng) -> list[Surface]:
    length, width = rng.uniform(0.6, 1.1), rng.uniform(0.45, 0.7)
    height, thick = rng.uniform(0.35, 0.7), rng.uniform(0.02, 0.06)
    if rng.random() < 0.3:
        surfaces = _cylinder("top", (0, height, 0), thick, length / 2, length / 2)
        length = width = length * 0.7
    else:
        surfaces = _box("top", (0, height + thick / 2, 0), (length, thick, width))
    if rng.random() < 0.75:
        r, inset = rng.uniform(0.018, 0.04), rng.uniform(0.02, 0.1)
        x, z = length / 2 - inset, width / 2 - inset
        for a in (-x, x):
            for b in (-z, z):
                surfaces.append(_tube("leg", (a, height, b), (a, 0, b), r, r * 0.8))
        if rng.random() < 0.6:
            y = height * rng.uniform(0.15, 0.8)
            for b in (-z, z):
                surfaces.append(_tube("support", (-x, y, b), (x, y, b), 0.016, 0.016))
            for a in (-x, x):
                surfaces.append(_tube("support", (a, y, -z), (a, y, z), 0.016, 0.016))
    else:
        r = rng.uniform(0.03, 0.06)
        surfaces.append(_tube("leg", (0, height, 0), (0, 0.04, 0), r, r))
        surfaces += _cylinder("support", (0, 0, 0), 0.04, width * rng.uniform(0.3, 0.5), r * 1.2)
    return surfaces


def _lamp(rng: Rng) -> list[Surface]:
    height, r = rng.uniform(0.5, 1.1), rng.uniform(0.012, 0.022)
    base, shade = rng.uniform(0.1, 0.2), rng.uniform(0.13, 0.24)
    tall = rng.uniform(0.03, 0.14)
    surfaces = _cylinder("base", (0, 0, 0), tall, base, base * rng.uniform(0.3, 1.0))
    lean = rng.uniform(0, 0.2) if rng.random() < 0.4 else 0.0
    middle = (lean, height * 0.6, 0.0)
    head = (lean * rng.uniform(0, 2), height, 0.0)
    surfaces.append(_tube("tube", (0, tall, 0), middle, r, r))
    surfaces.append(_tube("tube", middle, head, r, r))
    deep = rng.uniform(0.12, 0.26)
    rim = (head[0], head[1] - deep * 0.8, 0.0)
    crown = (head[0], head[1] + deep * 0.2, 0.0)
    surfaces.append(_tube("lampshade", rim, crown, shade, shade * rng.uniform(0.35, 1.0)))
    return surfaces


def _mug(rng: Rng) -> list[Surface]:
    height, r = rng.uniform(0.35, 0.6), rng.uniform(0.16, 0.26)
    top = r * rng.uniform(0.85, 1.25)
    wall = rng.uniform(0.015, 0.03)
    surfaces = [
        _tube("body", (0, 0, 0), (0, height, 0), r, top),
        _tube("body", (0, wall, 0), (0, height, 0), r - wall, top - wall),
        _disc("body", (0, 0, 0), r),
        _disc("body", (0, wall, 0), r - wall),
    ]
    tall = height * rng.uniform(0.22, 0.4)
    centre = ((r + top) / 2 - 0.01, height * rng.uniform(0.45, 0.6), 0.0)
    radii = (rng.uniform(0.08, 0.2), tall)
    thickness, turn = rng.uniform(0.02, 0.045), rng.uniform(-0.9, 0.9)
    surfaces.append(_arc("handle", centre, radii, thickness, turn))
    return surfaces


@dataclass(frozen=True)
class DemoCategory:
    """Parts of a made-up category, and how a shape of it is built."""

    parts: tuple[str, ...]
    build: Callable[[Rng], list[Surface]]


DEMO_CATEGORIES = {
    "Airplane": DemoCategory(("body", "wing", "tail", "engine"), _airplane),
    "Chair": DemoCategory(("back", "seat", "leg", "arm"), _chair),
    "Table": DemoCategory(("top", "leg", "support"), _table),
    "Lamp": DemoCategory(("base", "lampshade", "tube"), _lamp),
    "Mug": DemoCategory(("handle", "body"), _mug),
}


# Files.


def _directory(category: str) -> str:
    return f"made_up_{category.lower()}"


def is_made_up(category: Category) -> bool:
    """Whether a category's shapes were made here; converted data tells it as well as raw data."""
    return category.directory in {_directory(name) for name in DEMO_CATEGORIES}


def _write_category(
    folder: Path, category: str, shapes: int, seed: int, size: tuple[int, int]
) -> None:
    directory = folder / _directory(category)
    (directory / "points").mkdir(parents=True)
    parts = DEMO_CATEGORIES[category].parts
    for part in parts:
        (directory / "points_label" / part).mkdir(parents=True)
    for index in range(shapes):
        points, labels = demo_cloud(category, index, seed, size)
        # Of another seed they are other shapes: no id stands in two of these data sets.
        of_seed = f"{seed}_" if seed else ""
        shape = f"{category.lower()}_{of_seed}{index:05d}"
        text = "%.5f %.5f %.5f\n" * len(points) % tuple(points.ravel().tolist())
        (directory / "points" / f"{shape}.pts").write_text(text)
        for label, part in enumerate(parts):
            mask = labels == label
            # As in the published archive: a part that the shape does not have, has no file.
            if mask.any():
                rows = np.full((len(labels), 2), ord("\n"), np.uint8)
                rows[:, 0] = mask + ord("0")
                (directory / "points_label" / part / f"{shape}.seg").write_bytes(rows.tobytes())
