"""What a person names on the command line, as clouds: files, folders, meshes, standard input."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.clouds.files import CLOUD_ENDINGS as ENDINGS
from preprocessing.clouds.files import ending_of
from preprocessing.clouds.files import read_cloud as read_cloud_file
from preprocessing.clouds.meshes import MESH_ENDINGS, read_mesh_points
from schema.errors import UserError

STANDARD_INPUT = "-"
CLOUD_ENDINGS = (*ENDINGS, *MESH_ENDINGS)
_STDIN_NAME = "stdin"


@dataclass(frozen=True)
class CloudSource:
    """Where a cloud is read from.

    Attributes:
      name: what its files will be called: the file's name without its ending, where no other cloud
        has the same, else its path.
      path: as it was given, or found in a folder that was given; "-": standard input.
    """

    name: str
    path: str


def find_clouds(
    places: Sequence[str], own_files: Collection[Path]
) -> tuple[list[CloudSource], list[UserError]]:
    """Finds the clouds that are meant, each once.

    Args:
      places: files; folders, of which all files with one of CLOUD_ENDINGS are taken; "-".
      own_files: files (as Path.resolve gives them) that are left out of folders, since they are
        answers and no questions.

    Returns:
      The clouds in the order given, those of a folder by name; and what could not be found.
    """
    paths: list[str] = []
    missing: list[UserError] = []
    for place in places:
        if place == STANDARD_INPUT or not os.path.isdir(place):
            paths.append(place)
            continue
        try:
            inside = sorted(Path(place).iterdir())
        except OSError as error:
            missing.append(_unreadable(place, error))
            continue
        known = [
            str(path)
            for path in inside
            if ending_of(path.name) in CLOUD_ENDINGS
            and not path.name.startswith(".")
            and path.is_file()
            and path.resolve() not in own_files
        ]
        if not known:
            missing.append(
                UserError(
                    "empty_folder",
                    f"holds no cloud, expected files that end in {', '.join(CLOUD_ENDINGS)}. Give "
                    "the folder that they lie in.",
                    place,
                )
            )
        paths += known
    # A file may have been given twice, or lie in a folder that was given, too.
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(path if path == STANDARD_INPUT else os.path.realpath(path), path)
    stems = Counter(_stem(path) for path in found.values())
    whole = [os.path.normpath(path) for path in found.values()]
    names = [
        _stem(path) if stems[_stem(path)] == 1 else long
        for path, long in zip(found.values(), whole, strict=True)
    ]
    if len(set(names)) < len(names):
        names = whole
    return [CloudSource(*pair) for pair in zip(names, found.values(), strict=True)], missing


def read_cloud(source: CloudSource, mesh_points: int) -> np.ndarray:
    """Reads a cloud's points; labels that the file may have are ignored.

    Args:
      source: where.
      mesh_points: number of points that are drawn from the faces of a mesh.

    Returns:
      float64 [n, 3], n >= 1, finite.

    Raises:
      UserError: it cannot be read.
    """
    if source.path == STANDARD_INPUT:
        content = sys.stdin.buffer.read()
        try:
            return read_cloud_file(f"{_STDIN_NAME}.xyz", content, with_labels=False).points
        except UserError as error:
            raise error.at("standard input") from None
    try:
        content = Path(source.path).read_bytes()
    except OSError as error:
        raise _unreadable(source.path, error) from None
    ending = ending_of(source.path)
    if ending in MESH_ENDINGS:
        return read_mesh_points(source.path, content, mesh_points)
    if ending not in ENDINGS:
        raise UserError(
            "unknown_ending",
            f"has the ending {ending!r}, expected one of {', '.join(CLOUD_ENDINGS)}.",
            source.path,
        )
    return read_cloud_file(source.path, content, with_labels=False).points


def _stem(path: str) -> str:
    return _STDIN_NAME if path == STANDARD_INPUT else Path(path).stem


def _unreadable(place: str, error: OSError) -> UserError:
    return UserError(
        "unreadable",
        f"cannot be read ({error.strerror or error}), expected a file, a folder, or - for "
        "standard input. Check its name and who may read it.",
        place,
    )
