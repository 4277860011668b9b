"""The HDF5 layout of ShapeNet's part benchmark, PointNet's own release.

    all_object_categories.txt      name<TAB>synset, the order that `label` counts; may be missing
    ply_data_train0.h5 ...         also val, test: the official split
        data    float32 [S, N, 3]  N = 2,048 points of each of S shapes
        label   uint8 [S, 1]       the category, counted from 0
        pid     uint8 [S, N]       the part, counted over all 50 parts from 0

The files do not hold the shapes' names; we name them after file and row, ply_data_train0-00017. The
list of shapes reads `label` alone. A shape is read from a file that was unpacked as a whole: a few
files stay in memory, for the shapes of a record file come from all of them.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from preprocessing import file_tree
from preprocessing.benchmark_parts import (
    FIRST_PART,
    benchmark_category,
    part_labels,
    unknown_label,
)
from preprocessing.file_tree import Entry, FileTree
from preprocessing.findings import BadInput, Finding
from preprocessing.layout import Listing, Shape
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.record import CloudRecord

CATEGORY_LIST = "all_object_categories.txt"
_FILE = re.compile(r"(ply_data_(train|val|test)\d*)\.h5")
# Name -> kinds of numbers in it, and what messages call its form.
_DATASETS = {
    "data": ("f", "floating-point numbers [shapes, points, 3]"),
    "label": ("iu", "integers [shapes, 1]"),
    "pid": ("iu", "integers [shapes, points]"),
}
# Unpacked files that a process keeps: the published 16,881 shapes are 470 MB.
_MAX_KEPT_BYTES = 2**29
# A small file can declare any number of them; the published ones hold 2,048.
_MAX_SHAPES = 2**17
# What h5py raises where the HDF5 library finds a file damaged.
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)


class BenchmarkHdf5:
    """Reader of one source; see layout.Reader."""

    layout = "benchmark_hdf5"

    def __init__(self, tree: FileTree, root: str, settings: DataSettings) -> None:
        """Opens nothing but the list of categories.

        Raises:
          BadInput: the list of categories is not the benchmark's.
        """
        self._tree = tree
        self._root = f"{root}/" if root else ""
        if any(entry.name == CATEGORY_LIST for entry in tree.entries(root)):
            _check_categories(tree.read(self._root + CATEGORY_LIST), self._root + CATEGORY_LIST)
        self.categories: dict[str, Category] = {
            known.name: benchmark_category(known.directory, settings.unannotated)
            for known in SHAPENET_CATEGORIES
        }
        # File -> its points and parts, or why it cannot be read; the longest unused first.
        self._kept: OrderedDict[str, tuple[np.ndarray, np.ndarray] | BadInput] = OrderedDict()

    @staticmethod
    def find(tree: FileTree) -> str | None:
        """The folder that holds the .h5 files: the source itself, or its one folder that does."""
        for root in ("", *(entry.name for entry in tree.entries("") if entry.is_folder)):
            if any(_FILE.fullmatch(entry.name) for entry in tree.entries(root)):
                return root
        return None

    def list_shapes(self, categories: Iterable[str]) -> Listing:
        """See layout.Reader; raises BadInput where a file as a whole cannot be read."""
        found: dict[str, list[Shape]] = {name: [] for name in categories}
        findings: list[Finding] = []
        stamp = hashlib.sha256()
        for entry in self._tree.entries(self._root):
            match = _FILE.fullmatch(entry.name)
            if match is None or entry.is_folder:
                continue
            stamp.update(f"{entry.name} {entry.size} {entry.stamp}\n".encode())
            self._list_file(entry, match[1], match[2], found, findings)
        for name, shapes in found.items():
            if not shapes:
                findings.append(
                    Finding(
                        "no_shapes",
                        "",
                        self._root + "*.h5",
                        0,
                        f"no shape of {name} in these files. Add the files that hold it, or "
                        "choose another category.",
                        False,
                    )
                )
        shapes = [shape for of_category in found.values() for shape in of_category]
        return Listing(shapes, findings, stamp.hexdigest())

    def _list_file(
        self,
        entry: Entry,
        stem: str,
        split: str,
        found: dict[str, list[Shape]],
        findings: list[Finding],
    ) -> None:
        file = self._root + entry.name
        with _opened(self._tree.read(file), file) as datasets:
            labels = datasets["label"][...].reshape(-1)
            points = datasets["data"].shape[1]
        names = list(self.categories)
        for row, label in enumerate(labels.tolist()):
            name = f"{stem}-{row:05d}"
            if not 0 <= label < len(names):
                findings.append(
                    Finding(
                        "unknown_category",
                        name,
                        file,
                        0,
                        f"row {row} of label is {label}, expected 0 to {len(names) - 1}. Restore "
                        "the file.",
                        True,
                    )
                )
            elif names[label] in found:
                size = points * 13
                shape = Shape(name, names[label], size, ("pid",), split, f"{entry.name} {row}")
                found[names[label]].append(shape)

    def read(self, shape: Shape, findings: list[Finding]) -> CloudRecord:
        """See layout.Reader."""
        name, row = shape.place.split(" ")
        file = self._root + name
        points, parts = (array[int(row)] for array in self._arrays(file))
        with np.errstate(over="ignore"):
            points = points.astype(np.float32)
        finite = np.isfinite(points).all(axis=1)
        if not finite.all():
            bad = int(finite.argmin())
            raise BadInput(
                "not_finite",
                f"row {row}, point {bad} of data is {points[bad].tolist()}, expected finite 32-bit "
                "numbers. Restore the file.",
                file,
            )
        category = self.categories[shape.category]
        first = FIRST_PART[category.directory]
        numbers = parts.astype(np.int64)
        wrong = unknown_label(numbers, first, category)
        if wrong is not None:
            index, sentence = wrong
            raise BadInput(
                "unknown_label",
                f"row {row}, point {index} of pid: {sentence} Restore the file.",
                file,
            )
        return CloudRecord(
            shape.name, shape.category, points, part_labels(numbers, first, category)
        )

    def _arrays(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        """`data` and `pid` of a file; a damaged file is unpacked only once, too."""
        if file not in self._kept:
            try:
                with _opened(self._tree.read(file), file) as datasets:
                    self._kept[file] = datasets["data"][...], datasets["pid"][...]
            except BadInput as error:
                self._kept[file] = error
            while len(self._kept) > 1 and self._kept_bytes() > _MAX_KEPT_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(file)
        kept = self._kept[file]
        if isinstance(kept, BadInput):
            raise kept.with_traceback(None)
        return kept

    def _kept_bytes(self) -> int:
        arrays = (kept for kept in self._kept.values() if not isinstance(kept, BadInput))
        return sum(data.nbytes + parts.nbytes for data, parts in arrays)


@contextmanager
def _opened(content: bytes, file: str) -> Iterator[dict[str, h5py.Dataset]]:
    """The three datasets of an HDF5 file, their forms checked, nothing of them read yet.

    From memory, not by its path: a folder and a .zip are read alike, and a file that is removed
    meanwhile does no harm.

    Raises:
      BadInput: it is no whole HDF5 file, a dataset is missing, of another form or outside of the
        file, or (raised where the datasets are used) its content is damaged.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as opened:
            datasets = {name: _dataset(opened, name, file) for name in _DATASETS}
            _check_shapes(datasets, file)
            yield datasets
    except BadInput:
        raise
    except _DAMAGE as error:
        raise BadInput(
            "damaged_hdf5",
            f"cannot be read as HDF5 ({' '.join(str(error).split())[:120]}), expected a whole HDF5 "
            "file with data, label and pid. Download it again.",
            file,
        ) from None


