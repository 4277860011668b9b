"""The two text layouts of ShapeNet's part benchmark.

    shapenetcore_partanno_segmentation_benchmark_v0
        <synset>/points/<id>.pts             x y z, one point a line
        <synset>/points_label/<id>.seg       the part, an integer a line, from 1; 0 unknown
    shapenetcore_partanno_segmentation_benchmark_v0_normal
        <synset>/<id>.txt     x y z nx ny nz label; the label counts all 50 parts from 0

Both have `synsetoffset2category.txt`, and the official split in
`train_test_split/shuffled_{train,val,test}_file_list.json`: lists of "shape_data/<synset>/<id>".
35 ids stand in two of the published lists; they are kept in the more held-out one, and a finding
says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from preprocessing.benchmark_parts import (
    BY_SYNSET,
    FIRST_PART,
    benchmark_category,
    part_labels,
    unknown_label,
)
from preprocessing.file_tree import FileTree
from preprocessing.findings import BadInput, Finding
from preprocessing.json_text import parse_json
from preprocessing.layout import Listing, Shape
from preprocessing.number_table import parse_labels, parse_table
from preprocessing.settings import DataSettings
from preprocessing.splits import HELD_OUT_FIRST
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.record import SPLITS, CloudRecord

CATEGORY_LIST = "synsetoffset2category.txt"


class _Benchmark:
    """What both forms share; see layout.Reader."""

    layout = ""

    def __init__(self, tree: FileTree, root: str, settings: DataSettings) -> None:
        """Takes the categories whose folders are there.

        Names are the parts table's: a copy's category list may name others, or lack some.
        """
        self._tree = tree
        self._root = f"{root}/" if root else ""
        present = {entry.name for entry in tree.entries(root) if entry.is_folder}
        self.categories: dict[str, Category] = {
            known.name: benchmark_category(known.directory, settings.unannotated)
            for known in SHAPENET_CATEGORIES
            if known.directory in present
        }

    def list_shapes(self, categories: Iterable[str]) -> Listing:
        """See layout.Reader."""
        shapes: list[Shape] = []
        findings: list[Finding] = []
        twice: list[tuple[str, str, str]] = []
        stamp = hashlib.sha256()
        split_of, in_two = self._official_splits(stamp)
        for name in categories:
            directory = self.categories[name].directory
            for shape, size, labelled in self._files(directory, stamp):
                annotations = ("labels",) if labelled else ()
                split = split_of.get(f"{directory}/{shape}", "")
                shapes.append(Shape(shape, name, size, annotations, split))
                if f"{directory}/{shape}" in in_two:
                    twice.append((f"{directory}/{shape}", shape, split))
        if twice:
            file, shape, split = twice[0]
            first = f"{file} stands in the official lists of {' and '.join(in_two[file])}"
            more = f"; so do {len(twice) - 1} more in two of them" if len(twice) > 1 else ""
            findings.append(
                Finding(
                    "in_two_splits",
                    shape if len(twice) == 1 else "",
                    f"{self._root}train_test_split",
                    0,
                    f"{first} and is kept in {split}, the more held-out one{more}. Nothing to do.",
                    False,
                )
            )
        return Listing(shapes, findings, stamp.hexdigest())

    def _official_splits(
        self, stamp: hashlib._Hash
    ) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
        """The split of each "<synset>/<id>" that a list names; of those in two lists, both."""
        split_of: dict[str, str] = {}
        in_two: dict[str, tuple[str, str]] = {}
        folder = f"{self._root}train_test_split"
        present = {entry.name for entry in self._tree.entries(folder) if not entry.is_folder}
        for split in SPLITS:
            name = f"shuffled_{split}_file_list.json"
            if name not in present:
                continue
            text = self._tree.read(f"{folder}/{name}")
            stamp.update(text)
            for shape in _split_list(text, f"{folder}/{name}"):
                other = split_of.get(shape, split)
                split_of[shape] = min(split, other, key=HELD_OUT_FIRST.index)
                if other != split:
                    in_two[shape] = (other, split)
        return split_of, in_two

    def _files(self, directory: str, stamp: hashlib._Hash) -> list[tuple[str, int, bool]]:
        """Name, bytes, and whether it has labels, of each shape."""
        raise NotImplementedError


class BenchmarkV0(_Benchmark):
    """Reader of the form with .pts and .seg files."""

    layout = "benchmark_v0"

    @staticmethod
    def find(tree: FileTree) -> str | None:
        """The folder with the category list whose categories have a folder `points`."""
        return _find(tree, lambda folder: any(e.name == "points" for e in tree.entries(folder)))

    def _files(self, directory: str, stamp: hashlib._Hash) -> list[tuple[str, int, bool]]:
        folder = self._root + directory
        labels = {}
        for entry in self._tree.entries(f"{folder}/points_label"):
            stamp.update(f"{entry.name} {entry.size} {entry.stamp}\n".encode())
            labels[entry.name.removesuffix(".seg")] = entry.size
        found = []
        for entry in self._tree.entries(f"{folder}/points"):
            stamp.update(f"{folder} {entry.name} {entry.size} {entry.stamp}\n".encode())
            if entry.name.endswith(".pts"):
                name = entry.name.removesuffix(".pts")
                found.append((name, entry.size + labels.get(name, 0), name in labels))
        return found

    def read(self, shape: Shape, findings: list[Finding]) -> CloudRecord:
        """See layout.Reader."""
        category = self.categories[shape.category]
        folder = self._root + category.directory
        file = f"{folder}/points/{shape.name}.pts"
        points = parse_table(self._tree.read(file), 3, file)
        if not shape.annotations:
            return CloudRecord(shape.name, shape.category, points)
        file = f"{folder}/points_label/{shape.name}.seg"
        numbers = parse_labels(self._tree.read(file), file)
        if len(numbers) != len(points):
            raise BadInput(
                "count_mismatch",
                f"found {len(numbers)} labels, expected {len(points)}, one for each line of the "
                "points file. Restore the file or remove the shape.",
                file,
                min(len(numbers), len(points)) + 1,
            )
        return CloudRecord(shape.name, shape.category, points, _labels(numbers, 1, category, file))


class BenchmarkNormal(_Benchmark):
    """Reader of the form with normals and one .txt file a shape; the normals are not kept."""

    layout = "benchmark_normal"

    @staticmethod
    def find(tree: FileTree) -> str | None:
        """The folder with the category list whose categories have .txt files."""
        return _find(tree, lambda f: any(e.name.endswith(".txt") for e in tree.entries(f)))

    def _files(self, directory: str, stamp: hashlib._Hash) -> list[tuple[str, int, bool]]:
        found = []
        for entry in self._tree.entries(self._root + directory):
            stamp.update(f"{directory} {entry.name} {entry.size} {entry.stamp}\n".encode())
            if entry.name.endswith(".txt"):
                found.append((entry.name.removesuffix(".txt"), entry.size, True))
        return found

    def read(self, shape: Shape, findings: list[Finding]) -> CloudRecord:
        """See layout.Reader."""
        category = self.categories[shape.category]
        file = f"{self._root}{category.directory}/{shape.name}.txt"
        table = parse_table(self._tree.read(file), 7, file)
        numbers = table[:, 6]
        whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 1000)
        if not whole.all():
            line = int(np.argmin(whole))
            raise BadInput(
                "not_a_label",
                f"found label {numbers[line]:g}, expected a whole number. Correct the line or "
                "remove the shape.",
                file,
                line + 1,
            )
        labels = _labels(numbers.astype(np.int64), FIRST_PART[category.directory], category, file)
        points = np.ascontiguousarray(table[:, :3])
        return CloudRecord(shape.name, shape.category, points, labels)


def _labels(numbers: np.ndarray, first: int, category: Category, file: str) -> np.ndarray:
    """Our labels from numbers that count the benchmark's parts from `first`, one a line."""
    wrong = unknown_label(numbers, first, category)
    if wrong is not None:
        index, found = wrong
        raise BadInput(
            "unknown_label", f"{found} Correct the line or remove the shape.", file, index + 1
        )
    return part_labels(numbers, first, category)


def _find(tree: FileTree, is_category: Callable[[str], bool]) -> str | None:
    for root in ("", *(entry.name for entry in tree.entries("") if entry.is_folder)):
        entries = tree.entries(root)
        if any(entry.name == CATEGORY_LIST for entry in entries):
            folders = (e.name for e in entries if e.is_folder and e.name in BY_SYNSET)
            if any(is_category(f"{root}/{f}" if root else f) for f in folders):
                return root
    return None


def _split_list(text: bytes, file: str) -> list[str]:
    """The "<synset>/<id>" of a list of "shape_data/<synset>/<id>"."""
    value = parse_json(text, file, "bad_split_list")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput("bad_split_list", "is no list of shapes' names. Restore or remove it.", file)
    return ["/".join(item.split("/")[-2:]) for item in value]
