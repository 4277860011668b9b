"""manifest.json: what a conversion wrote. It comes last: without it no data set is finished."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, StrictInt, StringConstraints, TypeAdapter

from schema.categories import Category
from schema.documents import parse_json, validate
from schema.errors import Finding, UserError

MANIFEST = "manifest.json"
FORMAT = 2
# A record file's name in the folder of its version; of a window's, the span comes first.
SHARD_NAME = r"(train|val|test|unlabelled)/(span-\d+-)?part-\d+-of-\d+\.tfrecord\.gz"

Version = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
_ShardFile = Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{16}}/{SHARD_NAME}$")]
_Category = Annotated[Category, PlainSerializer(Category.to_json)]


@dataclass(frozen=True)
class Shard:
    """One record file: its name ("<version>/<split>/..."), number of clouds, size and hash."""

    file: _ShardFile
    records: StrictInt
    bytes: StrictInt
    sha256: str

    @property
    def split(self) -> str:
        return self.file.split("/")[1]


@dataclass(frozen=True)
class Count:
    """Of one category in one split: number of clouds, points of each part, points of none."""

    split: str
    category: str
    shapes: StrictInt
    parts: dict[str, StrictInt]
    unannotated: StrictInt


@dataclass(frozen=True)
class Manifest:
    """A finished data set; `fingerprint` is a hash of the source, the settings and the code."""

    source: str
    layout: str
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    settings: dict[str, Any]
    categories: tuple[_Category, ...]
    counts: tuple[Count, ...]
    shards: tuple[Shard, ...]
    findings: tuple[Finding, ...]
    not_converted: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The folder of the record files."""
        return self.fingerprint[:16]

    def shapes(self, split: str) -> int:
        return sum(count.shapes for count in self.counts if count.split == split)

    def to_text(self) -> str:
        value = {"format": FORMAT, **TypeAdapter(Manifest).dump_python(self, mode="json")}
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str | bytes, file: str = MANIFEST) -> Manifest:
        """Parses a manifest; UserError `bad_manifest`, or `other_format`: of another version."""
        content = text if isinstance(text, bytes) else text.encode()
        value = parse_json(content, "bad_manifest", file)
        number = value.get("format") if isinstance(value, dict) else None
        if isinstance(number, int) and number != FORMAT:
            message = f"has format {number}, expected {FORMAT}. Convert the source again."
            raise UserError("other_format", message, file)
        return validate(cls, value, "bad_manifest", file)

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Reads a local data set's manifest; UserError `no_manifest`, and as `from_text`."""
        file = Path(folder) / MANIFEST
        try:
            content = file.read_bytes()
        except OSError as error:
            message = f"cannot read {MANIFEST} ({error.strerror}). Run pointnet-parts convert."
            raise UserError("no_manifest", message, str(folder)) from None
        return cls.from_text(content, str(file))


def left_out_shapes(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """Category and name of each shape that could not be converted."""
    return {(finding.category, finding.shape) for finding in findings if finding.left_out}


def add_counts(counts: Iterable[Count]) -> tuple[Count, ...]:
    """One count for each split and category, in the order in which they occur first."""
    totals: dict[tuple[str, str], Count] = {}
    for new in counts:
        key = new.split, new.category
        old = totals.get(key, Count(*key, 0, dict.fromkeys(new.parts, 0), 0))
        parts = {part: old.parts[part] + points for part, points in new.parts.items()}
        unannotated = old.unannotated + new.unannotated
        totals[key] = Count(*key, old.shapes + new.shapes, parts, unannotated)
    return tuple(totals.values())
