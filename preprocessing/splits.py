"""Which shape is learnt from, which chooses the checkpoint, which decides the blessing.

Within a category the shapes are ordered by a hash of seed and id; the first go to test, the next to
val, the rest to train. By rank, not by a threshold on the hash: a threshold gives each split a
random number of shapes (of 20, test gets 4 give or take 2), ranks give exactly its share. The price
is that the borders move when shapes are added, but only by as many places as the shares demand: one
shape more moves at most one other shape over each of the two borders, where a new shuffle would
move nearly all. Nothing depends on the order of files.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from preprocessing.findings import BadInput, Finding, counted
from preprocessing.layout import Shape
from preprocessing.settings import SplitFractions
from schema.record import SPLITS

# How far a split is held out of training. What could be in two stands in the first.
HELD_OUT_FIRST = ("test", "val", "train")


def assign_splits(
    shapes: Sequence[Shape],
    fractions: SplitFractions,
    seed: int,
    findings: list[Finding],
    unlabelled: int = 0,
) -> list[str]:
    """A split for each labelled shape.

    A shape with an official split keeps it. Shapes of one name, whatever their category, are taken
    for the same shape: they go to the same split. Each split gets at least one shape.

    Args:
      shapes: labelled shapes.
      fractions: shares of train, val and test.
      seed: another seed, another split.
      findings: gets what overrules an official split.
      unlabelled: how many more shapes there are, without labels; for the message.

    Returns:
      A name of SPLITS for each shape, in their order.

    Raises:
      BadInput: there are fewer than three different shapes.
    """
    by_category: dict[str, set[str]] = defaultdict(set)
    split_of: dict[str, str] = {}
    # A name in more than one category is counted in the first of them.
    for shape in sorted(shapes, key=lambda shape: shape.category):
        if shape.split:
            split_of[shape.name] = _more_held_out(shape.split, split_of.get(shape.name))
        elif not any(shape.name in names for names in by_category.values()):
            by_category[shape.category].add(shape.name)
    names = {shape.name for shape in shapes}
    if len(names) < len(SPLITS):
        without = f" ({unlabelled} without labels are there)" if unlabelled else ""
        raise BadInput(
            "too_few_shapes",
            f"found {counted(len(names), 'labelled shape')}{without}, expected at least "
            f"{len(SPLITS)}: one each to train, to validate and to test on. Add shapes, "
            "or set category to all.",
        )
    for category in sorted(by_category):
        ranked = sorted(by_category[category] - split_of.keys(), key=lambda n: _hash(n, seed))
        sizes = split_sizes(len(ranked), fractions)
        start = 0
        for split in HELD_OUT_FIRST:
            for name in ranked[start : start + sizes[split]]:
                split_of[name] = split
            start += sizes[split]
    official = {shape.name for shape in shapes if shape.split}
    for split, name, source in _fill_empty(split_of, seed):
        if official:
            findings.append(
                Finding(
                    "split_filled",
                    name,
                    "",
                    0,
                    f"no shape of {split} in the official lists or in a folder {split}: {name} "
                    f"was taken from {source}. Add shapes to {split}, at least one.",
                    False,
                )
            )
    return [split_of[shape.name] for shape in shapes]


def split_sizes(shapes: int, fractions: SplitFractions) -> dict[str, int]:
    """Whole numbers near the shares that add up to `shapes`; each at least 1 from 3 shapes on."""
    share = {split: getattr(fractions, split) * shapes for split in SPLITS}
    sizes = {split: int(share[split] + 1e-9) for split in SPLITS}
    # Largest remainders first; train before the others where they are equal.
    for split in sorted(SPLITS, key=lambda s: sizes[s] - share[s])[: shapes - sum(sizes.values())]:
        sizes[split] += 1
    if shapes >= len(SPLITS):
        for split in SPLITS:
            if not sizes[split]:
                sizes[max(SPLITS, key=lambda s: sizes[s])] -= 1
                sizes[split] = 1
    return sizes


def _fill_empty(split_of: dict[str, str], seed: int) -> list[tuple[str, str, str]]:
    """Gives each split a shape, taken from the split that has most; says which, and from where."""
    taken = []
    for split in HELD_OUT_FIRST:
        if split not in split_of.values():
            counts = {s: sum(1 for v in split_of.values() if v == s) for s in SPLITS}
            largest = max(SPLITS, key=lambda s: counts[s])
            moved = min(
                (n for n, s in split_of.items() if s == largest), key=lambda n: _hash(n, seed)
            )
            split_of[moved] = split
            taken.append((split, moved, largest))
    return taken


def _more_held_out(split: str, other: str | None) -> str:
    return split if other is None else min(split, other, key=HELD_OUT_FIRST.index)


def _hash(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode()).digest()
