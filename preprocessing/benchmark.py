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
import json
from collections.abc import Callable, Iterable

import numpy as np

from preprocessing.file_tree import FileTree
from preprocessing.findings import BadInput, Finding
from preprocessing.layout import Listing, Shape
from preprocessing.number_table import parse_labels, parse_table
from preprocessing.part_annotation import NONE_PART
from preprocessing.settings import DataSettings
from preprocessing.splits import HELD_OUT_FIRST
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.record import SPLITS, UNANNOTATED, CloudRecord

CATEGORY_LIST = "synsetoffset2category.txt"
_BY_SYNSET = {category.directory: category for category in SHAPENET_CATEGORIES}
# The number of a category's first part when all 50 are counted.
_FIRST_PART = {
    category.directory: sum(len(earlier.parts) for earlier in SHAPENET_CATEGORIES[:index])
    for index, category in enumerate(SHAPENET_CATEGORIES)
}


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
            known.name: _category(known.name, known.directory, settings.unannotated)
            for known in SHAPENET_CATEGORIES
            if known.directory in present
        }

    def list_shapes(self, categories: Iterable[str]) -> Listing:
        """See layout.Reader."""
        shapes: list[Shape] = []
        findings: list[Finding] = []
        stamp = hashlib.sha256()
        split_of = self._official_splits(findings, stamp)
        for name in categories:
            directory = self.categories[name].directory
            for shape, size, labelled in self._files(directory, stamp):
                annotations = ("labels",) if labelled else ()
                split = split_of.get(f"{directory}/{shape}", "")
                shapes.append(Shape(shape, name, size, annotations, split))
        return Listing(shapes, findings, stamp.hexdigest())

    def _official_splits(self, findings: list[Finding], stamp: hashlib._Hash) -> dict[str, str]:
        """The split of each "<synset>/<id>" that a list names."""
        split_of: dict[str, str] = {}
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
                    findings.append(
                        Finding(
                            "in_two_splits",
                            shape.rsplit("/", 1)[-1],
                            f"{folder}/{name}",
                            0,
                            f"{shape} stands in the official lists of {other} and {split}; it is "
                            f"kept in {split_of[shape]}. Nothing to do.",
                            False,
                        )
                    )
        return split_of

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
        labels = _labels(numbers.astype(np.int64), _FIRST_PART[category.directory], category, file)
        points = np.ascontiguousarray(table[:, :3])
        return CloudRecord(shape.name, shape.category, points, labels)


def _labels(numbers: np.ndarray, first: int, category: Category, file: str) -> np.ndarray:
    """Our labels from numbers that count the benchmark's parts from `first`; 0 may be unknown."""
    named = _BY_SYNSET[category.directory].parts
    lowest = 0 if first == 1 else first
    wrong = np.flatnonzero((numbers < lowest) | (numbers >= first + len(named)))
    if wrong.size:
        raise BadInput(
            "unknown_label",
            f"found label {numbers[wrong[0]]}, expected {lowest} to {first + len(named) - 1} "
            f"({category.name} has {', '.join(named)}). Correct the line or remove the shape.",
            file,
            int(wrong[0]) + 1,
        )
    rest = UNANNOTATED if category.rest is None else category.parts.index(category.rest)
    index = [category.parts.index(p) if p in category.parts else UNANNOTATED for p in named]
    # The last one, which -1 finds, is the unknown part's.
    return np.array([*index, rest], np.int64)[np.maximum(numbers - first, -1)]


def _category(name: str, synset: str, unannotated: str) -> Category:
    known = _BY_SYNSET[synset]
    if unannotated == "ignore" and known.rest is not None:
        parts = tuple(part for part in known.parts if part != known.rest)
        return Category(name, synset, parts)
    if unannotated == "part" and known.rest is None:
        return Category(name, synset, (*known.parts, NONE_PART), NONE_PART)
    return Category(name, synset, known.parts, known.rest)


def _find(tree: FileTree, is_category: Callable[[str], bool]) -> str | None:
    for root in ("", *(entry.name for entry in tree.entries("") if entry.is_folder)):
        entries = tree.entries(root)
        if any(entry.name == CATEGORY_LIST for entry in entries):
            folders = (e.name for e in entries if e.is_folder and e.name in _BY_SYNSET)
            if any(is_category(f"{root}/{f}" if root else f) for f in folders):
                return root
    return None


def _split_list(text: bytes, file: str) -> list[str]:
    """The "<synset>/<id>" of a list of "shape_data/<synset>/<id>"."""
    try:
        value = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadInput(
            "bad_split_list", f"is not JSON ({error}). Restore or remove it.", file
        ) from None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput("bad_split_list", "is no list of shapes' names. Restore or remove it.", file)
    return ["/".join(item.split("/")[-2:]) for item in value]
