"""The PartAnnotation layout: what the Keras example downloads, and what our demo data is made in.

    metadata.json                                        {"Airplane": {"directory": "02691156",
                                                          "lables": ["wing", "body", ...]}, ...}
    <directory>/points/<id>.pts                          x y z, one point a line
    <directory>/points_label/<part>/<id>.seg             0 or 1 a line: is the point of this part?
    <directory>/expert_verified/points_label/<id>.seg    an integer a line: 0 nobody knows, else the
                                                          part, counted from 1 in benchmark order

A shape lacks the file of a part that it does not have. A shape without any label file is
unlabelled. A point that two part files claim is left unannotated, and the shape gets a finding. The
metadata's key is spelt "lables" in the published archive; "labels" is read as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from preprocessing.file_tree import Entry, FileTree
from preprocessing.findings import BadInput, Finding
from preprocessing.json_text import parse_json
from preprocessing.layout import Listing, Shape
from preprocessing.number_table import parse_labels, parse_mask, parse_table
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.record import UNANNOTATED, CloudRecord

METADATA = "metadata.json"
# The made-up part of unannotated points, where the settings ask for one.
NONE_PART = "none"
_VERIFIED = "expert_verified"


class PartAnnotation:
    """Reader of one source; see layout.Reader."""

    layout = "part_annotation"

    def __init__(self, tree: FileTree, root: str, settings: DataSettings) -> None:
        """Reads the metadata.

        Args:
          tree: the source.
          root: the folder in it that holds metadata.json, "" for the source itself.
          settings: which labels are preferred, and what unannotated points are.

        Raises:
          BadInput: the metadata is not as it must be.
        """
        self._tree = tree
        self._root = f"{root}/" if root else ""
        self._prefer_verified = settings.labels == "verified"
        metadata = _read_metadata(tree, self._root + METADATA)
        self.categories: dict[str, Category] = {}
        # Index of each metadata part in the category's parts.
        self._part_index: dict[str, dict[str, int]] = {}
        for name, (directory, parts) in metadata.items():
            category = _category(name, directory, parts, settings.unannotated)
            self.categories[name] = category
            self._part_index[name] = {
                part: category.parts.index(part) for part in parts if part in category.parts
            }

    @staticmethod
    def find(tree: FileTree) -> str | None:
        """The folder that holds metadata.json: the source itself, or its one folder that does."""
        entries = tree.entries("")
        if any(entry.name == METADATA for entry in entries):
            return ""
        for entry in entries:
            if entry.is_folder and any(e.name == METADATA for e in tree.entries(entry.name)):
                return entry.name
        return None

    def list_shapes(self, categories: Iterable[str]) -> Listing:
        """See layout.Reader."""
        shapes: list[Shape] = []
        findings: list[Finding] = []
        stamp = hashlib.sha256()
        for name in categories:
            self._list_category(self.categories[name], shapes, findings, stamp)
        return Listing(shapes, findings, stamp.hexdigest())

    def _list_category(
        self, category: Category, shapes: list[Shape], findings: list[Finding], stamp: hashlib._Hash
    ) -> None:
        folder = f"{self._root}{category.directory}"
        points = self._files(f"{folder}/points", ".pts", stamp)
        if not points:
            findings.append(
                Finding(
                    "no_shapes",
                    "",
                    f"{folder}/points",
                    0,
                    f"metadata.json names {category.name}, but no .pts file is there. Restore the "
                    "folder, or remove the category from metadata.json.",
                    False,
                )
            )
            return
        labels: dict[str, dict[str, Entry]] = {}
        for entry in self._tree.entries(f"{folder}/points_label"):
            part, known = entry.name, self._part_index[category.name]
            if entry.is_folder and part in known:
                labels[part] = self._files(f"{folder}/points_label/{part}", ".seg", stamp)
            elif entry.is_folder:
                findings.append(
                    Finding(
                        "unknown_part",
                        "",
                        f"{folder}/points_label/{part}",
                        0,
                        f"{part!r} is no part of {category.name} in metadata.json "
                        f"({', '.join(known)}); its files are not read. Add it to metadata.json, "
                        "or remove the folder.",
                        False,
                    )
                )
        verified = self._files(f"{folder}/{_VERIFIED}/points_label", ".seg", stamp)
        sets: dict[tuple[str, ...], tuple[str, ...]] = {}
        for shape, file in points.items():
            size = file.size
            annotations: tuple[str, ...]
            if self._prefer_verified and shape in verified:
                annotations = (_VERIFIED,)
                size += verified[shape].size
            else:
                having = [part for part, files in labels.items() if shape in files]
                size += sum(labels[part][shape].size for part in having)
                annotations = tuple(having)
            # One tuple for all shapes with these parts: a source has many shapes.
            annotations = sets.setdefault(annotations, annotations)
            shapes.append(Shape(shape, category.name, size, annotations))
        orphans = sorted(set().union(*labels.values()) - points.keys())
        if orphans:
            findings.append(
                Finding(
                    "labels_without_points",
                    orphans[0] if len(orphans) == 1 else "",
                    f"{folder}/points_label",
                    0,
                    f"label files of {len(orphans)} shapes (the first: {orphans[0]}) that have no "
                    ".pts file; they are not read. Restore the points, or remove the label files.",
                    False,
                )
            )

    def _files(self, folder: str, ending: str, stamp: hashlib._Hash) -> dict[str, Entry]:
        """The folder's files by shape id; adds them to the stamp."""
        found = {}
        stamp.update(f"{folder}\n".encode())
        for entry in self._tree.entries(folder):
            if entry.name.endswith(ending):
                found[entry.name.removesuffix(ending)] = entry
                stamp.update(f"{entry.name} {entry.size} {entry.stamp}\n".encode())
        return found

    def read(self, shape: Shape, findings: list[Finding]) -> CloudRecord:
        """See layout.Reader."""
        category = self.categories[shape.category]
        folder = f"{self._root}{category.directory}"
        file = f"{folder}/points/{shape.name}.pts"
        points = parse_table(self._tree.read(file), 3, file)
        record = CloudRecord(shape.name, category.name, points)
        if not shape.annotations:
            return record
        if shape.annotations == (_VERIFIED,):
            labels = self._verified_labels(shape, category, folder, len(points))
        else:
            labels = self._raw_labels(shape, category, folder, len(points), findings)
        return replace(record, labels=labels)

    def _verified_labels(
        self, shape: Shape, category: Category, folder: str, points: int
    ) -> np.ndarray:
        file = f"{folder}/{_VERIFIED}/points_label/{shape.name}.seg"
        numbers = parse_labels(self._tree.read(file), file)
        _check_length(numbers, points, file)
        named = _benchmark_parts(category)
        wrong = np.flatnonzero((numbers < 0) | (numbers > len(named)))
        if wrong.size:
            raise BadInput(
                "unknown_label",
                f"found label {numbers[wrong[0]]}, expected 0 to {len(named)} ({category.name} has "
                f"{', '.join(named)}). Correct the line or remove the shape.",
                file,
                int(wrong[0]) + 1,
            )
        # The benchmark's number -> our index.
        index = [_rest_label(category)]
        index += [category.parts.index(p) if p in category.parts else UNANNOTATED for p in named]
        return np.array(index, np.int64)[numbers]

    def _raw_labels(
        self,
        shape: Shape,
        category: Category,
        folder: str,
        points: int,
        findings: list[Finding],
    ) -> np.ndarray:
        numbers = np.zeros(points, np.int32)
        claims = np.zeros(points, np.int32)
        for part in shape.annotations:
            file = f"{folder}/points_label/{part}/{shape.name}.seg"
            mask = parse_mask(self._tree.read(file), file)
            _check_length(mask, points, file)
            numbers += mask * np.int32(self._part_index[category.name][part] + 1)
            claims += mask
        # Where one part claims a point, the sum is that part's.
        labels = np.where(claims == 0, _rest_label(category), numbers - 1).astype(np.int64)
        contested = claims > 1
        if contested.any():
            labels[contested] = UNANNOTATED
            first = int(contested.argmax())
            findings.append(
                Finding(
                    "overlapping_parts",
                    shape.name,
                    f"{folder}/points_label",
                    first + 1,
                    f"{int(contested.sum())} of {points} points are claimed by more than one part "
                    f"of {', '.join(shape.annotations)}; they are left unannotated. Correct the "
                    ".seg files so that each point is 1 in one of them.",
                    False,
                )
            )
        return labels


