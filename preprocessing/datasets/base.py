"""What all layouts share: shapes and their listing, the reader's base class, names."""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeVar

import numpy as np
from annotated_types import MinLen
from pydantic import AfterValidator, StringConstraints

from preprocessing.clouds.text import read_labels, read_numbers
from preprocessing.datasets.files import Entry, Files
from preprocessing.settings import DataSettings
from schema.categories import Category
from schema.errors import Finding, UserError
from schema.record import Cloud

# The part of points without a part, in `Reader._add_category`.
NO_PART = ""
_DEFAULT_CATEGORY = "Airplane"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a data set, not read yet.

    Attributes:
      name: unique within its category.
      size: bytes of its files.
      annotations: its label files, in the layout's own terms; none: the shape is unlabelled.
      split: "train", "val" or "test" where an official list gives one, else "".
      place: where it is, if name and category do not determine that.
    """

    name: str
    category: str
    size: int
    annotations: tuple[str, ...] = ()
    split: str = ""
    place: str = ""


@dataclass(frozen=True)
class Listing:
    """Shapes, problems found without reading them, and a stamp that changes with their files."""

    shapes: list[Shape]
    findings: list[Finding]
    stamp: str


class Reader(ABC):
    """One layout, opened on one data set; UserError if the file of its categories is wrong.

    `looks_for` is what its data sets have in their root folder.
    """

    layout: ClassVar[str]
    looks_for: ClassVar[str]

    def __init__(self, files: Files, settings: DataSettings) -> None:
        self.categories: dict[str, Category] = {}
        self._files = files
        self._settings = settings
        self._numbers: dict[str, tuple[int, np.ndarray]] = {}
        self._add_categories()

    @classmethod
    def fits(cls, names: set[str], files: Files) -> bool:
        """Whether these files, with these names in their root, are a data set of this layout."""
        return cls.looks_for in names

    @abstractmethod
    def read(self, shape: Shape, findings: list[Finding]) -> Cloud:
        """Reads one shape of the listing, else UserError; smaller problems go to `findings`."""

    def list_shapes(self, names: Sequence[str]) -> Listing:
        """The shapes of these categories; UserError such as `no_shapes`: there are none at all."""
        self._findings: list[Finding] = []
        self._hash = hashlib.sha256()
        shapes = self._list(names)
        for name in sorted(set(names) - {shape.category for shape in shapes}):
            message = f"found no shapes of {name}. Add them, or remove the category."
            self._note("no_shapes", message, self._folder(name), name)
        if not shapes:
            notes = " ".join(map(str, self._findings))
            raise UserError("no_shapes", f"found no shapes in {self._files.source}. {notes}")
        return Listing(shapes, self._findings, self._hash.hexdigest())

    @abstractmethod
    def _add_categories(self) -> None: ...

    def _list(self, names: Sequence[str]) -> list[Shape]:
        return [shape for name in names for shape in self._shapes(name)]

    def _shapes(self, category: str) -> Iterable[Shape]:
        raise NotImplementedError

    def _note(self, code: str, message: str, file: str, category: str = "") -> None:
        """Adds a finding to the listing."""
        self._findings.append(Finding(code, message, file, category=category))

    def _add_category(self, category: Category, parts: Sequence[str], first: int = 0) -> None:
        """Adds a category; its files count `parts` from `first`. It may lack some of them."""
        category = category.with_unannotated(self._settings.unannotated)
        rest = {NO_PART: category.rest_label}
        table = [rest.get(part, category.label_of(part)) for part in parts]
        self.categories[category.name] = category
        self._numbers[category.name] = first, np.array(table, np.int64)

    def _labels(self, numbers: np.ndarray, category: str, file: str) -> np.ndarray:
        """Our labels, int64 [n], for a file's numbers, one a line; UserError `unknown_label`."""
        first, table = self._numbers[category]
        places = numbers - first
        wrong = np.flatnonzero((places < 0) | (places >= len(table)))
        if wrong.size:
            last = first + len(table) - 1
            message = f"found label {numbers[wrong[0]]}, expected {first} to {last} for {category}."
            raise UserError("unknown_label", message, file, int(wrong[0]) + 1)
        return table[places]

    def _read_labels(self, file: str, points: int) -> np.ndarray:
        """One number a line, int64 [points]; UserError, such as `count_mismatch`."""
        labels = read_labels(self._files.read(file), file)
        if len(labels) != points:
            message = f"found {len(labels)} labels, expected {points}, one for each point."
            raise UserError("count_mismatch", message, file, min(len(labels), points) + 1)
        return labels

    def _read_points(self, shape: Shape) -> np.ndarray:
        """The points, float64 [n, 3], of a shape in <folder>/points/<id>.pts."""
        file = f"{self._folder(shape.category)}/points/{shape.name}.pts"
        return read_numbers(self._files.read(file), 3, file)

    def _read_numbered(self, shape: Shape, points: int) -> np.ndarray:
        """Our labels, int64 [points], of a shape in <folder>/<its only annotation>/<id>.seg."""
        file = f"{self._folder(shape.category)}/{shape.annotations[0]}/{shape.name}.seg"
        return self._labels(self._read_labels(file, points), shape.category, file)

    def _entries(self, folder: str = "") -> list[Entry]:
        """Contents of a folder; its files become part of the listing's stamp."""
        entries = self._files.entries(folder)
        files = [entry for entry in entries if not entry.is_folder]
        self._hash.update(repr((folder, files)).encode())
        return entries

    def _by_id(self, folder: str, ending: str) -> dict[str, Entry]:
        """What a folder has with this ending, by its name without the ending."""
        entries = self._entries(folder)
        return {e.name.removesuffix(ending): e for e in entries if e.name.endswith(ending)}

    @functools.cached_property
    def _folders(self) -> dict[str, str]:
        """The name of each folder as the file system has it, by its composed form."""
        return {nfc(entry.name): entry.name for entry in self._files.entries() if entry.is_folder}

    def _folder(self, category: str) -> str:
        name = self.categories[category].directory
        return self._folders.get(nfc(name), name)


def chosen_categories(categories: Iterable[str], setting: str | None) -> list[str]:
    """The names that `data.category` selects: a name or "all", in any case.

    None selects Airplane, or else the only category; UserError `choose_category` if there are
    several, and `unknown_category` for another name.
    """
    names = list(categories)
    if setting is None and (_DEFAULT_CATEGORY in names or len(names) == 1):
        return [_DEFAULT_CATEGORY] if _DEFAULT_CATEGORY in names else names
    choice = f"{', '.join(names)}. Choose one or all: --category NAME."
    if setting is None:
        raise UserError("choose_category", f"found the categories {choice}")
    if setting.lower() == "all":
        return names
    known = {nfc(name).casefold(): name for name in names} | {name: name for name in names}
    name = known.get(setting) or known.get(nfc(setting).casefold())
    if name is None:
        raise UserError("unknown_category", f"found no category {setting!r:.60}, only {choice}")
    return [name]


def nfc(name: str) -> str:
    """The name in Unicode's composed form; macOS writes them decomposed."""
    return unicodedata.normalize("NFC", name)


def _composed(values: dict[str, T]) -> dict[str, T]:
    composed = {nfc(name): value for name, value in values.items()}
    if len(composed) < len(values):
        raise ValueError("two names are the same in Unicode's composed form")
    return composed


# In documents: the name of a file or folder in a folder, and values by such names.
PlainName = Annotated[str, StringConstraints(pattern=r"^[^./][^/]*$")]
ByName = Annotated[dict[PlainName, T], MinLen(1), AfterValidator(_composed)]
