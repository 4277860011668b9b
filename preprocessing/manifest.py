"""What a conversion made: manifest.json, written last, and the sign that it was finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from preprocessing.findings import BadInput, Finding, counted
from schema.categories import Category, part_names

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """One record file.

    Attributes:
      file: its name relative to the data set, e.g. "train/part-00000-of-00003.tfrecord.gz".
      records: clouds in it.
      bytes: its size.
      sha256: hash of the file, hexadecimal.
    """

    file: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Count:
    """What one split holds of one category.

    Attributes:
      split: a name of schema.record.SPLITS, or UNLABELLED.
      category: the category's name.
      shapes: clouds.
      points: points of all clouds.
      unannotated: points with label -1; all of an unlabelled cloud.
      parts: points of each part, by its name.
      shapes_with_part: clouds that have a point of the part.
    """

    split: str
    category: str
    shapes: int
    points: int
    unannotated: int
    parts: dict[str, int]
    shapes_with_part: dict[str, int]


@dataclass(frozen=True)
class Manifest:
    """A finished data set.

    Attributes:
      source: where it was read from, as given.
      layout: the layout's name.
      fingerprint: hash of the source's files, the settings and the code that converted them.
      categories: those converted, with their parts in label order.
      counts: what each split holds of each category.
      shards: the record files.
      findings: what was wrong.
      settings: the settings it was converted with.
      not_converted: names of the source's other categories.
    """

    source: str
    layout: str
    fingerprint: str
    categories: tuple[Category, ...]
    counts: tuple[Count, ...]
    shards: tuple[Shard, ...]
    findings: tuple[Finding, ...]
    settings: dict[str, object]
    not_converted: tuple[str, ...] = ()

    def shapes(self, split: str) -> int:
        """Clouds of a split."""
        return sum(count.shapes for count in self.counts if count.split == split)

    def category(self, name: str) -> Category:
        """A category by its name; raises KeyError."""
        for category in self.categories:
            if category.name == name:
                return category
        raise KeyError(name)

    def parts_in(self, split: str) -> frozenset[str]:
        """Names of the parts, as `part_names` gives them, that have a point in a split."""
        found = {
            (count.category, part)
            for count in self.counts
            if count.split == split
            for part, points in count.parts.items()
            if points
        }
        parts = [(category.name, part) for category in self.categories for part in category.parts]
        names = part_names(self.categories)
        return frozenset(name for name, part in zip(names, parts, strict=True) if part in found)

    def to_text(self) -> str:
        """As JSON."""
        value = {
            "format": FORMAT,
            "source": self.source,
            "layout": self.layout,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "not_converted": self.not_converted,
            "categories": [category.to_json() for category in self.categories],
            "counts": [asdict(count) for count in self.counts],
            "shards": [asdict(shard) for shard in self.shards],
            "findings": [finding.to_json() for finding in self.findings],
        }
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str, file: str = MANIFEST) -> Manifest:
        """Raises BadInput where the text is no manifest of this format."""
        try:
            value = json.loads(text)
            found = value["format"]
            if found == FORMAT:
                return cls(
                    source=value["source"],
                    layout=value["layout"],
                    fingerprint=value["fingerprint"],
                    categories=tuple(Category.from_json(item) for item in value["categories"]),
                    counts=tuple(Count(**item) for item in value["counts"]),
                    shards=tuple(Shard(**item) for item in value["shards"]),
                    findings=tuple(Finding.from_json(item) for item in value["findings"]),
                    settings=value["settings"],
                    not_converted=tuple(value.get("not_converted", ())),
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(
                "bad_manifest",
                f"is no manifest of a data set ({_why(error)}). Give the {MANIFEST} that "
                "conversion wrote.",
                file,
            ) from None
        raise BadInput(
            "other_format",
            f"has format {found!r:.40}, expected {FORMAT}. Convert the source again.",
            file,
        )

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Reads the manifest of a finished data set.

        Raises:
          BadInput: there is none, or it is of another format.
        """
        file = Path(folder) / MANIFEST
        try:
            content = file.read_bytes()
        except OSError:
            raise BadInput(
                "no_manifest",
                f"{folder} is no finished data set: it has no {MANIFEST}. Run pointnet-parts "
                "convert.",
            ) from None
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise BadInput(
                "bad_manifest", "is no manifest of a data set (not UTF-8).", str(file)
            ) from None
        return cls.from_text(text, str(file))

    def overview(self) -> Sequence[str]:
        """What was converted and what was not, as lines for the screen; one for each category."""
        lines = []
        for category in self.categories:
            counts = [count for count in self.counts if count.category == category.name]
            splits = ", ".join(f"{count.shapes:,} {count.split}" for count in counts)
            if counts:
                shapes = counted(sum(count.shapes for count in counts), "shape")
                points = counted(sum(count.points for count in counts), "point")
                lines.append(f"{category.name} {splits}; {shapes}, {points}")
        left_out = len({finding.shape for finding in self.findings if finding.left_out})
        if left_out:
            lines.append(f"left out: {counted(left_out, 'shape')}, named in {MANIFEST}")
        if self.not_converted:
            lines.append(f"not converted: {', '.join(self.not_converted)} (--category all)")
        return lines

    def summary(self) -> Sequence[str]:
        """The counts as lines for the screen."""
        lines = []
        for count in self.counts:
            total = max(count.points, 1)
            parts = ", ".join(f"{name} {n / total:.1%}" for name, n in count.parts.items())
            lines.append(
                f"{count.split:<11}{count.category:<12}{count.shapes:>7,} shapes "
                f"{count.points:>11,} points  ({parts}; unannotated "
                f"{count.unannotated / total:.1%})"
            )
        return lines


def _why(error: Exception) -> str:
    """Why a text is no manifest."""
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: line {error.lineno}, column {error.colno}"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return f"{error!r:.80}"
