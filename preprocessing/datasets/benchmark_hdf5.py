"""The HDF5 layout of ShapeNet's part benchmark, PointNet's own release.

    all_object_categories.txt      name and folder of each category in `label`'s order; optional
    ply_data_train0.h5 ...         also val, test: the official split
        data    float [S, N, 3]    N points of each of S shapes
        label   integer [S, 1]     the category, counted from 0
        pid     integer [S, N]     the part, counted over all 50 parts from 0

Shapes are named after file and row, such as ply_data_train0-00017. Listing reads `label` only.
Files are unpacked as a whole; the last few stay in memory, since converted files mix shapes of all.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from preprocessing.clouds.columns import checked_points
from preprocessing.datasets.base import Reader, Shape
from preprocessing.datasets.benchmark import FIRST_PART
from preprocessing.datasets.files import Files
from schema.categories import SHAPENET_CATEGORIES
from schema.errors import Finding, UserError
from schema.record import Cloud

CATEGORY_LIST = "all_object_categories.txt"
_FILE = re.compile(r"(ply_data_(train|val|test)\d*)\.h5")
# The published release has 9 files of up to 55 MB in memory.
_FILES_KEPT = 10


class BenchmarkHdf5(Reader):
    """Reader of the layout."""

    layout = "benchmark_hdf5"
    looks_for = "ply_data_train0.h5 and the like"

    @classmethod
    def fits(cls, names: set[str], files: Files) -> bool:
        return any(map(_FILE.fullmatch, names))

    def _add_categories(self) -> None:
        self._unpacked = functools.lru_cache(_FILES_KEPT)(self._read)
        if any(entry.name == CATEGORY_LIST for entry in self._files.entries()):
            words = self._files.read(CATEGORY_LIST).decode("utf-8", "replace").split()
            folders = [category.directory for category in SHAPENET_CATEGORIES]
            for line, (folder, known) in enumerate(zip_longest(words[1::2], folders), 1):
                if folder != known:
                    message = f"found {folder}, expected {known}: labels count in this order."
                    raise UserError("other_categories", message, CATEGORY_LIST, line)
        for category in SHAPENET_CATEGORIES:
            self._add_category(category, category.parts, FIRST_PART[category.name])

    def _folder(self, category: str) -> str:
        return "*.h5"

    def _list(self, names: Sequence[str]) -> list[Shape]:
        shapes: list[Shape] = []
        known = list(self.categories)
        for entry in self._entries():
            if not (match := _FILE.fullmatch(entry.name)):
                continue
            (labels,) = self._read(entry.name, "label")
            for row, label in enumerate(labels.ravel().tolist()):
                if not 0 <= label < len(known):
                    message = f"row {row} of label (from 0) is {label}, expected 0 to 15."
                    raise UserError("unknown_category", message, entry.name)
                if known[label] in names:
                    name, place = f"{match[1]}-{row:05d}", f"{entry.name} {row}"
                    size = entry.size // len(labels)
                    shapes.append(Shape(name, known[label], size, ("pid",), match[2], place))
        return shapes

    def read(self, shape: Shape, findings: list[Finding]) -> Cloud:
        file, row = shape.place.split(" ")
        data, pid = (array[int(row)] for array in self._unpacked(file, "data", "pid"))
        try:
            points = checked_points(data.astype(np.float64), "", 1)
            labels = self._labels(pid.astype(np.int64), shape.category, "")
        except UserError as error:
            message = f"row {row}, point {error.line - 1} (from 0): {error.message}"
            raise UserError(error.code, message, file) from None
        return Cloud(shape.name, shape.category, points, labels)

    def _read(self, file: str, *names: str) -> list[np.ndarray]:
        """Some datasets of a file; else UserError `damaged_hdf5` or `wrong_dataset`."""
        # Imported here: readers of other layouts start faster without it.
        import h5py

        content = io.BytesIO(self._files.read(file))
        try:
            with h5py.File(content, "r") as opened:
                if {"data", "label", "pid"} <= set(opened):
                    data, label, pid = opened["data"], opened["label"], opened["pid"]
                    kinds = (data.dtype.kind + label.dtype.kind + pid.dtype.kind).replace("u", "i")
                    fit = data.shape == (*pid.shape, 3) and label.size == len(data)
                    if kinds == "fii" and data.ndim == 3 and fit and data.size:
                        return [opened[name][...] for name in names]
                found = ", ".join(map(str, opened.values()))
        # The HDF5 library reports damage by many kinds of errors.
        except Exception as error:
            message = f"cannot be read as HDF5 ({error!s:.120}). Download it again."
            raise UserError("damaged_hdf5", message, file) from None
        expected = "data float [S, N, 3], label integer [S, 1] and pid integer [S, N]"
        raise UserError("wrong_dataset", f"found {found}; expected {expected}.", file)
