"""Whatever holds clouds, read as one stream: raw shapes in any layout, or TFRecords.

    raw          a folder or .zip in a layout of preprocessing.datasets; shapes come in the order
                 and the splits that a conversion would give them
    converted    a folder with a manifest.json; each record file is compared with it
    record file  one .tfrecord.gz; without any label, such as a log of requests, it is unlabelled
    artifact     a pipeline's Examples: a folder with Split-<name>/ folders of record files

One cloud is in memory at a time. No TensorFlow, no TFX, no Beam.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from components.cloud_validator.checks import Place, RawCloud
from components.cloud_validator.stored_record import parse
from components.data_inspection.wording import counted
from preprocessing.conversion.checks import check_share
from preprocessing.conversion.manifest import MANIFEST, Manifest, Shard
from preprocessing.conversion.plan import Plan, make_plan, must_plan_again
from preprocessing.conversion.records import SUFFIX, read_records
from preprocessing.datasets.base import Shape, chosen_categories
from preprocessing.datasets.demo import is_made_up
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.errors import Finding, UserError
from schema.record import SPLITS, UNLABELLED, to_float32

# Of clouds that are in no split: too few for three, or a record file that stands alone.
UNSPLIT = "unsplit"
_SPLIT_FOLDER = "Split-"
_SPLIT_ORDER = (*SPLITS, UNLABELLED)


class StoredCloud(NamedTuple):
    """A cloud and where it stands; `cloud` is None where the bytes are no tf.Example."""

    place: Place
    cloud: RawCloud | None


class Source(Protocol):
    """Clouds of one source.

    Attributes:
      name: as it was given.
      form: what it is, in words.
      categories: those chosen, with their parts.
      categories_complete: False where the source does not say which categories it has, or is a
        file of many that need not have all.
      splits: names, in the order in which they are reported.
      total: clouds to pass by, readable or not.
      passed: how many were passed by so far.
      findings: what was found so far; complete after the last cloud.
      unreadable: how many raw shapes could not be read so far, by category.
    """

    name: str
    form: str
    categories: tuple[Category, ...]
    categories_complete: bool
    splits: tuple[str, ...]
    total: int
    passed: int
    findings: list[Finding]
    unreadable: Counter[str]

    def clouds(self, wanted: Callable[[int], bool]) -> Iterator[StoredCloud]:
        """The clouds whose number, from 0 in the order of the source, is wanted."""

    def plan_again(self) -> bool:
        """Whether, after the last cloud, the splits changed: then the clouds are to be read again.

        A conversion does so where the unreadable shapes were all of a split.
        """

    def find(self, shape_id: str) -> Iterator[StoredCloud]:
        """The clouds of that name."""

    def notes(self) -> list[str]:
        """What else a reader of the page should know; complete after the last cloud."""

    def stops(self) -> list[str]:
        """Why this source would not be converted as it stands; complete after the last cloud."""


def open_source(name: str, settings: DataSettings) -> Source:
    """Looks at what stands at `name` and opens it.

    Args:
      name: a folder or a file.
      settings: which category, and how raw shapes are read and split.

    Raises:
      UserError: nothing is there, or nothing that we can read.
    """
    path = Path(name).expanduser()
    if path.is_dir() and (path / MANIFEST).exists():
        return converted(path, name, settings)
    if path.is_dir() and any(path.glob(f"{_SPLIT_FOLDER}*/*")):
        return artifact(path, name, settings)
    if path.is_file() and path.name.endswith(".gz"):
        return record_file(path, name, settings)
    return RawSource(name, settings)


def made_up(categories: Sequence[Category]) -> list[str]:
    """Names of the categories whose shapes a program made up."""
    return [category.name for category in categories if is_made_up(category)]


class RawSource:
    """Raw shapes, in the order and the splits of a conversion; see Source."""

    categories_complete = True

    def __init__(self, name: str, settings: DataSettings) -> None:
        """Lists the shapes; reads none."""
        self.name = name
        self._settings = settings
        self._reader = open_reader(name, settings)
        chosen = chosen_categories(self._reader.categories, settings.category)
        self.categories = tuple(self._reader.categories[category] for category in chosen)
        self.form = f"raw shapes, layout {self._reader.layout}"
        self._listing = self._reader.list_shapes(chosen)
        self.total = len(self._listing.shapes)
        self.findings: list[Finding] = []
        self.unreadable: Counter[str] = Counter()
        self._stops: list[str] = []
        self._planned_again = False
        self._plan: Plan | None = None
        self._plan_with(())

    def _plan_with(self, found: Sequence[Finding]) -> None:
        """Assigns the shapes to splits as a conversion does, given what reading them has shown."""
        self._filled: set[str] = set()
        self._shards: list[tuple[str, list[tuple[Shape, str]]]] = []
        try:
            self._plan = make_plan(self._listing, self._settings, found)
        except UserError as error:
            # Too few to split: they are shown all the same.
            self._plan = None
            self._stops.append(_one_line(error))
            notes: Sequence[Finding] = self._listing.findings
            for split, labelled in ((UNSPLIT, True), (UNLABELLED, False)):
                shapes = [s for s in self._listing.shapes if bool(s.annotations) is labelled]
                if shapes:
                    self._shards.append((split, [(shape, shape.name) for shape in shapes]))
        else:
            notes = self._plan.findings
            for shard in self._plan.shards:
                named = list(zip(shard.shapes, shard.shape_ids, strict=True))
                self._shards.append((shard.split, named))
        planned = sum(len(shapes) for _, shapes in self._shards)
        self.passed = self._looked_at = self.total - planned
        self.findings = list(dict.fromkeys((*self.findings, *notes)))
        self.splits = _ordered(split for split, _ in self._shards)

    def plan_again(self) -> bool:
        """See Source."""
        if self._plan is None or self._looked_at < self.total:
            return False
        again = must_plan_again(self._plan, self.findings, self._filled)
        if again:
            self._planned_again = True
            self._plan_with(self.findings)
        return again

    def clouds(self, wanted: Callable[[int], bool]) -> Iterator[StoredCloud]:
        """See Source."""
        files: Counter[str] = Counter()
        for split, shapes in self._shards:
            position = 0
            for shape, shape_id in shapes:
                number, self.passed = self.passed, self.passed + 1
                if not wanted(number):
                    continue
                cloud = self._read(shape, shape_id)
                if cloud is not None:
                    self._filled.add(split)
                    yield StoredCloud(Place(split, files[split], position), cloud)
                    position += 1
            files[split] += 1
        # What a second plan reads again is found again.
        self.findings = list(dict.fromkeys(self.findings))

    def find(self, shape_id: str) -> Iterator[StoredCloud]:
        """See Source."""
        for split, shapes in self._shards:
            for shape, known in shapes:
                if shape_id in (known, shape.name):
                    cloud = self._read(shape, known)
                    if cloud is not None:
                        yield StoredCloud(Place(split, 0, 0), cloud)

    def _read(self, shape: Shape, shape_id: str) -> RawCloud | None:
        self._looked_at += 1
        try:
            record = self._reader.read(shape, self.findings)
        except UserError as error:
            self.findings.append(Finding.of(error, shape.category, shape.name))
            self.unreadable[shape.category] += 1
            return None
        points, _ = to_float32(record.points)
        return RawCloud(shape_id, record.category, points.reshape(-1), record.labels)

    def notes(self) -> list[str]:
        """See Source."""
        if self._plan is None:
            return []
        notes = ["The splits are those that pointnet-parts convert would make with this config"]
        if self._looked_at < self.total:
            notes[0] += ", unless all shapes of one split turn out to be unreadable"
        notes[0] += "."
        if self._planned_again:
            notes.append(
                "Shapes that turned out to be unreadable or without labels changed the splits, as "
                "they do in convert."
            )
        return notes

    def stops(self) -> list[str]:
        """See Source."""
        try:
            by_name = sorted(self.findings, key=lambda f: (f.code, f.file, f.line))
            check_share(by_name, self._looked_at, self._settings)
        except UserError as error:
            return [*self._stops, _one_line(error)]
        return self._stops


@dataclass(frozen=True)
class _RecordFile:
    """A record file: its path, its name for people, its split, and what the manifest says of it."""

    path: Path
    name: str
    split: str
    entry: Shard | None = None


class RecordSource:
    """Record files; see Source."""

    def __init__(
        self,
        name: str,
        form: str,
        files: Sequence[_RecordFile],
        categories: tuple[Category, ...],
        settings: DataSettings,
        *,
        categories_complete: bool,
        notes: Sequence[str] = (),
        findings: Sequence[Finding] = (),
    ) -> None:
        """Counts the records where no manifest says how many there are."""
        self.name = name
        self.form = form
        self.categories_complete = categories_complete
        known = {category.name: category for category in categories}
        chosen = chosen_categories(known, settings.category)
        self.categories = tuple(known[category] for category in chosen)
        # Records of unknown categories are part of all, to be refused by the checks.
        self._only = None if (settings.category or "").lower() == "all" else chosen[0]
        self._files = files
        self._notes = list(notes)
        self._matching = 0
        self.findings = list(findings)
        self.unreadable: Counter[str] = Counter()
        self.splits = _ordered(file.split for file in files)
        self.total = sum(_records(file) for file in files)
        self.passed = 0

    def clouds(self, wanted: Callable[[int], bool]) -> Iterator[StoredCloud]:
        """See Source."""
        files: Counter[str] = Counter()
        for file in self._files:
            for position, record in enumerate(self._records_of(file)):
                number, self.passed = self.passed, self.passed + 1
                if not wanted(number):
                    continue
                cloud = parse(record)
                if self._only is None or (cloud is not None and cloud.category == self._only):
                    yield StoredCloud(Place(file.split, files[file.split], position), cloud)
            files[file.split] += 1

    def find(self, shape_id: str) -> Iterator[StoredCloud]:
        """See Source."""
        for stored in self.clouds(lambda _: True):
            if stored.cloud is not None and stored.cloud.shape_id == shape_id:
                yield stored

    def plan_again(self) -> bool:
        """See Source."""
        return False

    def _records_of(self, file: _RecordFile) -> Iterator[bytes]:
        """The records of a file as far as it is whole; holds it against the manifest."""
        read = 0
        try:
            with _opened(file) as opened:
                hashed = _HashedFile(opened)
                for record in read_records(hashed, file.name):  # type: ignore[arg-type]
                    yield record
                    read += 1
            if file.entry is not None:
                _hold_against(file.entry, hashed, read)
                self._matching += 1
        except UserError as error:
            self.findings.append(Finding.of(error, "", ""))

    def notes(self) -> list[str]:
        """See Source."""
        listed = sum(file.entry is not None for file in self._files)
        if not listed:
            return self._notes
        return [
            *self._notes,
            f"{self._matching} of {counted(listed, 'record file')} match"
            f"{'es' if self._matching == 1 else ''} {MANIFEST} (size, SHA-256, number of records).",
        ]

    def stops(self) -> list[str]:
        """See Source."""
        return []


def converted(folder: Path, name: str, settings: DataSettings) -> RecordSource:
    """A finished conversion.

    Raises:
      UserError: its manifest cannot be read.
    """
    manifest = Manifest.load(folder)
    files = [_RecordFile(folder / s.file, s.file, s.split, s) for s in manifest.shards]
    listed = {shard.file for shard in manifest.shards}
    findings = list(manifest.findings)
    for split in _SPLIT_ORDER:
        for path in sorted((folder / manifest.version / split).glob(f"*{SUFFIX}")):
            shard = f"{manifest.version}/{split}/{path.name}"
            if shard not in listed:
                message = f"is not listed in {MANIFEST}, and the pipeline would read it. Remove it."
                findings.append(Finding("unlisted_file", message, shard))
                files.append(_RecordFile(path, shard, split))
    return RecordSource(
        name,
        f"TFRecords converted from {manifest.source} (layout {manifest.layout})",
        files,
        manifest.categories,
        settings,
        categories_complete=True,
        findings=findings,
    )


def record_file(path: Path, name: str, settings: DataSettings) -> RecordSource:
    """One record file; its manifest is looked for in the folders above it.

    Raises:
      UserError: it is no TFRecord file.
    """
    file = _RecordFile(path, path.name, _split_of(path.parent))
    manifest = _manifest_above(path)
    if manifest is not None:
        entry = {shard.file: shard for shard in manifest[1].shards}
        shard = path.absolute().relative_to(manifest[0].absolute().parent).as_posix()
        file = replace(file, entry=entry.get(shard))
    if file.split == UNSPLIT:
        unlabelled = _categories_without_labels(file)
        if unlabelled:
            file = replace(file, split=UNLABELLED)
            return _unlabelled_file(name, file, unlabelled, manifest, settings)
    return _of_unsaid_categories(name, "one TFRecord file", [file], manifest, settings)


def _categories_without_labels(file: _RecordFile) -> list[str]:
    """The categories that a file names, where none of its clouds has labels; else none."""
    names: dict[str, None] = {}
    try:
        with _opened(file) as opened:
            for record in read_records(opened, file.name):
                cloud = parse(record)
                if cloud is None:
                    continue
                if cloud.labels is not None:
                    return []
                if cloud.category:
                    names[cloud.category] = None
    except UserError:
        # It is found, and told, when the clouds are read.
        pass
    return list(names)


def _unlabelled_file(
    name: str,
    file: _RecordFile,
    names: Sequence[str],
    manifest: tuple[Path, Manifest] | None,
    settings: DataSettings,
) -> RecordSource:
    """Clouds without labels, as in a log of requests: no part is counted, so any category goes."""
    known = {
        c.name: c for c in (SHAPENET_CATEGORIES if manifest is None else manifest[1].categories)
    }
    categories = tuple(known.get(n) or Category(n, "", ("?",)) for n in names)
    return RecordSource(
        name,
        "one TFRecord file",
        [file],
        categories,
        settings,
        categories_complete=False,
        notes=["None of its clouds has labels, as in a log of requests."],
    )


def artifact(folder: Path, name: str, settings: DataSettings) -> RecordSource:
    """A pipeline's Examples artifact."""
    paths = sorted(path for path in folder.glob(f"{_SPLIT_FOLDER}*/*") if path.is_file())
    found = [_RecordFile(p, f"{p.parent.name}/{p.name}", _split_of(p.parent)) for p in paths]
    splits = _ordered(file.split for file in found)
    files = sorted(found, key=lambda file: splits.index(file.split))
    manifest = _manifest_above(folder)
    return _of_unsaid_categories(name, "a pipeline's Examples", files, manifest, settings)


