"""A survey on a terminal; names from files are neither markup nor control codes there."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.inspection.survey import CONSEQUENCES, Survey
from schema.record import UNLABELLED

# Findings of one code: without a page, and beside a page that has more.
MOST_FINDINGS, FEW_FINDINGS = 200, 3


def print_survey(survey: Survey, console: Console, with_page: bool) -> None:
    """Prints clouds by category, parts and findings."""

    def line(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style), soft_wrap=True)

    line(f"{survey.name}: {survey.form}")
    if made_up := ", ".join(row.category.name for row in survey.categories if row.made_up):
        line(f"Made up by a program, no real shapes: {made_up}.")
    if survey.looked_at < survey.total:
        line(f"Only {survey.looked_at:,} of {survey.total:,} shapes were read, evenly spread.")
    for note in survey.notes:
        line(note)
    columns = ["category", *survey.splits, "refused", "unreadable", "points: min / median / max"]
    rows: list[list] = []
    for row in survey.categories:
        clouds = [len(row.sizes[split]) for split in survey.splits]
        rows.append([row.category.name, *clouds, row.refused, row.unreadable, row.points])
    clouds = [len(survey.sizes(split)) for split in survey.splits]
    rows.append(["all", *clouds, survey.refused, sum(r.unreadable for r in survey.categories), ""])
    _print(console, "Clouds", columns, rows)
    labelled = [split for split in survey.splits if split != UNLABELLED]
    columns = ["category", "part", "points", "share", *labelled]
    rows = []
    for row in survey.categories:
        for part in row.parts:
            having = [part.clouds.get(split, "") for split in labelled]
            rows.append([row.category.name, part.name, part.points, f"{part.share:.1%}", *having])
    if labelled:
        _print(console, "Parts of labelled clouds, and clouds that have them", columns, rows)
    for (consequence, code), texts in survey.findings.items():
        line(f"{code} ({len(texts):,}, {consequence}: {CONSEQUENCES[consequence]})", "bold")
        shown = texts[: FEW_FINDINGS if with_page else MOST_FINDINGS]
        for text in shown:
            line(f"  {text}")
        if len(shown) < len(texts):
            line(f"  ... and {len(texts) - len(shown):,} more.")
    if not survey.findings:
        line("No problem was found.")
    for stop in survey.stops:
        line(f"The pipeline would stop: {' '.join(stop.split())}", "bold red")


def printable(text: str) -> str:
    """The text with control characters and the like written out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _print(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        left = column in ("category", "part")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for row in rows:
        texts = (f"{value:,}" if isinstance(value, int) else value for value in row)
        table.add_row(*(Text(printable(text)) for text in texts))
    console.print(table)
