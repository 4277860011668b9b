"""How ShapeNet's part benchmark counts categories and parts: what its three layouts share."""

from __future__ import annotations

import numpy as np

from preprocessing.part_annotation import NONE_PART
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.record import UNANNOTATED

BY_SYNSET = {category.directory: category for category in SHAPENET_CATEGORIES}
# The number of a category's first part when all 50 are counted.
FIRST_PART = {
    category.directory: sum(len(earlier.parts) for earlier in SHAPENET_CATEGORIES[:index])
    for index, category in enumerate(SHAPENET_CATEGORIES)
}


def benchmark_category(synset: str, unannotated: str) -> Category:
    """A category of the parts table, as the setting `unannotated` wants it."""
    known = BY_SYNSET[synset]
    if unannotated == "ignore" and known.rest is not None:
        parts = tuple(part for part in known.parts if part != known.rest)
        return Category(known.name, synset, parts)
    if unannotated == "part" and known.rest is None:
        return Category(known.name, synset, (*known.parts, NONE_PART), NONE_PART)
    return known


def unknown_label(numbers: np.ndarray, first: int, category: Category) -> tuple[int, str] | None:
    """Looks for a number that is no part of the category.

    Args:
      numbers: int64 [n], the benchmark's parts counted from `first`.
      first: the number of the category's first part; where it is 1, 0 is the unknown part.
      category: one of `benchmark_category`.

    Returns:
      Index of the first such number, and what was found and expected; None where all are parts.
    """
    named = BY_SYNSET[category.directory].parts
    lowest = 0 if first == 1 else first
    wrong = np.flatnonzero((numbers < lowest) | (numbers >= first + len(named)))
    if not wrong.size:
        return None
    return int(wrong[0]), (
        f"found label {numbers[wrong[0]]}, expected {lowest} to {first + len(named) - 1} "
        f"({category.name} has {', '.join(named)})."
    )


def part_labels(numbers: np.ndarray, first: int, category: Category) -> np.ndarray:
    """Our labels, int64 [n], from numbers of which `unknown_label` finds none wrong."""
    named = BY_SYNSET[category.directory].parts
    rest = UNANNOTATED if category.rest is None else category.parts.index(category.rest)
    index = [category.parts.index(p) if p in category.parts else UNANNOTATED for p in named]
    # The last one, which -1 finds, is the unknown part's.
    return np.array([*index, rest], np.int64)[np.maximum(numbers - first, -1)]
