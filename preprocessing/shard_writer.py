"""One record file: read its shapes, write it, say what went in. Runs wherever Beam puts it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import BinaryIO

import numpy as np

from preprocessing.conversion_plan import ShardPlan
from preprocessing.destination import SUMMARIES, Store, open_store
from preprocessing.examples import to_example
from preprocessing.findings import BadInput, Finding
from preprocessing.layout import Reader
from preprocessing.layouts import open_reader
from preprocessing.manifest import Count, Shard
from preprocessing.settings import DataSettings
from preprocessing.tfrecord import Writer
from schema.categories import Category
from schema.record import CloudRecord


@dataclass(frozen=True)
class ShardSummary:
    """What was written.

    Attributes:
      shard: the file; None where no shape could be read, then there is no file.
      counts: one for each category in it.
      findings: what was wrong with its shapes.
    """

    shard: Shard | None
    counts: tuple[Count, ...]
    findings: tuple[Finding, ...]

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps(
            {
                "shard": self.shard and asdict(self.shard),
                "counts": [asdict(count) for count in self.counts],
                "findings": [finding.to_json() for finding in self.findings],
            }
        )

    @classmethod
    def from_text(cls, text: str | bytes) -> ShardSummary:
        """From what `to_text` gave."""
        value = json.loads(text)
        return cls(
            Shard(**value["shard"]) if value["shard"] else None,
            tuple(Count(**count) for count in value["counts"]),
            tuple(Finding.from_json(finding) for finding in value["findings"]),
        )


def summary_file(plan: ShardPlan) -> str:
    """Where the summary of a shard stands in the staging folder: the sign that it is finished."""
    return f"{SUMMARIES}/{plan.file.replace('/', '.')}.json"


def write_shard(
    plan_text: str, source: str, settings_text: str, fingerprint: str, staging: str
) -> None:
    """Writes one record file and its summary, unless both are there already.

    Args:
      plan_text: a ShardPlan as JSON.
      source: the folder or .zip of raw shapes.
      settings_text: the DataSettings as JSON.
      fingerprint: of the conversion; another one means that the source has changed.
      staging: the folder to write to.
    """
    plan = ShardPlan.from_text(plan_text)
    store = open_store(staging)
    if store.read(summary_file(plan)) is not None:
        return
    summary = _write_records(plan, _reader(source, settings_text, fingerprint), store)
    with store.write(summary_file(plan)) as file:
        file.write(summary.to_text().encode())


@functools.lru_cache(maxsize=1)
def _reader(source: str, settings_text: str, fingerprint: str) -> Reader:
    """The reader of this process: a .zip's directory is read once, not for each shard.

    A source that has changed has another fingerprint: it is opened anew, lest its old parts or
    directory be used in a process that converts twice.
    """
    del fingerprint
    return open_reader(source, DataSettings.model_validate_json(settings_text))


def _write_records(plan: ShardPlan, reader: Reader, store: Store) -> ShardSummary:
    counter = _Counter(plan.split, reader.categories)
    findings: list[Finding] = []
    records = (
        (shape, shape_id) for shape, shape_id in zip(plan.shapes, plan.shape_ids, strict=True)
    )
    written = 0
    hashed: _HashedFile | None = None
    try:
        with store.write(plan.file) as file:
            hashed = _HashedFile(file)
            writer = Writer(hashed)  # type: ignore[arg-type]
            for shape, shape_id in records:
                try:
                    record = replace(reader.read(shape, findings), shape_id=shape_id)
                except BadInput as error:
                    findings.append(Finding.of(error, shape.name))
                    continue
                writer.write(to_example(record))
                counter.add(record)
                written += 1
            if not written:
                raise _NothingToWrite
            writer.close()
    except _NothingToWrite:
        return ShardSummary(None, (), tuple(findings))
    shard = Shard(plan.file, written, hashed.size, hashed.sha256.hexdigest())
    return ShardSummary(shard, counter.counts(), tuple(findings))


class _NothingToWrite(Exception):
    """No shape of the shard could be read."""


class _HashedFile:
    """Hashes and counts what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)


class _Counter:
    """Counts shapes and points of one split."""

    def __init__(self, split: str, categories: dict[str, Category]) -> None:
        self._split = split
        self._categories = categories
        self._shapes: dict[str, int] = defaultdict(int)
        self._points: dict[str, int] = defaultdict(int)
        # By category: points, and shapes, of each label from -1 on.
        self._label_points: dict[str, np.ndarray] = {}
        self._label_shapes: dict[str, np.ndarray] = {}

    def add(self, record: CloudRecord) -> None:
        name = record.category
        labels = len(self._categories[name].parts) + 1
        if name not in self._label_points:
            self._label_points[name] = np.zeros(labels, np.int64)
            self._label_shapes[name] = np.zeros(labels, np.int64)
        self._shapes[name] += 1
        self._points[name] += len(record.points)
        if record.labels is None:
            self._label_points[name][0] += len(record.points)
            return
        found = np.bincount(record.labels + 1, minlength=labels)
        self._label_points[name] += found
        self._label_shapes[name] += found > 0

    def counts(self) -> tuple[Count, ...]:
        counts = []
        for name in sorted(self._shapes):
            unannotated, *points = self._label_points[name].tolist()
            shapes = self._label_shapes[name].tolist()[1:]
            parts = self._categories[name].parts
            counts.append(
                Count(
                    self._split,
                    name,
                    self._shapes[name],
                    self._points[name],
                    unannotated,
                    dict(zip(parts, points, strict=True)),
                    dict(zip(parts, shapes, strict=True)),
                )
            )
        return tuple(counts)


def add_counts(counts: list[Count]) -> tuple[Count, ...]:
    """One count for each split and category, in the order in which they come first."""
    sums: dict[tuple[str, str], Count] = {}
    for count in counts:
        key = (count.split, count.category)
        if key not in sums:
            sums[key] = count
            continue
        before = sums[key]
        sums[key] = Count(
            *key,
            before.shapes + count.shapes,
            before.points + count.points,
            before.unannotated + count.unannotated,
            {part: n + count.parts[part] for part, n in before.parts.items()},
            {part: n + count.shapes_with_part[part] for part, n in before.shapes_with_part.items()},
        )
    return tuple(sums.values())
