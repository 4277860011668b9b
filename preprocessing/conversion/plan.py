"""Which shape goes into which split and which record file; no shape is read for it.

Within a category, shapes are ordered by a hash of seed and id: the first go to test, the next to
val, the rest to train. `convert` counts them, so that each split gets exactly its share. Deliveries
of growing data use a threshold on the hash instead: no shape ever changes its split.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from preprocessing.conversion.checks import reasons
from preprocessing.conversion.manifest import left_out_shapes
from preprocessing.conversion.records import SUFFIX
from preprocessing.datasets.base import Listing, Shape
from preprocessing.settings import DataSettings, SplitFractions
from schema.errors import Finding, UserError, counted
from schema.record import SPLITS, UNLABELLED

# The finding for a labelled shape in which no point has a label.
NO_LABELS = "no_labels"
# A shape that is listed in two splits goes to the first of these.
HELD_OUT_FIRST = ("test", "val", "train")

Key = tuple[str, str]


@dataclass(frozen=True)
class ShardPlan:
    """One record file to write, "<split>/part-00000-of-00003.tfrecord.gz", and its shapes."""

    file: str
    shapes: tuple[Shape, ...]
    shape_ids: tuple[str, ...]

    @property
    def split(self) -> str:
        return self.file.split("/")[0]


@dataclass(frozen=True)
class Plan:
    """All record files, and problems of the listing and of the splits."""

    shards: tuple[ShardPlan, ...]
    findings: tuple[Finding, ...]


def make_plan(
    listing: Listing, settings: DataSettings, found: Sequence[Finding] = (), by_id: bool = False
) -> Plan:
    """Assigns shapes to splits, and those of a split in mixed order to files of about equal size.

    Shapes that an earlier plan `found` unreadable are left out. With `by_id`, a shape's split
    depends only on its category, its id and the seed. UserError `too_few_shapes`: fewer than three
    labelled ones.
    """
    left_out, unlabelled = left_out_shapes(found), _without_labels(found)
    shapes = [shape for shape in listing.shapes if _key(shape) not in left_out]
    labelled = [s for s in shapes if s.annotations and _key(s) not in unlabelled]
    if len({_key(shape) for shape in labelled}) < len(SPLITS):
        without = f"{len(shapes) - len(labelled):,} without labels"
        labels = counted(len(labelled), "labelled shape")
        message = f"found {labels} and {without}, expected at least 3: for train, val and test."
        lines = [message, *reasons([*listing.findings, *found])]
        raise UserError("too_few_shapes", "\n  ".join(lines))
    findings = list(listing.findings)
    split_of = assign_splits(labelled, settings.split, settings.seed, findings, by_id)
    by_split = defaultdict(list)
    for shape in shapes:
        by_split[split_of.get(_key(shape), UNLABELLED)].append(shape)

    times = Counter(name for _, name in {_key(shape) for shape in shapes})
    if repeated := {name for name, count in times.items() if count > 1}:
        found_ids = f"{counted(len(repeated), 'id')} in several categories, first {min(repeated)}"
        findings.append(Finding("duplicate_id", f"{found_ids}: stored as <category>/<id>."))
    shards = []
    for split in (*SPLITS, UNLABELLED):
        mixed = sorted(by_split[split], key=lambda s: _hash(f"order {settings.seed}", *_key(s)))
        total = max(sum(shape.size for shape in mixed), 1)
        files = max(1, round(total / (settings.shard_megabytes * 1e6)))
        groups, before = defaultdict(list), 0
        for shape in mixed:
            groups[before * files // total].append(shape)
            before += shape.size
        for index, group in enumerate(groups.values()):
            file = f"{split}/part-{index:05d}-of-{len(groups):05d}{SUFFIX}"
            ids = tuple("/".join(_key(s)) if s.name in repeated else s.name for s in group)
            shards.append(ShardPlan(file, tuple(group), ids))
    return Plan(tuple(shards), tuple(findings))


def must_plan_again(plan: Plan, found: Sequence[Finding], filled: Collection[str]) -> bool:
    """Whether reading a plan's shapes showed that labelled ones have no label, or emptied a split.

    `found` are the findings from reading, `filled` the splits that got at least one shape.
    """
    splits = {_key(shape): shard.split for shard in plan.shards for shape in shard.shapes}
    if any(splits.get(key) in SPLITS for key in _without_labels(found)):
        return True
    return not set(SPLITS) <= set(filled) and not splits.keys().isdisjoint(left_out_shapes(found))


def assign_splits(
    shapes: Sequence[Shape],
    fractions: SplitFractions,
    seed: int,
    findings: list[Finding],
    by_id: bool = False,
) -> dict[Key, str]:
    """The split of each of three or more labelled shapes, by category and name.

    Official splits are kept, unless another split would stay empty: that is a finding.
    """
    split_of: dict[Key, str] = {}
    for split in reversed(HELD_OUT_FIRST):
        split_of |= {_key(shape): split for shape in shapes if shape.split == split}
    fixed = by_id or bool(split_of)

    def place(key: Key) -> bytes:
        return _hash(str(seed), *(key if by_id else key[1:]))

    by_category = defaultdict(list)
    for key in sorted({_key(shape) for shape in shapes} - split_of.keys()):
        by_category[key[0]].append(key)
    for keys in by_category.values():
        keys.sort(key=place)
        sizes = split_sizes(len(keys), fractions)
        test, val = sizes["test"], sizes["val"]
        if by_id:
            places = [int.from_bytes(place(key)[:8], "big") / 2**64 for key in keys]
            test = bisect_left(places, fractions.test)
            val = bisect_left(places, fractions.test + fractions.val) - test
        splits = ["test"] * test + ["val"] * val + ["train"] * (len(keys) - test - val)
        split_of.update(zip(keys, splits, strict=True))

    for split in HELD_OUT_FIRST:
        counts = Counter(split_of.values())
        if not counts[split]:
            largest = max(SPLITS, key=counts.__getitem__)
            moved = min((key for key in split_of if split_of[key] == largest), key=place)
            split_of[moved] = split
            if fixed:
                message = f"{split} had no shape: {moved[1]} was moved there from {largest}."
                findings.append(Finding("split_filled", message, "", 0, *moved))
    return split_of


def split_sizes(shapes: int, fractions: SplitFractions) -> dict[str, int]:
    """Whole numbers near the shares that add up to `shapes`; each at least 1 from 3 shapes on."""
    exact = {split: getattr(fractions, split) * shapes for split in SPLITS}
    sizes = {split: int(exact[split] + 1e-9) for split in SPLITS}
    # Largest remainders first; train before the others where they are equal.
    by_remainder = sorted(SPLITS, key=lambda split: sizes[split] - exact[split])
    for split in by_remainder[: shapes - sum(sizes.values())]:
        sizes[split] += 1
    for split in SPLITS:
        if shapes >= len(SPLITS) and not sizes[split]:
            sizes[max(SPLITS, key=lambda name: sizes[name])] -= 1
            sizes[split] = 1
    return sizes


def _without_labels(found: Iterable[Finding]) -> set[Key]:
    return {(f.category, f.shape) for f in found if f.code == NO_LABELS}


def _key(shape: Shape) -> Key:
    return shape.category, shape.name


def _hash(seed: str, *names: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{'/'.join(names)}".encode()).digest()
