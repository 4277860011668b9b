"""The text layouts of ShapeNet's part benchmark, with its categories or one's own.

    synsetoffset2category.txt        a category a line: name, folder and, for one's own, its parts:
                                       Airplane  02691156
                                       Nut       99999999  shell thread
    benchmark_v0
      <folder>/points/<id>.pts       x y z, one point a line
      <folder>/points_label/<id>.seg a number a line: 0 unknown, 1 the category's first part
    benchmark_normal
      <folder>/<id>.txt              x y z nx ny nz number, one point a line
    train_test_split/shuffled_{train,val,test}_file_list.json    official split, optional: lists of
                                                                 "shape_data/<folder>/<id>"

ShapeNet's 16 categories are read without a line, too. In benchmark_normal, their numbers count all
their 50 parts from 0, and those of any other category count its own parts from 0. An id in two
official lists is kept in the split that is further from training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from preprocessing.clouds.columns import checked_labels
from preprocessing.clouds.text import read_numbers
from preprocessing.datasets.base import NO_PART, Reader, Shape, chosen_categories, nfc
from preprocessing.datasets.files import Files
from schema.categories import SHAPENET_CATEGORIES, Category, class_ranges
from schema.documents import parse_json, validate
from schema.errors import Finding, UserError
from schema.record import SPLITS, Cloud

CATEGORY_LIST = "synsetoffset2category.txt"
SPLIT_FOLDER = "train_test_split"
# The number of each category's first part where all 50 are counted.
_STARTS = [start for start, _ in class_ranges(SHAPENET_CATEGORIES)]
FIRST_PART = {known.name: n for known, n in zip(SHAPENET_CATEGORIES, _STARTS, strict=True)}


class _Benchmark(Reader):
    """What both layouts share."""

    # A category's folder has an entry whose name ends so.
    _sign: ClassVar[str]

    @classmethod
    def fits(cls, names: set[str], files: Files) -> bool:
        if CATEGORY_LIST not in names:
            return False
        listed = _read_list(files)
        return any(cls._is_category(files, name) for name in names if nfc(name) in listed)

    @classmethod
    def _is_category(cls, files: Files, folder: str) -> bool:
        return any(entry.name.endswith(cls._sign) for entry in files.entries(folder))

    def _add_categories(self) -> None:
        self._listed = _read_list(self._files)
        unnamed = {}
        for folder, category in self._listed.items():
            official = category in SHAPENET_CATEGORIES
            # The published list has all of ShapeNet's categories, a copy often only some folders.
            if folder not in self._folders and (official or isinstance(category, Finding)):
                continue
            if isinstance(category, Finding):
                unnamed[category.category] = category
            elif self.layout == "benchmark_v0":
                self._add_category(category, (NO_PART, *category.parts))
            else:
                first = FIRST_PART[category.name] if official else 0
                self._add_category(category, category.parts, first)
        chosen = chosen_categories([*self.categories, *unnamed], self._settings.category)
        self._unnamed = [unnamed[name] for name in chosen if name in unnamed]
        if len(self._unnamed) == len(chosen):
            finding = self._unnamed[0]
            raise UserError(finding.code, finding.message, finding.file, finding.line)

    def _list(self, names: Sequence[str]) -> list[Shape]:
        self._findings += self._unnamed
        for name, folder in self._folders.items():
            if name not in self._listed and self._is_category(self._files, folder):
                self._note("unknown_folder", f"has no line in {CATEGORY_LIST}, not read.", folder)
        splits, repeated = self._official_splits()
        shapes = []
        for shape in super()._list(names):
            listed = f"{self.categories[shape.category].directory}/{shape.name}"
            shapes.append(replace(shape, split=splits.get(listed, "")))
            if listed in repeated:
                message = f"{listed} is in more than one list, kept in {splits[listed]}."
                self._note("in_two_splits", message, SPLIT_FOLDER, shape.category)
        return shapes

    def _official_splits(self) -> tuple[dict[str, str], set[str]]:
        """The split of each "<folder>/<id>" in the official lists; and those in more than one."""
        splits: dict[str, str] = {}
        repeated = set()
        present = {entry.name for entry in self._entries(SPLIT_FOLDER)}
        for split in SPLITS:
            name = f"shuffled_{split}_file_list.json"
            if name in present:
                code, file = "bad_split_list", f"{SPLIT_FOLDER}/{name}"
                value = parse_json(self._files.read(file), code, file)
                places = validate(list[str], value, code, file)
                listed = {"/".join(place.split("/")[-2:]): split for place in places}
                repeated |= listed.keys() & splits.keys()
                splits |= listed
        return splits, repeated


class BenchmarkV0(_Benchmark):
    """Reader of the layout with .pts and .seg files."""

    layout = "benchmark_v0"
    looks_for = f"{CATEGORY_LIST} and a folder that it lists with points/"
    _sign = "points"

    def _shapes(self, category: str) -> Iterator[Shape]:
        labels = self._by_id(f"{self._folder(category)}/points_label", ".seg")
        for name, file in self._by_id(f"{self._folder(category)}/points", ".pts").items():
            if name in labels and not labels[name].is_folder:
                yield Shape(name, category, file.size + labels[name].size, ("points_label",))
            else:
                yield Shape(name, category, file.size)

    def read(self, shape: Shape, findings: list[Finding]) -> Cloud:
        points = self._read_points(shape)
        labels = self._read_numbered(shape, len(points)) if shape.annotations else None
        return Cloud(shape.name, shape.category, points, labels)


class BenchmarkNormal(_Benchmark):
    """Reader of the layout with normals, which are not kept."""

    layout = "benchmark_normal"
    looks_for = f"{CATEGORY_LIST} and a folder that it lists with .txt files"
    _sign = ".txt"

    def _shapes(self, category: str) -> Iterator[Shape]:
        for name, file in self._by_id(self._folder(category), ".txt").items():
            yield Shape(name, category, file.size, ("labels",))

    def read(self, shape: Shape, findings: list[Finding]) -> Cloud:
        file = f"{self._folder(shape.category)}/{shape.name}.txt"
        table = read_numbers(self._files.read(file), 7, file)
        labels = self._labels(checked_labels(table[:, 6], file, 1), shape.category, file)
        return Cloud(shape.name, shape.category, table[:, :3].copy(), labels)


def _read_list(files: Files) -> dict[str, Category | Finding]:
    """By folder the categories of the list, or why they cannot be read, and the rest of ShapeNet's.

    Raises UserError `bad_category` or `bad_category_list`.
    """
    listed: dict[str, Category | Finding] = {}
    taken: set[str] = set()
    for number, content in enumerate(files.read(CATEGORY_LIST).splitlines(), 1):
        words = nfc(content.decode("utf-8-sig", "replace")).split()
        if len(words) == 1 or taken & set(words[:2]) or "\ufffd" in "".join(words):
            expected = "a new name, a new folder and parts in UTF-8"
            message = f"found {' '.join(words)!r:.60}, expected {expected}."
            raise UserError("bad_category_list", message, CATEGORY_LIST, number)
        if words:
            taken |= set(words[:2])
            listed[words[1]] = _category(number, *words)
    rest = (known for known in SHAPENET_CATEGORIES if not taken & {known.name, known.directory})
    return listed | {known.directory: known for known in rest}


def _category(line: int, name: str, folder: str, *parts: str) -> Category | Finding:
    for known in SHAPENET_CATEGORIES:
        if (known.name, known.directory) == (name, folder) and parts in ((), known.parts):
            return known
    if not parts:
        message = f"{name} is not in ShapeNet. Add its parts: {name} {folder} shell thread"
        return Finding("unnamed_parts", message, CATEGORY_LIST, line, name)
    try:
        return Category(name, folder, parts)
    except UserError as error:
        raise error.at(CATEGORY_LIST, line) from None
