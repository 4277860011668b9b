"""Clouds as text, one point a line: named columns, or x y z, or x y z label.

Words are found by array operations and converted by Arrow, about 50 ns a number.
"""

from __future__ import annotations

import codecs
import csv
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.clouds.columns import Columns, checked_labels, checked_points, places_of_axes
from schema.errors import UserError

# A header has to end within these bytes.
MAX_HEADER_BYTES = 2**16
# The separator is the first of these in the first line, otherwise blanks.
_SEPARATORS = (";", ",", "\t")
_NUMBER = re.compile(r"(?ai)[-+]?((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|inf|infinity)\Z")
_NUMERIC = re.compile(_NUMBER.pattern.replace(r"\.", "[.,]"))
_FRACTION = re.compile(rb"(?i)\d[.e]|\.\d")
_ZERO_LINE = np.uint16(int.from_bytes(b"0\n", "little"))


def text_columns(content: bytes, file: str) -> Columns:
    """The columns of a table; a first line with x, y and z or without any number names them.

    UserErrors, at once or when read: `empty_file`, `not_text`, `wrong_encoding`, `not_csv`,
    `wrong_columns`, `ambiguous_columns`, `not_a_number`, `not_a_label`.
    """
    start, second, *_ = [*re.split(rb"\r\n?|\n", content[:MAX_HEADER_BYTES], maxsplit=2), b""]
    line = checked_text(start, file).decode().lstrip("/# ")  # CloudCompare: "//x y z".
    words = line.split()
    # Numbers between blanks may have decimal commas, which do not separate.
    has_blanks = len(words) > 2 and all(map(_NUMERIC.match, words[:3]))
    separator = None if has_blanks else next((mark for mark in _SEPARATORS if mark in line), None)
    names = _split(line, separator, file, 1)
    if not names:
        raise UserError("empty_file", "has an empty first line, expected x y z.", file, 1)
    has_names = {"x", "y", "z"} <= set(map(str.lower, names)) or not any(map(_NUMERIC.match, names))
    if has_names:
        axes = places_of_axes(names, file, 1)
    else:
        if len(names) not in (3, 4):
            message = f"found {len(names)} columns without names, expected x y z or x y z label."
            raise UserError("wrong_columns", f"{message} Name them in a first line.", file, 1)
        numbers = [name for name in names if name]  # pandas leaves the name of an index empty.
        from_0, from_1 = ([str(first + i) for i in range(len(numbers))] for first in (0, 1))
        if numbers == from_0 or (numbers == from_1 and _FRACTION.search(second)):
            message = "the first line may be a point or number the columns. Name them there: x,y,z."
            raise UserError("ambiguous_columns", message, file, 1)
        axes, names = (0, 1, 2), ["x", "y", "z", "label"][: len(names)]
    table = Table(lambda: checked_text(content, file), separator, len(names), file, 1 + has_names)
    points = functools.partial(table.numbers, axes)
    return Columns("columns", tuple(names), points, table.values, table.first_line, has_names)


def read_numbers(content: bytes, columns: int, file: str) -> np.ndarray:
    """Reads numbers between blanks, float64 [n, columns], n >= 1, finite; else UserError."""
    table = Table(lambda: checked_text(content, file, "ascii"), None, columns, file)
    return checked_points(table.numbers(range(columns)), file, 1)


def read_labels(content: bytes, file: str) -> np.ndarray:
    """Reads one whole number a line, int64 [n], n >= 1; else UserError, such as `not_a_label`."""
    if content and len(content) % 2 == 0:
        digits = np.frombuffer(content, "<u2") - _ZERO_LINE  # Anything else wraps around.
        if digits.max() <= 9:
            return digits.astype(np.int64)
    text = checked_text(content, file, "ascii")
    try:
        numbers = Table(lambda: text, None, 1, file).numbers([0])
        return checked_labels(checked_points(numbers, file, 1)[:, 0], file, 1)
    except UserError as error:
        code = "not_a_label" if error.line else error.code
        raise UserError(code, error.message, file, error.line) from None