def _check_length(labels: np.ndarray, points: int, file: str) -> None:
    if len(labels) != points:
        raise BadInput(
            "count_mismatch",
            f"found {len(labels)} labels, expected {points}, one for each line of the points file. "
            "Restore the file or remove the shape.",
            file,
            min(len(labels), points) + 1,
        )


def _rest_label(category: Category) -> int:
    """The label of a point of no named part."""
    return UNANNOTATED if category.rest is None else category.parts.index(category.rest)


def _benchmark_parts(category: Category) -> tuple[str, ...]:
    """The parts in the order that verified labels count them."""
    for known in SHAPENET_CATEGORIES:
        if known.directory == category.directory and set(category.parts) - {NONE_PART} <= set(
            known.parts
        ):
            return known.parts
    return tuple(part for part in category.parts if part != NONE_PART or part != category.rest)


def _category(name: str, directory: str, parts: tuple[str, ...], unannotated: str) -> Category:
    """The category of a metadata entry, in the parts table's order where the table has it."""
    rest = None
    for known in SHAPENET_CATEGORIES:
        if known.directory != directory:
            continue
        if set(parts) == set(known.parts) - {known.rest}:
            rest = known.rest
            parts = tuple(p for p in known.parts if p != rest or unannotated != "ignore")
        elif set(parts) == set(known.parts):
            parts = known.parts
    if unannotated == "ignore":
        rest = None
    elif unannotated == "part" and rest is None:
        rest = NONE_PART
        parts = parts if rest in parts else (*parts, rest)
    return Category(name, directory, parts, rest)


