"""What every layout's reader offers: a cheap list of shapes, and one shape at a time.

The list is made once, by the program that plans a conversion; no cloud is parsed for it. The shapes
are read wherever Beam puts them: a reader is opened there again from the same source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from preprocessing.findings import BadInput, Finding
from schema.categories import Category
from schema.record import CloudRecord


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a source, not read yet.

    Attributes:
      name: what the source calls it.
      category: the name of its category.
      size: bytes of its files.
      annotations: the label files that it has, in the layout's own terms; none: it is unlabelled.
      split: "train", "val" or "test" where an official list says so, else "".
      place: where it stands, where name and category do not tell.
    """

    name: str
    category: str
    size: int
    annotations: tuple[str, ...] = ()
    split: str = ""
    place: str = ""


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
      shapes: of the categories asked for, in the order of the source.
      findings: what is wrong already by the look of it.
      stamp: changes when any file of these shapes does.
    """

    shapes: list[Shape]
    findings: list[Finding]
    stamp: str


class Reader(Protocol):
    """One layout, opened on one source.

    Attributes:
      layout: its name.
      categories: all that the source names, by name.
    """

    layout: str
    categories: dict[str, Category]

    def list_shapes(self, categories: Iterable[str]) -> Listing:
        """The shapes of these categories, without reading any."""

    def read(self, shape: Shape, findings: list[Finding]) -> CloudRecord:
        """Reads one shape.

        Args:
          shape: one of the listing.
          findings: gets what is odd about the shape but does not keep it out.

        Raises:
          BadInput: it cannot be read.
        """


def chosen_categories(categories: dict[str, Category], chosen: str) -> list[str]:
    """The names that the setting `category` means; of a source with one category, that.

    Raises:
      BadInput: the source has no such category.
    """
    if chosen == "all":
        return list(categories)
    by_lower = {name.lower(): name for name in categories}
    if chosen.lower() not in by_lower:
        if len(categories) == 1:
            # There is nothing else that could be meant; whoever converts says so.
            return list(categories)
        raise BadInput(
            "unknown_category",
            f"no category {chosen!r} in this source; it has {', '.join(categories)}. Choose one of "
            "these, or all: --category NAME, or data.category in the config.",
        )
    return [by_lower[chosen.lower()]]
