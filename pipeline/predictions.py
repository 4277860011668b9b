"""The predicted parts of unlabelled clouds, put where a person looks."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from components.predicted_parts.executor import CLOUDS_FILE
from preprocessing.clouds.ply import LABELS_ENDING, PLY_ENDING
from preprocessing.progress import progress


def copy_predictions(made: str, folder: Path) -> int:
    """Copies each cloud's files and clouds.csv; those of an earlier run give way to them.

    Args:
      made: where PredictedParts wrote them.
      folder: where to; what else lies there stays.

    Returns:
      How many clouds; 0, and nothing is touched, where no model was blessed.
    """
    names = _files(Path(made))
    if not names:
        return 0
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
    return sum(name.endswith(PLY_ENDING) for name in names)


def _files(folder: Path) -> set[str]:
    """The files that a folder's clouds.csv names; none where there is no such table."""
    table = folder / CLOUDS_FILE
    if not table.exists():
        return set()
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row.get("file") or "" for row in csv.DictReader(file)]
    stems = [Path(row).name.removesuffix(PLY_ENDING) for row in rows]
    return {stem + ending for stem in stems for ending in (PLY_ENDING, LABELS_ENDING)}
