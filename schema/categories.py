"""Categories, their parts and the parts' colours: the one table of parts.

The order of a category's parts is the order of its labels in ShapeNet's part benchmark
(`shapenetcore_partanno_segmentation_benchmark_v0`, labels counted from 1 there, from 0 here). The
names are those of the `PartAnnotation` archive's metadata.json. That metadata names 42 parts where
the benchmark has 50: in eight categories the points of no named part are a part of their own, given
here as `rest`.

A data set may have categories of its own; they have the same type and are listed in its manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise
from typing import Literal

from schema.colors import PART_COLOURS
from schema.errors import UserError
from schema.record import UNANNOTATED

UNANNOTATED_COLOUR = "#999999"

# Labels are stored and validated up to this many parts; schema.pbtxt has the same limit.
MAX_PARTS = 256
# The part of unannotated points, where the settings ask for one.
NONE_PART = "none"


@dataclass(frozen=True)
class Category:
    """A kind of shape and its parts.

    Attributes:
      name: e.g. "Airplane".
      directory: the folder with its shapes; ShapeNet's synset offset.
      parts: names of its parts; a label is an index into them.
      rest: the part of points without a named part; None where such points are unannotated.

    Raises:
      UserError: `bad_category`: no parts, more than MAX_PARTS, a part named twice, unknown `rest`.
    """

    name: str
    directory: str
    parts: tuple[str, ...]
    rest: str | None = None

    def __post_init__(self) -> None:
        count = len(self.parts)
        repeated = sorted({part for part in self.parts if self.parts.count(part) > 1})
        problem = ""
        if not 1 <= count <= MAX_PARTS:
            problem = f"has {count} parts, expected 1 to {MAX_PARTS}"
        elif repeated:
            problem = f"names the part {repeated[0]!r} twice, expected each part once"
        elif self.rest is not None and self.rest not in self.parts:
            problem = f"has no part {self.rest!r} for unannotated points"
        if problem:
            raise UserError("bad_category", f"category {self.name!r:.60} {problem}.")

    @property
    def colours(self) -> tuple[str, ...]:
        """A colour of its own for each part, as #RRGGBB."""
        return PART_COLOURS[: len(self.parts)]

    @property
    def rest_label(self) -> int:
        """The label of a point without a named part."""
        return UNANNOTATED if self.rest is None else self.parts.index(self.rest)

    def label_of(self, part: str) -> int:
        """The label of a part; that of unannotated points where the category lacks it."""
        return self.parts.index(part) if part in self.parts else UNANNOTATED

    def with_unannotated(self, mode: Literal["auto", "ignore", "part"]) -> Category:
        """The category with points of no named part as the setting `data.unannotated` says.

        "ignore": they have no label, and `rest` is not a part; "part": they are `rest`, or the
        added part "none"; "auto": as the table of categories says.
        """
        if mode == "ignore" and self.rest is not None:
            parts = tuple(part for part in self.parts if part != self.rest)
            return replace(self, parts=parts, rest=None)
        if mode == "part" and self.rest is None:
            parts = self.parts if NONE_PART in self.parts else (*self.parts, NONE_PART)
            return replace(self, parts=parts, rest=NONE_PART)
        return self

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "parts": list(self.parts), "colours": list(self.colours)}

    @classmethod
    def from_json(cls, value: dict) -> Category:
        return cls(value["name"], value["directory"], tuple(value["parts"]), value.get("rest"))


SHAPENET_CATEGORIES = (
    Category("Airplane", "02691156", ("body", "wing", "tail", "engine")),
    Category("Bag", "02773838", ("handle", "body")),
    Category("Cap", "02954340", ("panels", "peak")),
    Category("Car", "02958343", ("roof", "hood", "wheel", "body"), rest="body"),
    Category("Chair", "03001627", ("back", "seat", "leg", "arm")),
    Category("Earphone", "03261776", ("earphone", "headband", "cable"), rest="cable"),
    Category("Guitar", "03467517", ("head", "neck", "body")),
    Category("Knife", "03624134", ("blade", "handle")),
    Category("Lamp", "03636649", ("base", "lampshade", "canopy", "tube"), rest="tube"),
    Category("Laptop", "03642806", ("keyboard", "screen"), rest="screen"),
    Category(
        "Motorbike",
        "03790512",
        ("gas_tank", "seat", "wheel", "handle", "light", "frame"),
        rest="frame",
    ),
    Category("Mug", "03797390", ("handle", "body"), rest="body"),
    Category("Pistol", "03948459", ("barrel", "handle", "trigger_and_guard")),
    Category("Rocket", "04099429", ("body", "fin", "nose")),
    Category("Skateboard", "04225987", ("wheel", "deck", "bearing"), rest="bearing"),
    Category("Table", "04379243", ("top", "leg", "support"), rest="support"),
)


def class_ranges(categories: Sequence[Category]) -> tuple[tuple[int, int], ...]:
    """The model's classes of each category, [start, end) into its K logits: class = start + label.

    Classes are the parts of the first category, then of the second, and so on.
    """
    ends = list(accumulate(len(category.parts) for category in categories))
    return tuple(pairwise([0, *ends]))


def part_names(categories: Sequence[Category]) -> tuple[str, ...]:
    """A name for each of the model's classes, as in metrics, bounds and reports.

    "wing" with a single category, "Airplane wing" with several.
    """
    if len(categories) == 1:
        return categories[0].parts
    return tuple(f"{category.name} {part}" for category in categories for part in category.parts)