def _read_metadata(tree: FileTree, file: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Category name -> its directory and its parts, in the file's order."""
    value = parse_json(tree.read(file), file, "bad_metadata")
    if not isinstance(value, dict) or not value:
        raise BadInput(
            "bad_metadata",
            "names no category, expected {category: {directory, lables}}. Restore the file.",
            file,
        )
    return {name: _metadata_entry(name, entry, file) for name, entry in value.items()}


def _metadata_entry(name: str, entry: object, file: str) -> tuple[str, tuple[str, ...]]:
    if not isinstance(entry, dict):
        raise BadInput(
            "bad_metadata",
            f"category {name!r:.60} holds {entry!r:.40}, expected directory and lables. Correct "
            "the file.",
            file,
        )
    parts = entry.get("lables", entry.get("labels"))
    directory = entry.get("directory")
    if not (
        isinstance(parts, list)
        and parts
        and all(isinstance(part, str) and is_plain(part) for part in parts)
        and len(set(parts)) == len(parts)
    ):
        raise BadInput(
            "bad_metadata",
            f"category {name!r:.60} has {parts!r:.60} for lables, expected a list of its parts' "
            "names (the key lables, or labels). Add it.",
            file,
        )
    if not (isinstance(directory, str) and is_plain(directory)):
        raise BadInput(
            "bad_metadata",
            f"category {name!r:.60} has {directory!r:.60} for directory, expected the name of the "
            "folder that holds it. Correct it.",
            file,
        )
    return directory, tuple(parts)


def is_plain(name: str) -> bool:
    """Whether it names something in a folder, and nothing outside of it."""
    return bool(name) and "/" not in name and "\0" not in name and not name.startswith(".")
