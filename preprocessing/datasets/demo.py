"""Made-up shapes in the PartAnnotation layout, for trying the pipeline without a download.

A metric measured on them says nothing about real shapes. made_up.json lists the files of a folder:
nothing else in it is ever replaced or removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel

from preprocessing.datasets.demo_categories import DEMO_CATEGORIES, POINTS, demo_cloud
from preprocessing.datasets.part_annotation import METADATA
from schema.atomic import write_atomically
from schema.categories import Category
from schema.errors import UserError

STAMP = "made_up.json"
_NOTE = "made up by pointnet-parts demo-data: procedural shapes, not ShapeNet's"
# To be raised when shapes change, so that folders of before are written again.
_GEOMETRY = 1


class Stamp(BaseModel):
    """Contents of made_up.json: what was asked for, and every file that may belong to it."""

    note: Literal[_NOTE]  # type: ignore[valid-type]
    request: str
    finished: bool
    files: list[str]


def make_demo_shapes(
    folder: str | Path,
    shapes_per_category: int = 100,
    categories: Iterable[str] | None = None,
    seed: int = 0,
    points: tuple[int, int] = POINTS,
) -> Path:
    """Writes a PartAnnotation folder of made-up shapes, unless it has them already; returns it.

    The folder is absent, empty, or of an earlier call, whose files are replaced; `categories` are
    names of DEMO_CATEGORIES; another seed gives other shapes with other ids; `points` are the
    fewest and the most of a shape.

    Raises UserError `unknown_category`, `cannot_write`, or `not_ours`: other files are in the way.
    """
    folder = Path(folder).expanduser()
    names = list(DEMO_CATEGORIES if categories is None else categories)
    parts = {name: category.parts for name, category in DEMO_CATEGORIES.items()}
    if unknown := set(names) - set(DEMO_CATEGORIES):
        message = f"found no made-up category {min(unknown)}, only {', '.join(parts)}."
        raise UserError("unknown_category", message)
    try:
        request = repr((_GEOMETRY, names, shapes_per_category, seed, points))
        before = _read_stamp(folder)
        is_current = before.finished and before.request == request
        if is_current and all((folder / file).is_file() for file in before.files):
            return folder
        shapes = [(name, index) for name in names for index in range(shapes_per_category)]
        planned = {METADATA}.union(*(_shape_files(*shape, seed) for shape in shapes))
        for file in sorted(planned - set(before.files)):
            if os.path.lexists(folder / file):
                raise _not_ours(folder / file)
        files = sorted(planned.union(before.files))
        stamp = Stamp(note=_NOTE, request=request, finished=False, files=files)
        write_atomically(folder / STAMP, stamp.model_dump_json())
        for file in before.files:
            (folder / file).unlink(missing_ok=True)
        metadata = {
            n: {"directory": _directory(n), "lables": parts[n], "note": _NOTE} for n in names
        }
        (folder / METADATA).write_text(json.dumps(metadata, indent=1) + "\n")
        stamp.files = [METADATA]
        for shape in shapes:
            contents = _contents(*demo_cloud(*shape, seed, points), len(parts[shape[0]]))
            for file, content in zip(_shape_files(*shape, seed), contents, strict=True):
                # As in the published archive, an absent part has no file.
                if content:
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    (folder / file).write_bytes(content)
                    stamp.files.append(file)
        stamp.finished = True
        write_atomically(folder / STAMP, stamp.model_dump_json())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError("cannot_write", f"{folder} cannot be written ({reason}).") from None
    return folder


def is_made_up(category: Category) -> bool:
    """Whether a category's shapes were made here; holds for converted data, too."""
    return category.directory in map(_directory, DEMO_CATEGORIES)


def _read_stamp(folder: Path) -> Stamp:
    """The stamp, empty for a new folder; UserError `not_ours` if it is not that of a call here."""
    if not folder.exists() or (folder.is_dir() and not os.listdir(folder)):
        return Stamp(note=_NOTE, request="", finished=False, files=[])
    try:
        return Stamp.model_validate_json((folder / STAMP).read_bytes())
    except (ValueError, OSError):
        raise _not_ours(folder) from None


def _not_ours(path: Path) -> UserError:
    return UserError(
        "not_ours", f"{path} is not from demo-data. Give another folder, or remove it."
    )


def _directory(category: str) -> str:
    return f"made_up_{category.lower()}"


def _shape_files(category: str, index: int, seed: int) -> list[str]:
    """The points file of a shape, and the label file of each part."""
    # Other seeds have other ids, so that these folders can be deliveries of one data set.
    shape = f"{category.lower()}_{f'{seed}_' if seed else ''}{index:05d}"
    labels = [f"points_label/{part}/{shape}.seg" for part in DEMO_CATEGORIES[category].parts]
    return [f"{_directory(category)}/{file}" for file in (f"points/{shape}.pts", *labels)]


def _contents(points: np.ndarray, labels: np.ndarray, parts: int) -> Iterator[bytes]:
    """The content of each of a shape's files; empty for the labels of an absent part."""
    yield ("%.5f %.5f %.5f\n" * len(points) % tuple(points.ravel().tolist())).encode()
    for mask in (labels == label for label in range(parts)):
        yield np.where(mask, b"1\n", b"0\n").tobytes() if mask.any() else b""