def checked_text(content: bytes, file: str, encoding: str = "utf-8") -> bytes:
    """The content without byte order mark, with Unix line ends and no blank lines at its end.

    Another encoding is a UserError `wrong_encoding`, a NUL byte `not_text`.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError("wrong_encoding", "is in UTF-16. Save the file as UTF-8.", file, 1)
    text = content.removeprefix(codecs.BOM_UTF8)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\0" in text:
        line = text.count(b"\n", 0, text.index(b"\0")) + 1
        raise UserError("not_text", "is not a text file (found a NUL byte).", file, line)
    try:
        if not text.isascii():
            text.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"found the byte 0x{text[error.start]:02x}, expected text in {encoding.upper()}."
        line = text.count(b"\n", 0, error.start) + 1
        raise UserError("wrong_encoding", message, file, line) from None
    return text.rstrip(b" \n")


@dataclass
class Table:
    """Lines of `columns` words each, from `first_line` on; separator None: any blanks."""

    read_text: Callable[[], bytes]
    separator: str | None
    columns: int
    file: str
    first_line: int = 1

    @functools.cached_property
    def _words(self) -> pa.Array:
        above = self.first_line - 1
        text = b"".join(self.read_text().split(b"\n", above)[above:])
        if not self.separator:
            text = text.rstrip()
        if not text:
            raise UserError("empty_file", "has no points, expected one a line.", self.file)
        has_quotes = self.separator and b'"' in text
        words = None if has_quotes else _find_words(text, self.separator, self.columns)
        if words is not None:
            return words
        found: list[str] = []
        for number, line in enumerate(text.decode().split("\n"), self.first_line):
            row = _split(line, self.separator, self.file, number)
            if len(row) != self.columns:
                message = f"found {len(row)} columns ({line[:40]!r}), expected {self.columns}."
                raise UserError("wrong_columns", message, self.file, number)
            found += row
        return pa.array(found, pa.large_string())

    def numbers(self, places: Sequence[int]) -> np.ndarray:
        """Columns as float64 [n, len(places)], perhaps not finite; UserError `not_a_number`."""
        words = self._words
        if len(places) < self.columns:
            rows = np.arange(0, len(words), self.columns)
            words = words.take(pa.array(np.add.outer(rows, places).ravel()))
        try:
            numbers = words.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            numbers = self._converted(words.to_pylist(), "not_a_number", len(places))
        return numbers.reshape(-1, len(places))

    def values(self, place: int) -> np.ndarray | list[str]:
        """A column as float64 [n], or as words where most of its different words are not numbers.

        An empty word among numbers is NaN; any other word there is a UserError `not_a_label`.
        """
        try:
            return self.numbers([place])[:, 0]
        except UserError:
            words = self._words[place :: self.columns].to_pylist()
        different = set(words) - {""}
        if 2 * len(list(filter(_NUMBER.match, different))) <= len(different):
            return words
        return self._converted([word or "nan" for word in words], "not_a_label")

    def _converted(self, words: list[str], code: str, columns: int = 1) -> np.ndarray:
        """As numbers in Python, which accepts a few more forms than Arrow."""
        for place, word in enumerate(words):
            if not _NUMBER.match(word):
                hint = " Write decimal points, not commas." if "," in word else ""
                message = f"found {word[:40]!r}, expected a number.{hint}"
                raise UserError(code, message, self.file, self.first_line + place // columns)
        return np.array(words, np.float64)


def _find_words(text: bytes, separator: str | None, columns: int) -> pa.Array | None:
    """The words of all lines; None where a line has another count of words."""
    characters = np.frombuffer(b"\n" + text, np.uint8)
    newline = characters == ord("\n")
    if separator is None:
        blank = (characters - ord("\t") < 5) | (characters == ord(" "))  # \t \n \v \f \r
        starts = np.flatnonzero(blank[:-1] & ~blank[1:]) + 1
    else:
        starts = np.flatnonzero(newline | (characters == ord(separator))) + 1
    ends = np.flatnonzero(newline)
    first, last = starts[::columns], starts[columns - 1 :: columns]
    if starts.size != ends.size * columns or (ends > first).any() or (ends[1:] < last[:-1]).any():
        return None
    offsets = pa.py_buffer(np.append(starts, characters.size))
    words = pa.LargeStringArray.from_buffers(starts.size, offsets, pa.py_buffer(characters))
    # Each word still ends with what separates it from the next.
    return pc.ascii_trim(words, characters=f" \t\n\v\f{separator or ''}")


def _split(line: str, separator: str | None, file: str, number: int) -> list[str]:
    if separator is None:
        return line.split()
    try:
        # Line by line: a line break within quotes would shift the points against their lines.
        words = next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error as error:
        message = f"cannot be read as columns separated by {separator!r} ({error})."
        raise UserError("not_csv", message, file, number) from None
    return [word.strip() for word in words]
