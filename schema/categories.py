"""Categories, their parts and the colours parts are drawn in: the one table of parts.

The order of a category's parts is the order of its labels in ShapeNet's part benchmark
(`shapenetcore_partanno_segmentation_benchmark_v0`, labels counted from 1 there, from 0 here). The
names are those of the `PartAnnotation` archive's metadata.json. That metadata names 42 parts where
the benchmark has 50: in eight categories the points of no named part form a part of their own,
given here as `rest`.

A data set may bring categories of its own (its metadata.json): they get the same type, and travel
in the data set's manifest.
"""

from __future__ import annotations

from dataclasses import dataclass

# Okabe and Ito's eight colours, told apart in the common forms of colour blindness, without black;
# source: https://jfly.uni-koeln.de/color/
PART_COLOURS = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # green
    "#CC79A7",  # purple
    "#56B4E9",  # sky blue
    "#D55E00",  # vermilion
    "#F0E442",  # yellow
)
UNANNOTATED_COLOUR = "#999999"


@dataclass(frozen=True)
class Category:
    """A kind of shape and the parts it is made of.

    Attributes:
      name: e.g. "Airplane".
      directory: the folder its shapes stand in, ShapeNet's synset offset.
      parts: names of its parts; a label is an index into them.
      rest: the part that points of no named part belong to, or None where such points are simply
        not annotated.
    """

    name: str
    directory: str
    parts: tuple[str, ...]
    rest: str | None = None

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError(f"category {self.name} has no parts; it needs at least one")
        if len(set(self.parts)) != len(self.parts):
            raise ValueError(f"category {self.name} names a part twice: {', '.join(self.parts)}")
        if self.rest is not None and self.rest not in self.parts:
            raise ValueError(
                f"category {self.name}: the part for unannotated points, {self.rest!r}, is not one "
                f"of its parts ({', '.join(self.parts)})"
            )

    @property
    def colours(self) -> tuple[str, ...]:
        """One colour a part, as #RRGGBB; they repeat after seven."""
        return tuple(PART_COLOURS[i % len(PART_COLOURS)] for i in range(len(self.parts)))

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "directory": self.directory,
            "parts": list(self.parts),
            "rest": self.rest,
            "colours": list(self.colours),
        }

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


def class_ranges(categories: tuple[Category, ...]) -> tuple[tuple[int, int], ...]:
    """The model's classes of each category: [start, end) into its K logits.

    The classes of all categories stand one behind the other, so that a label (an index into its
    category's parts) becomes a class by adding `start`; with one category they are the same.
    """
    ranges = []
    start = 0
    for category in categories:
        ranges.append((start, start + len(category.parts)))
        start += len(category.parts)
    return tuple(ranges)


def part_names(categories: tuple[Category, ...]) -> tuple[str, ...]:
    """A name for each of the model's classes, as it stands in metrics, bounds and reports.

    "wing" with a single category, "Airplane wing" with several.
    """
    if len(categories) == 1:
        return categories[0].parts
    return tuple(f"{category.name} {part}" for category in categories for part in category.parts)