def _of_unsaid_categories(
    name: str,
    form: str,
    files: Sequence[_RecordFile],
    manifest: tuple[Path, Manifest] | None,
    settings: DataSettings,
) -> RecordSource:
    """Records that do not say what their categories' parts are."""
    categories: tuple[Category, ...]
    if manifest is None:
        categories, said_by = SHAPENET_CATEGORIES, f"ShapeNet's table: there is no {MANIFEST}"
    else:
        categories, said_by = manifest[1].categories, str(manifest[0])
    return RecordSource(
        name,
        form,
        files,
        categories,
        settings,
        categories_complete=manifest is not None and len(files) > 1,
        notes=[f"The categories and their parts are taken from {said_by}."],
    )


def _manifest_above(path: Path) -> tuple[Path, Manifest] | None:
    """The manifest of the nearest folder above that has one, or has one in its `data` folder.

    `data` is where a run puts the converted shapes, beside its artifacts.
    """
    for folder in path.absolute().parents:
        for place in (folder, folder / "data"):
            if (place / MANIFEST).is_file():
                return place / MANIFEST, Manifest.load(place)
    return None


def _one_line(error: UserError) -> str:
    return " ".join(str(error).split())


def _split_of(folder: Path) -> str:
    if folder.name.startswith(_SPLIT_FOLDER):
        return folder.name.removeprefix(_SPLIT_FOLDER)
    return folder.name if folder.name in _SPLIT_ORDER else UNSPLIT


