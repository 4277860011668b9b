"""Your own clouds: a folder for each category, a file for each cloud, and clouds.yaml.

    clouds.yaml                    the categories and their parts, see `Clouds`
    Chair/<id>.ply                 or another of clouds.files.CLOUD_ENDINGS
    Chair/<id>.labels              or .seg: a number a line, for a file without labels
    train/Chair/<id>.ply  ...      with train/, val/ and test/ in front: your own split

With a single category its folder may be left out. Described for users in docs/own_clouds.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from preprocessing.clouds.columns import Columns, FileCloud
from preprocessing.clouds.files import CLOUD_ENDINGS, columns_of, ending_of, read_cloud, start_size
from preprocessing.datasets.base import Reader, Shape, nfc
from preprocessing.datasets.clouds_yaml import CLOUDS, parse_clouds
from preprocessing.datasets.files import Entry
from schema.categories import Category
from schema.errors import Finding, UserError, counted
from schema.record import SPLITS, Cloud

_LABEL_ENDINGS = (".labels", ".seg")
_ENDINGS = (*CLOUD_ENDINGS, *_LABEL_ENDINGS)
_DOCUMENTS = ("readme", "licence", "license")
# The annotation of a cloud whose own file has the labels; else it is the place of the other file.
_INSIDE = "inside"


class _File(NamedTuple):
    """A file, or a folder where a file is expected; its category is "" outside their folders."""

    place: PurePosixPath
    entry: Entry
    category: str
    split: str


class OwnClouds(Reader):
    """Reader of the layout."""

    layout = "own_clouds"
    looks_for = CLOUDS

    def _add_categories(self) -> None:
        self._clouds = parse_clouds(self._files.read(CLOUDS))
        self._splits = [name for name in SPLITS if name in self._folders]
        for name, parts in self._clouds.categories.items():
            try:
                self._add_category(Category(name, name, tuple(parts)), parts)
            except UserError as error:
                raise error.at(CLOUDS) from None

    def _list(self, names: Sequence[str]) -> list[Shape]:
        files: dict[str, list[_File]] = defaultdict(list)
        for file in self._walk(names):
            files[self._kind(file)].append(file)
        labels: dict[PurePosixPath, list[_File]] = defaultdict(list)
        for file in files["labels"]:
            labels[file.place.with_suffix("")].append(file)
        shapes: dict[tuple[str, str], Shape] = {}
        unlabelled: dict[str, Columns] = {}
        for cloud in files["cloud"]:
            name, place = cloud.place.stem, str(cloud.place)
            if other := shapes.get((cloud.category, name)):
                message = f"is the cloud {name} of {cloud.category}, as is {other.place}."
                raise UserError("duplicate_id", f"{message} Rename one of them.", place)
            beside = labels.pop(cloud.place.with_suffix(""), [])
            annotations = tuple(str(file.place) for file in beside)
            if len(beside) > 1:
                message = f"has labels in {' and '.join(annotations)}. Remove one of them."
                raise UserError("two_labels", message, place)
            if not beside and (columns := self._columns_without_label(place)):
                unlabelled[place] = columns
            elif not beside:
                annotations = (_INSIDE,)
            size = sum(file.entry.size for file in (cloud, *beside))
            shape = Shape(name, cloud.category, size, annotations, cloud.split, place)
            shapes[cloud.category, name] = shape
        if unlabelled:
            place = max(unlabelled, key=lambda place: len(unlabelled[place].others))
            message = f"{counted(len(unlabelled), 'cloud')} without labels, kept as unlabelled."
            if unlabelled[place].others:
                message += (
                    f" Here: {unlabelled[place]}. For labels, name one as `label` in {CLOUDS}."
                )
            self._note("no_labels", message, place)
        files["labels_without_points"] = [file for beside in labels.values() for file in beside]
        folders = f"the folders {', '.join(self.categories)}"
        for code, expected in {
            "unknown_ending": f"one of the endings {', '.join(_ENDINGS)}",
            "no_category_folder": folders,
            "unknown_folder": folders,
            "labels_without_points": "a cloud of the same name beside it",
        }.items():
            if unread := files[code]:
                count = counted(len(unread), "folder" if code == "unknown_folder" else "file")
                message = f"{count} not read (here the first), expected {expected}."
                self._note(code, message, str(unread[0].place))
        return list(shapes.values())

    def _walk(self, names: Sequence[str]) -> Iterator[_File]:
        only = next(iter(self.categories)) if len(self.categories) == 1 else ""
        for split in ("", *self._splits):
            for entry in self._entries(split):
                place = PurePosixPath(split, entry.name)
                category = nfc(entry.name)
                if not entry.is_folder:
                    yield _File(place, entry, only, split)
                elif category in names:
                    for inner in self._entries(str(place)):
                        yield _File(place / inner.name, inner, category, split)
                elif category not in self.categories and str(place) not in self._splits:
                    yield _File(place, entry, "", split)

    def _kind(self, file: _File) -> str:
        """Whether it is a "cloud", "labels", a "document", or the code of why it is not read."""
        ending = ending_of(file.place.name)
        if file.entry.is_folder and file.category:
            message = "is a folder in a category's folder, expected one file for each cloud."
            raise UserError("too_deep", message, str(file.place))
        if file.entry.is_folder:
            return "unknown_folder"
        is_document = file.place.stem.lower() in _DOCUMENTS and ending in ("", ".md", ".txt")
        if is_document or str(file.place) == CLOUDS:
            return "document"
        if ending not in _ENDINGS:
            return "unknown_ending"
        if not file.category:
            return "no_category_folder"
        if ending in _LABEL_ENDINGS:
            return "labels"
        if self._splits and not file.split:
            message = f"is outside the folders {', '.join(self._splits)}, so its split is unknown."
            raise UserError("mixed_splits", message, str(file.place))
        return "cloud"

    def _columns_without_label(self, file: str) -> Columns | None:
        """What a cloud without labels has; None if it has labels, or reading it reports why not."""
        label = self._clouds.label
        try:
            columns = columns_of(file, self._files.read(file, start_size(file)), label)
        except UserError:
            return None
        return None if columns.has_labels or (columns.others and label) else columns

    def read(self, shape: Shape, findings: list[Finding]) -> Cloud:
        file = shape.place
        content = self._files.read(file)
        cloud = read_cloud(file, content, self._clouds.label)
        if not shape.annotations:
            return Cloud(shape.name, shape.category, cloud.points)
        if shape.annotations != (_INSIDE,):
            if cloud.labels is not None:
                message = f"has labels, and so has {shape.annotations[0]}. Remove one of them."
                raise UserError("two_labels", message, file)
            (file,) = shape.annotations
            cloud = FileCloud(cloud.points, self._read_labels(file, len(cloud.points)), 1)
        elif cloud.labels is None:
            columns = columns_of(file, content, self._clouds.label)
            message = f"has no labels; found {columns}, expected one named {self._clouds.label}."
            raise UserError("no_labels", message, file)
        labels = self._clouds.labels(cloud, self.categories[shape.category], file)
        return Cloud(shape.name, shape.category, cloud.points, labels)
