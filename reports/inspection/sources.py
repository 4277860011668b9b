"""Sources of clouds, read one cloud at a time: raw shapes, or TFRecords.

Raw shapes get the splits that a conversion would make. TFRecords are a converted data set, compared
with its manifest.json; a pipeline's Examples; or one file, which may be a log of requests.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocessing.checks.cloud_checks import Place, RawCloud, parse
from preprocessing.conversion.checks import check_share, in_order
from preprocessing.conversion.manifest import MANIFEST, Manifest
from preprocessing.conversion.plan import Plan, ShardPlan, make_plan, must_plan_again
from preprocessing.conversion.records import SUFFIX, read_records
from preprocessing.datasets.base import chosen_categories
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.errors import Finding, UserError
from schema.record import SPLITS, UNLABELLED, to_float32

# The split of clouds that have none: too few for three, or a record file by itself.
UNSPLIT = "unsplit"
_SPLIT_ORDER = (*SPLITS, UNLABELLED)

Clouds = Iterator[tuple[Place, RawCloud | None]]


class Source(ABC):
    """Clouds of one source, given by `name`; `form` says what it is.

    `total` clouds are of the chosen `categories`, `passed` of them so far; a source with incomplete
    categories need not have all. Complete after the last cloud: splits, ours first; findings,
    notes, `stops`: why it would not be converted, and `unreadable` shapes by category.
    """

    categories: tuple[Category, ...]
    categories_complete = True
    splits: tuple[str, ...]
    total: int

    def __init__(self, name: str, form: str) -> None:
        self.name, self.form, self.passed = name, form, 0
        self.findings: list[Finding] = []
        self.unreadable: Counter[str] = Counter()
        self.notes: list[str] = []
        self.stops: list[str] = []

    @abstractmethod
    def clouds(self, limit: int | None = None) -> Clouds:
        """All clouds, or `limit` evenly spread ones; None for bytes that are not a tf.Example."""

    def _is_next_chosen(self, limit: int | None) -> bool:
        number, self.passed = self.passed, self.passed + 1
        return limit is None or number * min(limit, self.total) % max(self.total, 1) < limit


def open_source(name: str, settings: DataSettings) -> Source:
    """Opens a folder or a file; UserError if there is nothing that we can read."""
    path = Path(name).expanduser()
    if (path / MANIFEST).is_file():
        return _converted(path, name, settings)
    if path.is_file() and path.name.endswith(".gz"):
        return _without_manifest([path], name, "one TFRecord file", settings)
    paths = sorted(file for file in path.glob("Split-*/*") if file.is_file())
    if paths:
        return _without_manifest(paths, name, "a pipeline's Examples", settings)
    return RawSource(name, settings)


class RawSource(Source):
    """Raw shapes, in the order and the splits of a conversion."""

    def __init__(self, name: str, settings: DataSettings) -> None:
        self._settings, self._reader = settings, open_reader(name, settings)
        super().__init__(name, f"raw shapes, layout {self._reader.layout}")
        chosen = chosen_categories(self._reader.categories, settings.category)
        self.categories = tuple(self._reader.categories[category] for category in chosen)
        listing = self._reader.list_shapes(chosen)
        self.total = len(listing.shapes)
        try:
            self._plan = make_plan(listing, settings)
            self.notes.append("The splits are those that pointnet-parts convert would make.")
        except UserError as error:
            # Too few to split: they are shown all the same.
            self.stops.append(str(error))
            shapes, names = listing.shapes, tuple(shape.name for shape in listing.shapes)
            shard = ShardPlan(UNSPLIT, tuple(shapes), names)
            self._plan = Plan((shard,), tuple(listing.findings))
        self.findings += self._plan.findings
        self.splits = _ordered({shard.split for shard in self._plan.shards})

    def clouds(self, limit: int | None = None) -> Clouds:
        filled = set()
        for number, shard in enumerate(self._plan.shards):
            for position, shape in enumerate(shard.shapes):
                if not self._is_next_chosen(limit):
                    continue
                try:
                    cloud = self._reader.read(shape, self.findings)
                except UserError as error:
                    self.findings.append(Finding.of(error, shape.category, shape.name))
                    self.unreadable[shape.category] += 1
                    continue
                # A conversion finds out too that a shape has label files but no label.
                split = UNLABELLED if cloud.labels is None else shard.split
                filled.add(split)
                (points, offset), shape_id = to_float32(cloud.points), shard.shape_ids[position]
                raw = RawCloud(shape_id, cloud.category, points.reshape(-1), cloud.labels, offset)
                yield Place(split, number, position), raw
        self.splits = _ordered({*self.splits, *filled} - ({UNSPLIT} - filled))
        complete = limit is None and not self.stops
        if complete and must_plan_again(self._plan, self.findings, filled):
            self.notes.append("convert will change the splits, for shapes that it cannot use.")
        try:
            shapes = min(limit or self.total, self.total)
            check_share(in_order(self.findings), shapes, self._settings)
        except UserError as error:
            self.stops.append(str(error))


@dataclass
class _RecordFile:
    """A record file, its name for people and its split; `sha256` is what the manifest says."""

    path: Path
    name: str
    split: str
    sha256: str = ""

    def records(self, findings: list[Finding]) -> Iterator[RawCloud | None]:
        """The clouds until the file is damaged, which is then a finding, as is a changed file."""
        try:
            with self.path.open("rb") as file:
                yield from map(parse, read_records(file, self.name))
            # Files of a conversion are small.
            if self.sha256 and self.sha256 != hashlib.sha256(self.path.read_bytes()).hexdigest():
                message = f"is not the file that {MANIFEST} lists. Convert the source again."
                findings.append(Finding("changed_file", message, self.name))
        except UserError as error:
            findings.append(Finding.of(error, "", ""))
        except OSError as error:
            message = f"cannot be read ({error.strerror}). Restore it, or convert the source again."
            findings.append(Finding("no_file", message, self.name, left_out=True))


class RecordSource(Source):
    """Record files of clouds, of which there are `counts` of each category."""

    def __init__(
        self,
        name: str,
        form: str,
        files: Sequence[_RecordFile],
        categories: Iterable[Category],
        counts: Mapping[str, int],
        settings: DataSettings,
    ) -> None:
        super().__init__(name, form)
        known = {category.name: category for category in categories}
        chosen = chosen_categories(known, settings.category)
        self.categories = tuple(known[category] for category in chosen)
        # With "all", records of unknown categories are included, to be refused by the checks.
        self._only = None if (settings.category or "").lower() == "all" else chosen[0]
        self.total = sum(n for category, n in counts.items() if self._only in (None, category))
        self._files = files
        self.splits = _ordered({file.split for file in files})

    def clouds(self, limit: int | None = None) -> Clouds:
        numbers: Counter[str] = Counter()
        for file in self._files:
            for position, cloud in enumerate(file.records(self.findings)):
                category = cloud.category if cloud is not None else ""
                if self._only in (None, category) and self._is_next_chosen(limit):
                    yield Place(file.split, numbers[file.split], position), cloud
            numbers[file.split] += 1


def _converted(folder: Path, name: str, settings: DataSettings) -> RecordSource:
    manifest = Manifest.load(folder)
    files = [_RecordFile(folder / s.file, s.file, s.split, s.sha256) for s in manifest.shards]
    paths = {*folder.glob(f"{manifest.version}/*/*{SUFFIX}")} - {file.path for file in files}
    names = [path.relative_to(folder).as_posix() for path in sorted(paths)]
    unlisted = [_RecordFile(folder / name, name, name.split("/")[1]) for name in names]
    counts: Counter[str] = Counter()
    for count in manifest.counts:
        counts[count.category] += count.shapes
    form = f"TFRecords converted from {manifest.source} (layout {manifest.layout})"
    files += unlisted
    source = RecordSource(name, form, files, manifest.categories, counts, settings)
    message = f"is not listed in {MANIFEST}, and the pipeline would read it. Remove it."
    source.findings += manifest.findings
    source.findings += (Finding("unlisted_file", message, file.name) for file in unlisted)
    return source


def _without_manifest(
    paths: Sequence[Path], name: str, form: str, settings: DataSettings
) -> RecordSource:
    """Record files whose categories are in the manifest of a folder above, or in ShapeNet's table.

    Clouds without labels, as in a log of requests, may have any category: no part is counted.
    """
    files = [_RecordFile(p, f"{p.parent.name}/{p.name}", _split_of(p)) for p in paths]
    place = _manifest_above(paths[0])
    manifest = None if place is None else Manifest.load(place)
    categories = SHAPENET_CATEGORIES if manifest is None else manifest.categories
    note = f"The categories and their parts are taken from {place or 'the table of ShapeNet'}."
    counts: Counter[str] = Counter()
    labelled = False
    for cloud in (cloud for file in files for cloud in file.records([])):
        counts[cloud.category if cloud is not None else ""] += 1
        labelled |= cloud is not None and cloud.labels is not None
    if files[0].split == UNSPLIT and counts and not labelled:
        files[0].split = UNLABELLED
        known = {category.name: category for category in categories}
        categories = tuple(known.get(n) or Category(n, "", ("?",)) for n in counts if n)
        note = "None of its clouds has labels, as in a log of requests."
    source = RecordSource(name, form, files, categories, counts, settings)
    source.categories_complete = manifest is not None and len(files) > 1
    source.notes.append(note)
    return source


def _manifest_above(path: Path) -> Path | None:
    """The nearest folder above with a manifest, or whose folder `data` has one, as in a run."""
    places = (place for folder in path.absolute().parents for place in (folder, folder / "data"))
    return next((place for place in places if (place / MANIFEST).is_file()), None)


def _split_of(file: Path) -> str:
    name = file.parent.name
    has_split = name.startswith("Split-") or name in _SPLIT_ORDER
    return name.removeprefix("Split-") if has_split else UNSPLIT


def _ordered(splits: set[str]) -> tuple[str, ...]:
    known = [split for split in _SPLIT_ORDER if split in splits]
    return (*known, *sorted(splits.difference(known)))