def _ordered(splits: Iterator[str]) -> tuple[str, ...]:
    """Each split once, ours first."""

    def place(split: str) -> tuple[int, str]:
        return (_SPLIT_ORDER.index(split) if split in _SPLIT_ORDER else len(_SPLIT_ORDER), split)

    return tuple(sorted(set(splits), key=place))


def _records(file: _RecordFile) -> int:
    if file.entry is not None:
        return file.entry.records
    count = 0
    try:
        with _opened(file) as opened:
            for _ in read_records(opened, file.name):
                count += 1
    except UserError:
        # It is found, and told, when the clouds are read.
        pass
    return count


def _opened(file: _RecordFile) -> BinaryIO:
    try:
        return open(file.path, "rb")
    except OSError as error:
        raise UserError(
            "no_file",
            f"cannot be read ({(error.strerror or str(error)).lower()}). Restore the file, or "
            "convert the source again.",
            file.name,
        ) from None


def _hold_against(entry: Shard, file: _HashedFile, records: int) -> None:
    """Raises UserError where a file is not the one that the manifest names."""
    sha256 = file.sha256.hexdigest()
    if (file.size, sha256) != (entry.bytes, entry.sha256):
        raise UserError(
            "changed_file",
            f"has {file.size:,} bytes with SHA-256 {sha256[:12]}..., expected {entry.bytes:,} with "
            f"{entry.sha256[:12]}..., as {MANIFEST} says: it was changed since. Convert the source "
            "again.",
            entry.file,
        )
    if records != entry.records:
        raise UserError(
            "record_count",
            f"holds {records:,} records, expected {entry.records:,}, as {MANIFEST} says. Convert "
            "the source again.",
            entry.file,
        )


class _HashedFile:
    """Hashes and counts what is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        self.size += len(data)
        return data
