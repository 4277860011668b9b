"""The predicted parts of unlabelled clouds, put where a person looks."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from components.predicted_parts import CLOUDS_FILE
from preprocessing.clouds.ply import LABELS_ENDING, PLY_ENDING
from preprocessing.progress import progress


def copy_predictions(made: str, folder: Path) -> tuple[int, dict[str, str]]:
    """Copies each cloud's files and clouds.csv, which replace those of an earlier run.

    Returns the number of clouds, and the model's reason for each other cloud by its id. Changes
    nothing if there is neither, as without a blessed model.
    """
    names = _files(Path(made))
    refused = {row["shape_id"]: row["reason"] for row in _rows(Path(made)) if row.get("reason")}
    if not names and not refused:
        return 0, {}
    folder.mkdir(exist_ok=True)
    for name in _files(folder) - names:
        (folder / name).unlink(missing_ok=True)
    copied: list[str] = []
    with progress("Copying predicted parts", len(names), lambda: len(copied), "files"):
        for name in sorted(names):
            shutil.copyfile(Path(made) / name, folder / name)
            copied.append(name)
    # Last: it says that the rest is there.
    shutil.copyfile(Path(made) / CLOUDS_FILE, folder / CLOUDS_FILE)
    return sum(name.endswith(PLY_ENDING) for name in names), refused


def _files(folder: Path) -> set[str]:
    """The files that a folder's clouds.csv names."""
    files = [row["file"] for row in _rows(folder) if row.get("file")]
    stems = [Path(file).name.removesuffix(PLY_ENDING) for file in files]
    return {stem + ending for stem in stems for ending in (PLY_ENDING, LABELS_ENDING)}


def _rows(folder: Path) -> list[dict[str, str]]:
    table = folder / CLOUDS_FILE
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
