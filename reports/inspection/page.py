"""A survey as an HTML page of pictures; it needs no other file and no network."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from reports.charts import BLUE, GREEN, INK, VERMILION, new_figure, to_png
from reports.cloud_picture import draw_cloud
from reports.html import render
from reports.inspection.survey import CONSEQUENCES, DrawnCloud, Survey
from reports.inspection.terminal import MOST_FINDINGS, printable
from schema.atomic import write_atomically
from schema.categories import Category
from schema.errors import UserError
from schema.record import UNLABELLED

# Our pages are recognised by this in their head.
_MARK = b'content="pointnet-parts inspect"'
_SPLIT_COLOURS = {"train": BLUE, "val": VERMILION, "test": GREEN}


def page_file(output: str) -> Path:
    """The page to write; UserError `cannot_write`, or `not_ours`: it would replace another file."""
    page = Path(output).expanduser()
    try:
        if page.exists() and _MARK not in page.read_bytes():
            message = f"{page} is not a page of pointnet-parts inspect. Give another --output."
            raise UserError("not_ours", message)
    except OSError as error:
        raise _cannot_write(page, error.strerror) from None
    if not os.access(page.absolute().parent, os.W_OK):
        raise _cannot_write(page, "its folder is not writable")
    return page


def write_page(survey: Survey, page: Path) -> None:
    """Writes the page of a survey; UserError `cannot_write`."""
    pictures: dict[str, list[tuple[DrawnCloud, bytes, str]]] = {}
    for row in survey.categories:
        for cloud in row.drawn:
            png = draw_cloud(cloud.points, cloud.labels, row.category.colours)
            described = _describe(cloud, row.category)
            pictures.setdefault(row.category.name, []).append((cloud, png, described))
    sizes = {split: found for split in survey.splits if (found := survey.sizes(split))}
    html = render(
        "inspection/page.html",
        survey=survey,
        histogram=_draw_sizes(sizes) if sizes else None,
        pictures=pictures,
        consequences=CONSEQUENCES,
        labelled=[split for split in survey.splits if split != UNLABELLED],
        most_findings=MOST_FINDINGS,
    )
    try:
        # A file's name may hold what is not a character.
        write_atomically(page, html.encode(errors="backslashreplace"))
    except OSError as error:
        raise _cannot_write(page, error.strerror) from None


def _cannot_write(page: Path, reason: object) -> UserError:
    return UserError("cannot_write", f"{page}: {reason}. Give another --output.")


def _describe(cloud: DrawnCloud, category: Category) -> str:
    """The picture in words: the share of each part."""
    shares = [(float(np.mean(cloud.labels == i)), part) for i, part in enumerate(category.parts)]
    shares.append((float(np.mean(cloud.labels < 0)), "unannotated"))
    parts = ", ".join(f"{part} {share:.0%}" for share, part in shares if share)
    return f"{cloud.shape_id}, {category.name}: {parts}"


def _draw_sizes(sizes: dict[str, list[int]]) -> bytes:
    """A histogram of the number of points of a cloud, the splits stacked, as PNG."""
    figure, (axes,) = new_figure(5.6, 2.6, 1)
    every = [size for found in sizes.values() for size in found]
    low, high = min(every), max(every)
    edges = np.linspace(low - 0.5, high + 0.5, min(30, high - low + 1) + 1)
    if high > 30 * low:
        edges = np.geomspace(low, high + 1, 31)
        axes.set_xscale("log")
    colours = [_SPLIT_COLOURS.get(split, "#CC79A7") for split in sizes]
    labels = [printable(split).replace("$", r"\$") for split in sizes]
    axes.hist(list(sizes.values()), bins=edges, stacked=True, color=colours, label=labels)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("points of a cloud", color=INK)
    axes.set_ylabel("clouds", color=INK)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return to_png(figure)