def _dataset(opened: h5py.File, name: str, file: str) -> h5py.Dataset:
    kinds, form = _DATASETS[name]
    if name not in opened.keys():  # noqa: SIM118 - `in opened` would follow a link
        present = ", ".join(list(opened)[:6]) or "nothing"
        raise BadInput(
            "no_dataset",
            f"has no dataset {name} (found {present}), expected data, label and pid. Take the "
            "files of ShapeNet's part benchmark; those of ModelNet40 bear the same names.",
            file,
        )
    if not isinstance(opened.get(name, getlink=True), h5py.HardLink):
        raise _outside(name, file)
    dataset = opened[name]
    if not isinstance(dataset, h5py.Dataset):
        raise BadInput(
            "wrong_dataset", f"{name} is a group, expected {form}. Restore the file.", file
        )
    if dataset.is_virtual or dataset.external:
        raise _outside(name, file)
    if dataset.shape is None or dataset.dtype.kind not in kinds:
        what = "empty" if dataset.shape is None else f"of type {dataset.dtype}"
        raise BadInput(
            "wrong_dataset", f"{name} is {what}, expected {form}. Restore the file.", file
        )
    if dataset.nbytes > file_tree.MAX_FILE_BYTES:
        raise BadInput(
            "too_large",
            f"{name} would take {dataset.nbytes / 2**30:.3g} GiB, expected at most "
            f"{file_tree.MAX_FILE_BYTES / 2**30:g}. Restore the file, or split it.",
            file,
        )
    return dataset


def _outside(name: str, file: str) -> BadInput:
    return BadInput(
        "outside_link",
        f"{name} is a link or stands in another file, which is not followed; expected the numbers "
        "themselves. Restore the file.",
        file,
    )


def _check_shapes(datasets: dict[str, h5py.Dataset], file: str) -> None:
    data, label, pid = (datasets[name].shape for name in ("data", "label", "pid"))
    shapes = data[0] if data else 0
    if (
        len(data) != 3
        or data[1] < 1
        or data[2] != 3
        or label not in ((shapes,), (shapes, 1))
        or pid != data[:2]
    ):
        raise BadInput(
            "wrong_dataset",
            f"has data {list(data)}, label {list(label)} and pid {list(pid)}, expected data "
            "[shapes, points, 3], label [shapes, 1] and pid [shapes, points]. Restore the file.",
            file,
        )
    if shapes > _MAX_SHAPES:
        raise BadInput(
            "too_large",
            f"holds {shapes:,} shapes, expected at most {_MAX_SHAPES:,}. Restore the file, or "
            "split it.",
            file,
        )


def _check_categories(text: bytes, file: str) -> None:
    """That `label` and `pid` count as the parts table does."""
    lines = text.decode("utf-8", "replace").split("\n")
    found = [words[-1] for words in map(str.split, lines) if words]
    expected = [category.directory for category in SHAPENET_CATEGORIES]
    for index, synset in enumerate(expected):
        if index >= len(found) or found[index] != synset:
            raise BadInput(
                "other_categories",
                f"names {found[index] if index < len(found) else 'nothing'} as category {index}, "
                f"expected {synset} ({SHAPENET_CATEGORIES[index].name}): the labels are counted in "
                "the benchmark's order. Take the benchmark's own files.",
                file,
                index + 1,
            )
    if len(found) > len(expected):
        raise BadInput(
            "other_categories",
            f"names {len(found)} categories, expected the benchmark's {len(expected)}. Take the "
            "benchmark's own files.",
            file,
            len(expected) + 1,
        )
