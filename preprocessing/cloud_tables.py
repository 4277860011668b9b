"""Clouds as text, one point a line: with or without a header, in columns of any separator."""

from __future__ import annotations

import codecs
import contextlib
import csv

import numpy as np

from preprocessing.cloud_columns import (
    MAX_HEADER_BYTES,
    Columns,
    FileCloud,
    choose_columns,
    finite_points,
    is_number,
    whole_numbers,
)
from preprocessing.findings import BadInput
from preprocessing.number_table import DECIMAL_COMMA, comma_hint, parse_labels, parse_table

# The separator is the first of these in the first line; else it is blanks.
_SEPARATORS = (";", ",", "\t")


def table_columns(start: bytes, file: str, label: str | None) -> Columns:
    """The table's columns, from its first bytes, a whole line at least."""
    head = _Head(start, file, label)
    return Columns("columns", tuple(head.columns), head.has_labels)


def parse_cloud_table(content: bytes, file: str, label: str | None) -> FileCloud:
    """Reads a table of x y z, or x y z label, or of named columns.

    Args:
      content: of the file.
      file: its name, for messages.
      label: name of the label's column; None takes a common one.

    Raises:
      BadInput: it is no such table; names the line.
    """
    head = _Head(content, file, label)
    if not head.named and head.separator is None:
        table = parse_table(content, len(head.columns), file)
        points = finite_points(table[:, :3], file, 1)
        if not head.has_labels:
            return FileCloud(points, None, 1)
        # Should that not do, once more by words: then the message has the line and what it holds.
        with contextlib.suppress(BadInput):
            return FileCloud(points, whole_numbers(table[:, 3], file), 1)
    lines = _text(content, file).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    first = 2 if head.named else 1
    return parse_rows(lines[first - 1 :], head.separator, head.columns, head.places, file, first)


def parse_rows(
    lines: list[str],
    separator: str | None,
    columns: list[str],
    places: tuple[int, ...],
    file: str,
    first_line: int,
) -> FileCloud:
    """Reads the columns at `places` from lines that each hold a word for every column.

    Args:
      lines: one point each.
      separator: between words; None: blanks.
      columns: the columns' names.
      places: of x, y, z and perhaps the label.
      file: its name, for messages.
      first_line: the file's line that lines[0] is.

    Raises:
      BadInput: names the line.
    """
    points, labels = [], []
    for number, line in enumerate(lines, first_line):
        words = _words(line, separator, file, number)
        if len(words) != len(columns):
            raise BadInput(
                "wrong_columns",
                f"found {len(words)} columns ({line.strip()[:40]!r}), expected {len(columns)} as "
                "in the lines before. Correct the line (a file cut short often ends so) or remove "
                "the file.",
                file,
                number,
            )
        for place in places[:3]:
            if len(words[place].split()) != 1:
                raise BadInput(
                    "not_a_number",
                    f"found {words[place][:40]!r} in column {columns[place]}, expected a number. "
                    "Correct the line or remove the file.",
                    file,
                    number,
                )
        points.append(" ".join([words[place] for place in places[:3]]))
        if len(places) > 3:
            labels.append(words[places[3]].strip())
    try:
        table = parse_table("\n".join(points).encode(), 3, file)
    except BadInput as error:
        line_number = error.line + first_line - 1 if error.line else 0
        raise BadInput(error.code, error.sentence, file, line_number) from None
    points_read = finite_points(table, file, first_line)
    return FileCloud(points_read, _label_words(labels) if labels else None, first_line)


def _label_words(words: list[str]) -> np.ndarray | list[str]:
    """int64 [n] where all words are whole numbers, else the words."""
    # Empty words at the end would come back as fewer numbers.
    if all(len(word.split()) == 1 for word in words):
        with contextlib.suppress(BadInput):
            return parse_labels("\n".join(words).encode(), "")
    return words


class _Head:
    """What a table's first line says.

    Attributes:
      named: whether it is a header.
      separator: between words; None: blanks.
      columns: their names; x, y, z and label where there is no header.
      places: of x, y, z and perhaps the label among them.
    """

    def __init__(self, start: bytes, file: str, label: str | None) -> None:
        line = _first_line(start, file).lstrip("/# ")  # CloudCompare begins a header with //.
        words = line.split()
        if not words:
            raise BadInput(
                "empty_file",
                "has nothing in its first line, expected x y z, with or without a label. Restore "
                "the file, or remove the empty line.",
                file,
                1,
            )
        self.separator: str | None = None
        if not all(map(is_number, words)):
            self.separator = next((mark for mark in _SEPARATORS if mark in line), None)
            _refuse_commas(words, file)
            words = [word.strip() for word in _words(line, self.separator, file, 1)]
            _refuse_commas(words, file)
        self.named = not all(map(is_number, words))
        if self.named:
            self.columns = words
            self.places = choose_columns(words, label, file, 1)
        elif len(words) in (3, 4):
            self.columns = ["x", "y", "z", "label"][: len(words)]
            self.places = tuple(range(len(words)))
        else:
            raise BadInput(
                "wrong_columns",
                f"found {len(words)} columns without names, expected x y z or x y z label. Name "
                "more columns in a first line, for example x,y,z,nx,ny,nz,label.",
                file,
                1,
            )
        self.has_labels = len(self.places) > 3


def _refuse_commas(words: list[str], file: str) -> None:
    """Raises BadInput where a first line is no header but begins with numbers such as 0,29."""
    start = words[:3]
    commas = [word for word in start if DECIMAL_COMMA.fullmatch(word)]
    if len(start) == 3 and commas and all(w in commas or is_number(w) for w in start):
        raise BadInput(
            "not_a_number",
            f"found {commas[0][:40]!r}, expected a number{comma_hint(commas[0])}.",
            file,
            1,
        )


def _first_line(content: bytes, file: str) -> str:
    start = content[:MAX_HEADER_BYTES].replace(b"\r", b"\n")
    return _text(start.split(b"\n", 1)[0], file)


def _text(content: bytes, file: str) -> str:
    """The text, with plain line ends."""
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    no_text = content.find(b"\0")
    # Text in UTF-16 is full of them, too, and there is another remedy for that.
    if no_text >= 0 and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadInput(
            "not_text",
            "is no text file (found a NUL byte), expected a point a line. Give a file of text, "
            "or restore it if it is damaged.",
            file,
            content.count(b"\n", 0, no_text) + 1,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            "wrong_encoding",
            f"found the byte 0x{content[error.start]:02x}, expected text in UTF-8. Save the file "
            "as UTF-8, or restore it if it is damaged.",
            file,
            content.count(b"\n", 0, error.start) + 1,
        ) from None


def _words(line: str, separator: str | None, file: str, number: int) -> list[str]:
    if separator is None:
        return line.split()
    try:
        # One line at a time: a quoted line break would shift the points against their lines.
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise BadInput(
            "not_csv",
            f"cannot be read as columns separated by {separator!r} ({error}). Correct the line.",
            file,
            number,
        ) from None
