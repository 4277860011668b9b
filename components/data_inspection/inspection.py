"""`pointnet-parts inspect`: looks at a source, prints tables, writes a page."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from components.data_inspection.page import MARK, build_shape_page, build_survey_page
from components.data_inspection.shape_view import look_at_shape
from components.data_inspection.sources import made_up, open_source
from components.data_inspection.survey import take_survey
from components.data_inspection.terminal_table import (
    finding_line,
    print_shape,
    print_shape_findings,
    print_survey,
)
from components.settings import ValidationSettings
from preprocessing.settings import DataSettings
from schema.atomic import write_atomically
from schema.errors import UserError

# The mark of our pages stands within so many bytes.
_HEAD = 1000


def inspect_data(
    source: str,
    data: DataSettings,
    validation: ValidationSettings,
    output: str | None,
    pictures: int,
    limit: int | None,
    console: Console,
) -> None:
    """Shows what a source holds.

    Args:
      source: see sources.open_source.
      data: which category, and how raw shapes are read and split.
      validation: the limits of the checks.
      output: the page to write; None: none.
      pictures: clouds of each category to draw.
      limit: shapes to look at, evenly spread; None: all.
      console: where the tables go.

    Raises:
      UserError: the source cannot be used, or the page cannot be written there. Where the source
        could be opened, what was found is shown before.
    """
    page = None if output is None else _page_file(output)
    survey = take_survey(open_source(source, data), validation, pictures, limit)
    print_survey(survey, console, page is not None)
    if page is not None:
        _write(page, build_survey_page(survey), console)
    if not survey.read:
        reason = (
            f"; the first reason: {finding_line(survey.findings[0])}" if survey.findings else ""
        )
        raise UserError("no_clouds", f"{source} holds no cloud that can be read{reason}")


def inspect_shape(
    source: str,
    shape_id: str,
    data: DataSettings,
    validation: ValidationSettings,
    output: str | None,
    console: Console,
) -> None:
    """Shows one shape of a source; arguments and errors as of `inspect_data`."""
    page = None if output is None else _page_file(output)
    opened = open_source(source, data)
    views, findings = look_at_shape(opened, shape_id, validation)
    for view in views:
        print_shape(view, console)
    print_shape_findings(findings, console)
    if page is not None:
        categories = [view.category for view in views if view.category is not None]
        html = build_shape_page(source, shape_id, views, findings, bool(made_up(categories)))
        _write(page, html, console)


def _page_file(output: str) -> Path:
    """Makes sure, before the work, that the page can be written and takes nothing's place.

    Raises:
      UserError: it cannot, or something stands there that is no page of ours.
    """
    page = Path(output).expanduser()
    try:
        with page.open("rb") as file:
            ours = MARK.encode() in file.read(_HEAD)
    except FileNotFoundError:
        ours = True
    except OSError as error:
        raise _cannot_write(page, error) from None
    if not ours:
        raise UserError(
            "not_ours",
            f"{page} is no page of pointnet-parts inspect, so it is not replaced. Give another "
            "--output, or remove it yourself.",
        )
    if not os.access(page.absolute().parent, os.W_OK):
        raise UserError(
            "cannot_write",
            f"{page.absolute().parent} is no folder that can be written to. Give another --output.",
        )
    return page


def _write(page: Path, html: str, console: Console) -> None:
    try:
        write_atomically(page, html)
    except OSError as error:
        raise _cannot_write(page, error) from None
    console.print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)


def _cannot_write(page: Path, error: OSError) -> UserError:
    reason = (error.strerror or str(error)).lower()
    return UserError("cannot_write", f"{page}: {reason}. Give another --output.")
