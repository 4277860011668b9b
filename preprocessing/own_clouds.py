"""The user's own clouds: a folder for each category, a file for each cloud, and one small YAML.

    clouds.yaml                    categories:
                                     Chair: [back, seat, leg, arm]    labels 0, 1, 2, 3
    Chair/<id>.ply                 or .npy .npz .csv .pts .txt .xyz; see preprocessing.cloud_files
    Chair/<id>.labels              or .seg: an integer a line, where the file itself has no labels
    train/Chair/<id>.ply  ...      with train/ val/ test/ before it: the split is yours

With one category, its folder may be left out. docs/own_clouds.md explains it to users.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from preprocessing.cloud_columns import Columns, FileCloud
from preprocessing.cloud_files import ENDINGS, columns_of, ending_of, parse_cloud_file, start_size
from preprocessing.clouds_yaml import CLOUDS, parse_clouds
from preprocessing.file_tree import Entry, FileTree
from preprocessing.findings import BadInput, Finding, counted
from preprocessing.layout import Listing, Shape
from preprocessing.number_table import parse_labels
from preprocessing.part_annotation import NONE_PART
from preprocessing.settings import DataSettings
from schema.categories import Category
from schema.record import SPLITS, UNANNOTATED, CloudRecord

LABEL_ENDINGS = (".labels", ".seg")
# The annotation of a cloud whose labels stand in its own file; else it is the other file's place.
_INSIDE = "inside"
# What others call a file of labels beside a cloud; we do not guess how they count.
_NEARLY_LABELS = (".label", ".lbl", ".label.txt", ".labels.txt", ".seg.txt")
# How else the folders of splits are called.
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "training_set", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing", "tests", "test_set"), "test"),
}
# Columns that are certainly no label.
_NO_LABELS = (
    *("nx", "ny", "nz", "normal_x", "normal_y", "normal_z", "normals", "curvature"),
    *("r", "g", "b", "red", "green", "blue", "alpha", "rgb", "rgba", "colors", "intensity"),
)
# Files that are there for people, though .txt could be a cloud's ending.
_FOR_PEOPLE = ("readme", "licence", "license")
_ENDINGS_FOR_PEOPLE = ("", ".md", ".txt", ".rst", ".html", ".pdf")


class OwnClouds:
    """Reader of one source; see layout.Reader."""

    layout = "own_clouds"

    def __init__(self, tree: FileTree, root: str, settings: DataSettings) -> None:
        """Reads clouds.yaml.

        Args:
          tree: the source.
          root: the folder in it that holds clouds.yaml, "" for the source itself.
          settings: what unannotated points are.

        Raises:
          BadInput: clouds.yaml is not as it must be.
        """
        self._tree = tree
        self._root = f"{root}/" if root else ""
        self._text = tree.read(self._root + CLOUDS)
        self._clouds = parse_clouds(self._text, self._root + CLOUDS)
        self.categories: dict[str, Category] = {
            name: _category(name, tuple(parts), settings.unannotated)
            for name, parts in self._clouds.categories.items()
        }

    @staticmethod
    def find(tree: FileTree) -> str | None:
        """The folder that holds clouds.yaml: the source itself, or its one folder that does."""
        for root in ("", *(entry.name for entry in tree.entries("") if entry.is_folder)):
            if any(entry.name == CLOUDS for entry in tree.entries(root)):
                return root
        return None

    def list_shapes(self, categories: Iterable[str]) -> Listing:
        """See layout.Reader; of each file, only its beginning is read.

        Raises:
          BadInput: there is no cloud, two files are the same cloud, or it is not clear which
            category or split a cloud belongs to.
        """
        wanted = list(categories)
        stamp = hashlib.sha256(self._text)
        listed = _Listed()
        at_root = self._tree.entries(self._root)
        splits = [e.name for e in at_root if e.is_folder and e.name in SPLITS]
        self._list_folder("", "", at_root, splits, listed)
        for split in splits:
            entries = self._tree.entries(self._root + split)
            self._list_folder(f"{split}/", split, entries, [], listed)
        if splits:
            for place in listed.other_folders:
                near = _near_split(place)
                if near:
                    raise BadInput(
                        "nearly_a_split",
                        f"stands beside the folders {', '.join(splits)}; is it meant to be "
                        f"{near}? Rename it, or move it out of {self._tree.source}.",
                        self._root + place,
                    )
            for place, (_, split) in listed.files.items():
                if not split:
                    raise BadInput(
                        "mixed_splits",
                        f"stands beside the folders {', '.join(splits)}, so its split is not "
                        "known. Move it into one of them, or all clouds out of them.",
                        self._root + place,
                    )
        listed.set_labels_aside()
        shapes = self._shapes(wanted, listed, stamp)
        findings = self._findings(wanted, shapes, listed)
        return Listing(shapes, findings, stamp.hexdigest())

    def _list_folder(
        self, folder: str, split: str, entries: list[Entry], splits: list[str], listed: _Listed
    ) -> None:
        """Sorts what stands in the source or in a split's folder."""
        only = next(iter(self.categories)) if len(self.categories) == 1 else None
        for entry in entries:
            place = folder + entry.name
            self._check_name(place)
            if entry.is_folder and entry.name in self.categories:
                for inner in self._tree.entries(self._root + place):
                    self._add(f"{place}/{inner.name}", inner, entry.name, split, listed)
            elif entry.is_folder:
                if entry.name not in splits:
                    listed.other_folders.append(place)
            elif place != CLOUDS:
                self._add(place, entry, only, split, listed)

    def _add(
        self, place: str, entry: Entry, category: str | None, split: str, listed: _Listed
    ) -> None:
        file = self._root + place
        self._check_name(place)
        if entry.is_folder:
            raise BadInput(
                "too_deep",
                "is a folder in a category's folder, expected files. Move its files to "
                f"{PurePosixPath(file).parent}/.",
                file,
            )
        ending = ending_of(entry.name)
        if ending in _ENDINGS_FOR_PEOPLE and _stem(entry.name).lower() in _FOR_PEOPLE:
            return
        if ending not in (*ENDINGS, *LABEL_ENDINGS):
            listed.unread.append(place)
        elif category is None:
            listed.homeless.append(place)
        elif ending in LABEL_ENDINGS:
            listed.labels.setdefault(_stem(place), []).append((place, entry))
        else:
            listed.files[place] = (category, split)
            listed.entries[place] = entry

    def _check_name(self, place: str) -> None:
        try:
            place.encode()
        except UnicodeEncodeError:
            raise BadInput(
                "bad_name",
                "has a name that is no text in UTF-8. Rename it.",
                repr(self._root + place),
            ) from None

    def _shapes(self, wanted: list[str], listed: _Listed, stamp: hashlib._Hash) -> list[Shape]:
        places: dict[tuple[str, str], str] = {}
        shapes = []
        for place, (category, split) in listed.files.items():
            if category not in wanted:
                continue
            name = PurePosixPath(place).stem
            other = places.setdefault((category, name), place)
            if other != place:
                raise BadInput(
                    "duplicate_id",
                    f"{self._root}{other} and this file are both the cloud {name} of {category}. "
                    "Rename or remove one of them: an id stands once in a category, over all "
                    "splits.",
                    self._root + place,
                )
            beside = listed.labels.get(_stem(place), [])
            if len(beside) > 1:
                raise BadInput(
                    "two_labels",
                    f"has two files of labels, {' and '.join(p for p, _ in beside)}. Remove one "
                    "of them.",
                    self._root + place,
                )
            entry = listed.entries[place]
            stamp.update(f"{place} {entry.size} {entry.stamp}\n".encode())
            size = entry.size
            annotations: tuple[str, ...] = ()
            if beside:
                label_place, label_entry = beside[0]
                stamp.update(f"{label_place} {label_entry.size} {label_entry.stamp}\n".encode())
                size += label_entry.size
                annotations = (label_place,)
            elif self._has_labels(place, listed):
                annotations = (_INSIDE,)
            shapes.append(Shape(name, category, size, annotations, split, place))
        return sorted(shapes, key=lambda s: (wanted.index(s.category), s.place))

    def _has_labels(self, place: str, listed: _Listed) -> bool:
        file = self._root + place
        try:
            start = self._tree.read(file, start_size(file))
            columns = columns_of(file, start, self._clouds.label)
        except BadInput:
            # Reading it will say so again, and then leave out this cloud alone.
            return True
        if columns.has_labels:
            return True
        if columns.others and self._clouds.label is not None:
            # It should have the label that clouds.yaml names: reading it leaves it out.
            return True
        kind = ending_of(place) if columns.others else ""
        listed.without_labels.setdefault(kind, []).append((place, columns))
        return False

    def _findings(self, wanted: list[str], shapes: list[Shape], listed: _Listed) -> list[Finding]:
        findings = []

        def note(code: str, places: list[str], what: str, noun: str = "file") -> None:
            if places:
                first = self._root + places[0]
                count = f"{counted(len(places), noun)} {what} (the first: {places[0]})."
                findings.append(Finding(code, "", first, 0, count, False))

        for kind, without in sorted(listed.without_labels.items()):
            if kind:
                findings.append(self._without_labels(without))
            else:
                places = [place for place, _ in without]
                note("no_labels", places, "without labels: kept as unlabelled", "cloud")

        note(
            "unknown_ending",
            listed.unread,
            f"with none of the endings {', '.join((*ENDINGS, *LABEL_ENDINGS))}: not read"
            + _near_labels(listed.unread),
        )
        note(
            "no_category_folder",
            listed.homeless,
            "outside of a category's folder: not read; move what is a cloud into the folder of "
            f"one of {', '.join(self.categories)}",
        )
        note(
            "unknown_folder",
            listed.other_folders,
            f"of no category in {CLOUDS}: not read" + self._near(listed),
            "folder",
        )
        clouds = {_stem(place) for place in listed.files}
        orphans = [
            place
            for stem, files in listed.labels.items()
            for place, _ in files
            if stem not in clouds
        ]
        note("labels_without_points", orphans, "of labels without a cloud beside it: not read")
        for name in wanted:
            if not any(shape.category == name for shape in shapes):
                findings.append(
                    Finding(
                        "no_shapes",
                        "",
                        self._root + CLOUDS,
                        0,
                        f"names {name}, but there is no cloud in a folder {name}. Add clouds, or "
                        "remove the category.",
                        False,
                    )
                )
        if not shapes:
            raise BadInput(
                "no_shapes",
                f"found no cloud of {', '.join(wanted)}, expected files such as {wanted[0]}/1.ply. "
                + " ".join(str(finding) for finding in findings),
            )
        return findings

    def _without_labels(self, clouds: list[tuple[str, Columns]]) -> Finding:
        """A finding for clouds, of one kind of file, with columns that could be the label."""
        place, columns = clouds[0]
        more = f", as {len(clouds) - 1} more such" if len(clouds) > 1 else ""
        likely = [name for name in columns.others if name.lower() not in _NO_LABELS]
        if likely:
            hint = (
                f"If {likely[0]} is the label, write `label: {likely[0]}` into "
                f"{self._root}{CLOUDS}."
            )
        else:
            hint = f"If one of these is the label, write `label: <name>` into {self._root}{CLOUDS}."
        return Finding(
            "no_labels",
            "",
            self._root + place,
            0,
            f"has no labels ({columns}){more}; kept as unlabelled. {hint}",
            False,
        )

    def _near(self, listed: _Listed) -> str:
        """A hint where a folder's name is nearly a category's."""
        by_lower = {name.lower(): name for name in self.categories}
        for place in listed.other_folders:
            name = PurePosixPath(place).name
            split = _near_split(place)
            if split:
                return f"; is {name} meant to be {split}? Rename it"
            near = difflib.get_close_matches(name.lower(), by_lower, 1)
            if near:
                return f"; is {name} meant to be {by_lower[near[0]]}? Rename it"
        return f"; add them to {CLOUDS} if they are"

    def read(self, shape: Shape, findings: list[Finding]) -> CloudRecord:
        """See layout.Reader."""
        file = self._root + shape.place
        cloud = parse_cloud_file(file, self._tree.read(file), self._clouds.label)
        record = CloudRecord(shape.name, shape.category, cloud.points)
        if not shape.annotations:
            return record
        if shape.annotations == (_INSIDE,) and cloud.labels is None:
            raise self._no_labels(file)
        if shape.annotations != (_INSIDE,):
            beside = self._root + shape.annotations[0]
            cloud = self._labels_beside(cloud, file, beside)
            file = beside
        return replace(record, labels=self._to_labels(cloud, self.categories[shape.category], file))

    def _no_labels(self, file: str) -> BadInput:
        columns = columns_of(file, self._tree.read(file), self._clouds.label)
        return BadInput(
            "no_labels",
            f"has no labels named {self._clouds.label}, as `label` in {self._root}{CLOUDS} says "
            f"({columns}). Correct `label`, or put the labels beside the cloud: "
            f"{PurePosixPath(file).stem}{LABEL_ENDINGS[0]}.",
            file,
        )

    def _labels_beside(self, cloud: FileCloud, file: str, beside: str) -> FileCloud:
        if cloud.labels is not None:
            raise BadInput(
                "two_labels",
                f"holds labels, and so does {beside}. Remove the labels from one of them.",
                file,
            )
        numbers = parse_labels(self._tree.read(beside), beside)
        if len(numbers) != len(cloud.points):
            raise BadInput(
                "count_mismatch",
                f"found {len(numbers)} labels, expected {len(cloud.points)}, one for each point of "
                f"{file}. Restore the file or remove the cloud.",
                beside,
                min(len(numbers), len(cloud.points)) + 1,
            )
        return FileCloud(cloud.points, numbers, 1)

    def _to_labels(self, cloud: FileCloud, category: Category, file: str) -> np.ndarray:
        """int64 [n]: our labels from the file's numbers or words."""
        parts = self._clouds.categories[category.name]
        nobody = UNANNOTATED if category.rest is None else category.parts.index(category.rest)
        found: list[int] | list[str]
        if isinstance(cloud.labels, np.ndarray):
            found = cloud.labels.tolist()
            names: list = list(
                range(self._clouds.first_label, self._clouds.first_label + len(parts))
            )
            unlabelled: list = self._clouds.unlabelled
        else:
            # `read` has made sure that there are labels.
            found = cloud.labels or []
            names = parts
            unlabelled = [str(value) for value in self._clouds.unlabelled]
        meaning = dict.fromkeys(unlabelled, nobody)
        meaning |= {
            name: category.parts.index(part) for name, part in zip(names, parts, strict=True)
        }
        labels = [meaning.get(value) for value in found]
        if None in labels:
            wrong = labels.index(None)
            pairs = (
                part if name == part else f"{name} ({part})"
                for name, part in zip(names, parts, strict=True)
            )
            raise cloud.bad_point(
                "unknown_label",
                f"found label {str(found[wrong])[:40]!r}, expected {', '.join(pairs)} or what "
                f"`unlabelled` names ({', '.join(map(str, unlabelled))}). Correct the label, or "
                f"{CLOUDS}{self._from_one(found, unlabelled, len(parts))}.",
                file,
                wrong,
            )
        return np.array(labels, np.int64)

    def _from_one(self, found: list, unlabelled: list, parts: int) -> str:
        """A hint where labels are as if the parts were counted from 1."""
        named = [label for label in found if label not in unlabelled]
        if self._clouds.first_label == 0 and min(named) == 1 and max(named) == parts:
            return ": where it counts the parts from 1, write `first_label: 1` there"
        return ""


