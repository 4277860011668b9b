"""What the page of segmented clouds holds, cloud by cloud, and the page itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.html_page import render
from components.turnable_cloud import (
    encode_colours,
    encode_parts,
    encode_points,
    evenly_spread,
)
from reports.cloud_picture import draw_cloud
from schema.categories import UNANNOTATED_COLOUR, Category

# Stands in the page's head: by it a page of ours is told from any other file.
GENERATOR = "pointnet-parts segment"


@dataclass(frozen=True)
class PartShare:
    """How much of a cloud is called a part: its colour #RRGGBB, its points and their share."""

    name: str
    colour: str
    points: int
    share: float


@dataclass(frozen=True)
class PageCloud:
    """A cloud as the page holds it.

    Attributes:
      name: of the cloud.
      category: its category's name.
      size: how many points it has; all of them are counted, some of them drawn.
      drawn: how many are drawn.
      certainty: mean probability of the named parts; NaN where no point has one.
      parts: the parts that points are called, and "no answer" where there is none.
      still: a PNG.
      points: the drawn ones, encoded for the script, see components/turnable_cloud.py.
      labels: their parts, so encoded.
      colours: so encoded.
    """

    name: str
    category: str
    size: int
    drawn: int
    certainty: float
    parts: tuple[PartShare, ...]
    still: bytes
    points: str
    labels: str
    colours: str


def page_cloud(
    name: str, points: np.ndarray, part: np.ndarray, certainty: np.ndarray, category: Category
) -> PageCloud:
    """Takes of a cloud what the page needs.

    Args:
      name: of the cloud.
      points: float32 [n, 3], n >= 1, raw coordinates.
      part: int64 [n], index into the category's parts; -1 without an answer.
      certainty: float32 [n], the probability of that part.
      category: whose parts these are.
    """
    known = zip(category.parts, category.colours, strict=True)
    shares = [
        _share(title, colour, part == index) for index, (title, colour) in enumerate(known)
    ] + [_share("no answer", UNANNOTATED_COLOUR, part < 0)]
    chosen = evenly_spread(len(points))
    answered = part >= 0
    return PageCloud(
        name=name,
        category=category.name,
        size=len(points),
        drawn=len(chosen),
        certainty=float(certainty[answered].mean()) if answered.any() else float("nan"),
        parts=tuple(share for share in shares if share.points),
        still=draw_cloud(points[chosen], part[chosen], category.colours),
        points=encode_points(points[chosen]),
        labels=encode_parts(part[chosen]),
        colours=encode_colours(category.colours),
    )


def render_page(clouds: list[PageCloud], model: str, failures: list[str]) -> str:
    """The page.

    Args:
      clouds: in the order in which they are shown.
      model: where the parts come from, for its head.
      failures: a sentence for each cloud that could not be segmented.
    """
    return render(
        Path(__file__).with_name("page.html"),
        clouds=clouds,
        model=model,
        failures=failures,
        generator=GENERATOR,
    )


def _share(name: str, colour: str, which: np.ndarray) -> PartShare:
    return PartShare(name, colour, int(which.sum()), float(which.mean()))
