"""A survey, or one shape, as an HTML page of pictures; it needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.data_inspection.shape_view import ShapeView
from components.data_inspection.survey import (
    CONSEQUENCES,
    KeptCloud,
    NotedFinding,
    Survey,
)
from components.data_inspection.terminal_table import MOST_FINDINGS, shape_rows
from components.data_inspection.wording import counted, median_text, printable
from components.html_page import render
from preprocessing.progress import progress
from reports.charts import BLUE, GREEN, INK, VERMILION, new_figure, to_png
from reports.cloud_picture import draw_cloud
from schema.categories import UNANNOTATED_COLOUR, Category
from schema.record import UNLABELLED

# By this a page of ours is known from a file of the user's.
MARK = '<meta name="generator" content="pointnet-parts inspect">'

_SURVEY_TEMPLATE = Path(__file__).with_name("page.html")
_SHAPE_TEMPLATE = Path(__file__).with_name("shape_page.html")
_SPLIT_COLOURS = (BLUE, VERMILION, GREEN, "#CC79A7")
_HISTOGRAM_BINS = 30
# Of the histogram, in inches: on a desk, on a phone.
_WIDE, _NARROW = (8.4, 2.6), (3.6, 2.6)
_LARGE = 2.0


@dataclass(frozen=True)
class DrawnCloud:
    """A picture and its texts."""

    picture: bytes
    description: str
    caption: str


def build_survey_page(survey: Survey) -> str:
    """The page of a survey."""
    clouds = sum(len(found.kept) for found in survey.categories)
    drawn: list[list[DrawnCloud]] = []
    with progress("Drawing", clouds, lambda: sum(map(len, drawn)), "clouds"):
        for found in survey.categories:
            drawn.append([])
            for kept in found.kept:
                drawn[-1].append(_drawn(kept, found.category))
    sizes = {split: sizes for split, sizes in survey.sizes.items() if sizes}
    page = render(
        _SURVEY_TEMPLATE,
        survey=survey,
        categories=list(zip(survey.categories, drawn, strict=True)),
        labelled_splits=[split for split in survey.splits if split != UNLABELLED],
        by_code=survey.findings_by_code(),
        findings=survey.findings[:MOST_FINDINGS],
        consequences=CONSEQUENCES,
        histogram=draw_sizes(sizes) if sizes else None,
        narrow_histogram=draw_sizes(sizes, _NARROW) if sizes else None,
        counted=counted,
        median_text=median_text,
        histogram_text=describe_sizes(sizes),
        unannotated_colour=UNANNOTATED_COLOUR,
        unlabelled=UNLABELLED,
    )
    return _finished(page)


def build_shape_page(
    source: str,
    shape_id: str,
    views: Sequence[ShapeView],
    findings: Sequence[NotedFinding],
    made_up: bool,
) -> str:
    """The page of one shape; more than one cloud may bear its name."""
    page = render(
        _SHAPE_TEMPLATE,
        source=source,
        shape_id=shape_id,
        views=[(view, shape_rows(view), _drawn_large(view)) for view in views],
        findings=findings,
        made_up=made_up,
        unannotated_colour=UNANNOTATED_COLOUR,
    )
    return _finished(page)


def _finished(page: str) -> str:
    # A file's name may hold what is no character.
    return page.encode(errors="backslashreplace").decode()


def _drawn(cloud: KeptCloud, category: Category, scale: float = 1.0) -> DrawnCloud:
    return DrawnCloud(
        draw_cloud(cloud.points, cloud.labels, category.colours, scale),
        f"{cloud.shape_id}, {category.name}: {_shares(cloud.labels, category)}",
        f"{cloud.shape_id}, {cloud.split}, {counted(cloud.size, 'point')}",
    )


def _drawn_large(view: ShapeView) -> DrawnCloud | None:
    if view.kept is None:
        return None
    return _drawn(view.kept, view.category or Category(view.category_name, "", ("?",)), _LARGE)


def _shares(labels: np.ndarray, category: Category) -> str:
    """What a person sees who does not see the picture."""
    shares = [(float((labels == index).mean()), part) for index, part in enumerate(category.parts)]
    seen = [f"{part} {share:.0%}" for share, part in shares if share]
    rest = 1 - sum(share for share, _ in shares)
    if rest > 0.005 or not seen:
        seen.append(f"unannotated {rest:.0%}")
    return ", ".join(seen)


def draw_sizes(sizes: dict[str, list[int]], inches: tuple[float, float] = _WIDE) -> bytes:
    """Draws how many clouds have how many points, the splits upon each other.

    Args:
      sizes: points of each cloud, by split; at least one.
      inches: width and height of the picture.

    Returns:
      A PNG.
    """
    figure, (axes,) = new_figure(*inches, 1)
    every = np.concatenate([np.array(values) for values in sizes.values()])
    low, high = int(every.min()), int(every.max())
    if high > 30 * low:
        edges = np.geomspace(low, high + 1, _HISTOGRAM_BINS + 1)
        axes.set_xscale("log")
    else:
        bins = min(_HISTOGRAM_BINS, high - low + 1)
        edges = np.linspace(low - 0.5, high + 0.5, bins + 1)
        axes.xaxis.get_major_locator().set_params(integer=True)
        # A few sizes only would make bars as wide as the page.
        axes.set_xlim(min(low, high - 20) - 1, max(high, low + 20) + 1)
    axes.hist(
        list(sizes.values()),
        bins=edges,
        stacked=True,
        rwidth=0.9,
        color=[_SPLIT_COLOURS[i % len(_SPLIT_COLOURS)] for i in range(len(sizes))],
        label=[printable(split).replace("$", r"\$") for split in sizes],
    )
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("points of a cloud", color=INK)
    axes.set_ylabel("clouds", color=INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(which="minor", colors=INK)
    axes.legend(
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(sizes),
    )
    return to_png(figure)


def describe_sizes(sizes: dict[str, list[int]]) -> str:
    """The histogram in words."""
    return "; ".join(
        f"{split}: {counted(len(values), 'cloud')} of {min(values):,} to "
        f"{counted(max(values), 'point')}"
        for split, values in sizes.items()
    )