class _Listed:
    """What stands in the source, by its place."""

    def __init__(self) -> None:
        # Category and split of each cloud's file.
        self.files: dict[str, tuple[str, str]] = {}
        self.entries: dict[str, Entry] = {}
        # Files of labels by their place without the ending.
        self.labels: dict[str, list[tuple[str, Entry]]] = {}
        self.unread: list[str] = []
        self.homeless: list[str] = []
        self.other_folders: list[str] = []
        # Clouds that nobody labelled, by their ending where they have columns of other names.
        self.without_labels: dict[str, list[tuple[str, Columns]]] = {}

    def set_labels_aside(self) -> None:
        """Takes a.label.txt for no cloud where there is a cloud a."""
        stems = {_stem(place) for place in self.files}
        for place in list(self.files):
            lower = place.lower()
            for ending in _NEARLY_LABELS:
                if lower.endswith(ending) and place[: -len(ending)] in stems:
                    del self.files[place], self.entries[place]
                    self.unread.append(place)
                    break


def _category(name: str, parts: tuple[str, ...], unannotated: str) -> Category:
    if unannotated != "part":
        return Category(name, name, parts)
    parts = parts if NONE_PART in parts else (*parts, NONE_PART)
    return Category(name, name, parts, NONE_PART)


def _near_split(folder: str) -> str:
    """The split that a folder beside the others is probably meant to be, else ""."""
    return _SPLIT_WORDS.get(folder.lower(), "")


def _near_labels(places: list[str]) -> str:
    if any(place.lower().endswith(_NEARLY_LABELS) for place in places):
        return f"; labels beside a cloud end in {' or '.join(LABEL_ENDINGS)}, rename them"
    return ""


def _stem(place: str) -> str:
    """The place without the file's ending."""
    return str(PurePosixPath(place).with_suffix(""))
