"""A survey, or one shape, as tables on a terminal.

Names come from files: nothing in them is taken for markup, and nothing that a terminal would obey
reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.data_inspection.shape_view import ShapeView
from components.data_inspection.survey import CONSEQUENCES, NotedFinding, Survey
from components.data_inspection.wording import counted, median_text, printable
from schema.record import UNLABELLED

# Findings that are listed, here or on the page; of each code where a page lists them all.
MOST_FINDINGS = 200
_FINDINGS_OF_A_CODE = 3


def print_survey(survey: Survey, console: Console, with_page: bool) -> None:
    """Prints what a source holds: by category, by part, and what was found.

    Args:
      survey: of the source.
      console: where to.
      with_page: whether a page lists the findings, so that some of each code are enough here.
    """
    _line(console, f"{survey.name}: {survey.form}")
    if survey.made_up:
        _line(console, f"Made up by a program, no real shapes: {', '.join(survey.made_up)}.")
    if survey.looked_at < survey.total:
        _line(
            console,
            f"Only {survey.looked_at:,} of {counted(survey.total, 'shape')} "
            f"{'was' if survey.looked_at == 1 else 'were'} looked at, evenly spread; all numbers "
            "are theirs.",
        )
    for note in survey.notes:
        _line(console, note)
    console.print(_category_table(survey))
    if survey.splits != (UNLABELLED,):
        console.print(_part_table(survey))
    _print_findings(survey, console, with_page)
    for stop in survey.stops:
        _line(console, f"The pipeline would stop: {stop}", "bold red")


def _category_table(survey: Survey) -> Table:
    unreadable = ["unreadable"] if survey.unreadable else []
    table = _table(
        "Clouds by category",
        ["category", *survey.splits, "refused", *unreadable, "points: min / median / max"],
    )
    for found in survey.categories:
        name = found.category.name
        numbers = [*(found.clouds[split] for split in survey.splits), found.refused]
        numbers += [survey.unreadable.get(name, 0) for _ in unreadable]
        points = f"{found.fewest:,} / {median_text(found.median)} / {found.most:,}"
        table.add_row(_text(name), *(f"{number:,}" for number in numbers), points)
    if len(survey.categories) > 1 or survey.refused:
        table.add_section()
        numbers = [*(survey.clouds(split) for split in survey.splits), survey.refused]
        numbers += [sum(survey.unreadable.values()) for _ in unreadable]
        table.add_row("all", *(f"{number:,}" for number in numbers), "")
    return table


def _part_table(survey: Survey) -> Table:
    splits = [split for split in survey.splits if split != UNLABELLED]
    table = _table(
        "Parts of the labelled clouds, and how many clouds have them",
        ["category", "part", "points", "share", *splits],
    )
    for found in survey.categories:
        name = found.category.name
        for part in found.parts:
            clouds = [f"{part.clouds[split]:,}/{found.clouds[split]:,}" for split in splits]
            table.add_row(
                _text(name), _text(part.name), f"{part.points:,}", f"{part.share:.1%}", *clouds
            )
            name = ""
        if found.unannotated:
            table.add_row(
                "",
                Text("unannotated", "italic"),
                f"{found.unannotated:,}",
                f"{found.unannotated_share:.1%}",
                *("" for _ in splits),
            )
        table.add_section()
    return table


def _print_findings(survey: Survey, console: Console, with_page: bool) -> None:
    if not survey.findings:
        _line(console, "Nothing was found wrong.")
        return
    table = _table("Findings", ["code", "number", "what follows"])
    for consequence, code, number in survey.findings_by_code():
        table.add_row(code, f"{number:,}", f"{consequence}: {CONSEQUENCES[consequence]}")
    table.columns[-1].justify = "left"
    console.print(table)
    left = MOST_FINDINGS
    on_page = with_page and len(survey.findings) <= MOST_FINDINGS
    for consequence, code, number in survey.findings_by_code():
        alike = [f for f in survey.findings if (f.consequence, f.code) == (consequence, code)]
        shown = min(_FINDINGS_OF_A_CODE, number) if with_page else min(left, number)
        left -= shown
        for finding in alike[:shown]:
            _line(console, f"{code}: {finding_line(finding)}")
        if shown < number:
            where = ", all on the page" if on_page else ""
            _line(console, f"{code}: ... and {number - shown:,} more{where}.")
    if with_page and not on_page:
        _line(console, f"The page lists the first {MOST_FINDINGS} findings.")


def finding_line(finding: NotedFinding) -> str:
    """Where and what, on one line."""
    return f"{finding.place}: {finding.sentence}" if finding.place else finding.sentence


def print_shape(view: ShapeView, console: Console) -> None:
    """Prints one shape."""
    table = Table(title=_text(f"Shape {view.shape_id}"), title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    for what, value in shape_rows(view):
        table.add_row(_text(what), _text(value))
    console.print(table)
    if view.category is None or not view.labelled:
        return
    table = _table("Its parts", ["part", "points", "share"])
    rows = list(zip(view.category.parts, view.parts, strict=True))
    if view.unannotated:
        rows.append(("unannotated", view.unannotated))
    for name, points in rows:
        table.add_row(_text(name), f"{points:,}", f"{points / max(view.points, 1):.1%}")
    console.print(table)


def shape_rows(view: ShapeView) -> list[tuple[str, str]]:
    """What there is to say of a shape besides its parts."""
    rows = [
        ("category", view.category_name),
        ("split", view.split),
        ("points", f"{view.points:,}"),
        ("labels", _labels_text(view)),
    ]
    if view.radius is not None and view.low is not None and view.high is not None:
        assert view.centroid is not None
        rows += [
            ("centroid (x, y, z)", _triple(view.centroid)),
            ("radius about it", f"{view.radius:.5g}"),
            ("bounding box, low", _triple(view.low)),
            ("bounding box, high", _triple(view.high)),
            (
                "bounding box, size",
                _triple([b - a for a, b in zip(view.low, view.high, strict=True)]),
            ),
        ]
    return rows


def _labels_text(view: ShapeView) -> str:
    if view.labelled:
        return "one a point"
    return "none" if view.split == UNLABELLED else "none that fit"


def print_shape_findings(findings: Sequence[NotedFinding], console: Console) -> None:
    """Prints what was found of a shape."""
    if not findings:
        _line(console, "Nothing was found wrong with it by itself.")
    for finding in findings:
        _line(console, f"{finding.code} ({finding.consequence}): {finding_line(finding)}")


def _triple(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        left = column in ("category", "part", "code")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    return table


def _text(text: str) -> Text:
    return Text(printable(text))


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(printable(text), style), soft_wrap=True)
