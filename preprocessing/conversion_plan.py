"""What a conversion will write: which shape goes into which record file. Nothing is read for it."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass

from preprocessing.findings import Finding
from preprocessing.layout import Listing, Shape
from preprocessing.settings import DataSettings
from preprocessing.splits import assign_splits
from preprocessing.tfrecord import SUFFIX
from schema.record import SPLITS, UNLABELLED


@dataclass(frozen=True)
class ShardPlan:
    """One record file to be written.

    Attributes:
      file: its name relative to the data set.
      shapes: what goes in, in this order.
      shape_ids: their ids in the data set.
    """

    file: str
    shapes: tuple[Shape, ...]
    shape_ids: tuple[str, ...]

    @property
    def split(self) -> str:
        """The split that it belongs to."""
        return self.file.split("/")[0]

    def to_text(self) -> str:
        """As JSON: what Beam carries to a worker."""
        shapes = [list(asdict(shape).values()) for shape in self.shapes]
        return json.dumps({"file": self.file, "shapes": shapes, "shape_ids": self.shape_ids})

    @classmethod
    def from_text(cls, text: str) -> ShardPlan:
        """From what `to_text` gave."""
        value = json.loads(text)
        shapes = tuple(
            Shape(name, category, size, tuple(annotations), *rest)
            for name, category, size, annotations, *rest in value["shapes"]
        )
        return cls(value["file"], shapes, tuple(value["shape_ids"]))


@dataclass(frozen=True)
class ConversionPlan:
    """All record files, and what the listing already found wrong."""

    shards: tuple[ShardPlan, ...]
    findings: tuple[Finding, ...]


def make_plan(
    listing: Listing, settings: DataSettings, excluded: Collection[Shape] = ()
) -> ConversionPlan:
    """Splits the shapes and deals them to shards.

    Within a split the shapes stand in an order that a hash of seed and id gives, so that each file
    holds a mixture, and shards end where `shard_megabytes` of the source are reached.

    Args:
      listing: what the source holds.
      settings: shares, seed and shard size.
      excluded: shapes that are known to be unreadable.

    Raises:
      BadInput: there are too few labelled shapes for three splits.
    """
    without = set(excluded)
    shapes = [shape for shape in listing.shapes if shape not in without]
    labelled = [shape for shape in shapes if shape.annotations]
    by_split: dict[str, list[Shape]] = defaultdict(list)
    findings = list(listing.findings)
    unlabelled = len(shapes) - len(labelled)
    assigned = assign_splits(labelled, settings.split, settings.seed, findings, unlabelled)
    for shape, split in zip(labelled, assigned, strict=True):
        by_split[split].append(shape)
    by_split[UNLABELLED] = [shape for shape in shapes if not shape.annotations]

    twice = _names_in_two_categories(shapes)
    shards: list[ShardPlan] = []
    for split in (*SPLITS, UNLABELLED):
        order = sorted(by_split[split], key=lambda shape: _order(shape, settings.seed))
        groups = _groups(order, settings.shard_megabytes * 1e6)
        for index, group in enumerate(groups):
            ids = (f"{s.category}/{s.name}" if s.name in twice else s.name for s in group)
            file = f"{split}/part-{index:05d}-of-{len(groups):05d}{SUFFIX}"
            shards.append(ShardPlan(file, tuple(group), tuple(ids)))
    if twice:
        first = min(twice)
        findings.append(
            Finding(
                "duplicate_id",
                first if len(twice) == 1 else "",
                "",
                0,
                f"{len(twice)} ids stand in more than one category (the first: {first}); they are "
                "named <category>/<id> and stand in the same split. Nothing to do.",
                False,
            )
        )
    return ConversionPlan(tuple(shards), tuple(findings))


def shapes_to_exclude(
    listing: Listing,
    findings: Iterable[Finding],
    filled: Collection[str],
    excluded: Collection[Shape] = (),
) -> set[Shape]:
    """What the next plan must do without, should the unreadable shapes have been all of a split.

    Args:
      listing: what the source holds.
      findings: of every shape that was planned.
      filled: the splits that got at least one shape.
      excluded: what this plan did without already.

    Returns:
      All shapes that cannot be read; none where every split is filled, so that the plan stands.
    """
    if set(SPLITS).issubset(filled):
        return set()
    bad = {finding.shape for finding in findings if finding.left_out}
    unreadable = {shape for shape in listing.shapes if shape.name in bad}
    if unreadable.issubset(excluded):
        raise AssertionError("a split stayed empty though every shape in it was read")
    return unreadable.union(excluded)


def _names_in_two_categories(shapes: Sequence[Shape]) -> set[str]:
    seen: set[str] = set()
    twice: set[str] = set()
    for shape in shapes:
        (twice if shape.name in seen else seen).add(shape.name)
    return twice


def _groups(shapes: Sequence[Shape], size: float) -> list[list[Shape]]:
    """Cuts the shapes into runs of about `size` bytes, all about as large."""
    total = sum(shape.size for shape in shapes)
    share = total / max(1, round(total / size))
    groups: list[list[Shape]] = []
    end = before = 0.0
    for shape in shapes:
        if not groups or before >= end:
            groups.append([])
            end += share
            # One shape may be larger than several shares.
            end = max(end, before)
        groups[-1].append(shape)
        before += shape.size
    return groups


def _order(shape: Shape, seed: int) -> bytes:
    return hashlib.sha256(f"order {seed}\n{shape.category}/{shape.name}".encode()).digest()
