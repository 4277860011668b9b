"""Texts of numbers: `bytes` -> array, at C speed where the text is regular.

    parse_table   x y z ... a line   -> float32 [rows, columns]
    parse_mask    0 or 1 a line      -> bool [rows]
    parse_labels  an integer a line  -> int64 [rows]

Each has a fast path that takes a text only if all of it has exactly the expected form, and a
tolerant one that reads line by line: blanks, tabs, a byte order mark, Windows line ends, scientific
notation, no newline at the end, empty lines at the end. Where the fast path takes a text, both give
the same numbers. What neither can read is a `BadInput` that names the line. The result never holds
NaN or Inf, and never more or fewer rows than the text has lines.
"""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.findings import BadInput, counted

# A number as many countries write it: 0,29.
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NEWLINE, _BLANK, _MINUS, _DOT, _ZERO = b"\n -.0"
_MAX_DECIMALS = 8
_EIGHT_ZEROS = 0x3030303030303030
# Factor, shift and mask that make one number of each two neighbours: of bytes, pairs and fours.
_JOINS = (
    (10 * 2**8 + 1, 8, 0x00FF00FF00FF00FF),
    (100 * 2**16 + 1, 16, 0x0000FFFF0000FFFF),
    (10_000 * 2**32 + 1, 32, 0x00000000FFFFFFFF),
)


def parse_table(text: bytes, columns: int | None, file: str) -> np.ndarray:
    """Reads rows of numbers.

    Args:
      text: content of the file.
      columns: numbers expected in each line; None takes the first line's count.
      file: its name, for messages.

    Returns:
      float32 [rows, columns], finite, rows >= 1: each number is the nearest float64 to its text,
      rounded to float32.

    Raises:
      BadInput: empty text, a line with another count of numbers, something that is not a number, a
        number that is not finite as float32.
    """
    if b"\r" in text or text.startswith(_UTF8_MARK):
        text = _plain(text)
    table = _fixed_point_table(text, columns)
    if table is None:
        table = _regular_table(text, columns)
    if table is None:
        table = _table_by_line(text, columns, file)
    return table


def parse_mask(text: bytes, file: str) -> np.ndarray:
    """Reads a part's `.seg` file: 1 on the lines of the points that belong to it, else 0.

    Returns:
      bool [rows], rows >= 1.

    Raises:
      BadInput: empty text, or a line that is neither 0 nor 1.
    """
    digits = _one_digit_a_line(text)
    if digits is None or digits.max() > 1:
        digits = _integers_by_line(text, file, "0 or 1")
        wrong = np.flatnonzero((digits < 0) | (digits > 1))
        if wrong.size:
            raise BadInput(
                "not_a_mask",
                f"found {digits[wrong[0]]}, expected 0 or 1. Correct the line or remove the shape.",
                file,
                int(wrong[0]) + 1,
            )
    return digits.astype(bool)


def parse_labels(text: bytes, file: str) -> np.ndarray:
    """Reads one integer a line.

    Returns:
      int64 [rows], rows >= 1.

    Raises:
      BadInput: empty text, or a line that is not one integer.
    """
    digits = _one_digit_a_line(text)
    if digits is None:
        digits = _integers_by_line(text, file, "one integer")
    return digits.astype(np.int64)


def _plain(text: bytes) -> bytes:
    """Without the byte order mark, and with Unix line ends."""
    text = text.removeprefix(_UTF8_MARK)
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _fixed_point_table(text: bytes, columns: int | None) -> np.ndarray | None:
    """Reads `-?d.ddddd` separated by single blanks and newlines, all with as many decimals.

    This is what the published archives hold. The whole text is checked against that form with array
    operations, about 0.2 ms for 2,600 points.
    """
    if not text.endswith(b"\n"):
        text += b"\n"
    a = np.frombuffer(text, np.uint8)
    dots = np.flatnonzero(a == _DOT)
    first_end = text.find(b"\n")
    columns = columns or text.count(b".", 0, first_end)
    if not dots.size or not columns or dots.size % columns:
        return None
    first = int(dots[0])
    blank = text.find(b" ", first, first_end)
    decimals = (blank if blank > 0 else first_end) - first - 1
    if not 1 <= decimals <= _MAX_DECIMALS:
        return None
    ends = dots + (decimals + 1)
    if ends[-1] != a.size - 1:
        return None
    separators = (b" " * (columns - 1) + b"\n") * (dots.size // columns)
    if a.take(ends).tobytes() != separators:
        return None
    # Between a separator and the dot stand "d" or "-d": every byte is accounted for.
    negative = a.take(dots - 2) == _MINUS
    lead = dots - negative
    lead[1:] -= ends[:-1] + 1
    if (lead != 1).any():
        return None
    whole = a.take(dots - 1) - _ZERO
    fraction = _joined_digits(text, dots + 1, decimals)
    if fraction is None or whole.max() > 9:
        return None
    # One correctly rounded division of exact numbers: what a decimal parser gives, too.
    power = 10.0**decimals
    number = fraction.astype(np.float64)
    number += whole * power
    number /= np.where(negative, -power, power)
    return number.astype(np.float32).reshape(-1, columns)


def _joined_digits(text: bytes, starts: np.ndarray, count: int) -> np.ndarray | None:
    """The numbers, uint64, that `count` <= 8 digits from each start on make; None: no digits there.

    Eight bytes are taken as one integer, and pairs, fours and eights of digits are joined in it by
    three multiplications (D. Lemire, "Quickly parsing eight digits", 2018).
    """
    # Windows of eight bytes at every place of the text; they overlap.
    windows: np.ndarray = np.ndarray(len(text), "<u8", text + bytes(8), strides=(1,))
    digits = windows[starts]
    # The wanted digits go to the end, and zeros fill up before them.
    digits <<= np.uint64(8 * (8 - count))
    digits |= np.uint64(_EIGHT_ZEROS & ((1 << 8 * (8 - count)) - 1))
    digits ^= np.uint64(_EIGHT_ZEROS)
    # A byte above 9 sets its highest bit when 0x76 is added, or has it.
    if ((digits + np.uint64(0x7676767676767676) | digits) & np.uint64(0x8080808080808080)).any():
        return None
    for factor, bits, mask in _JOINS:
        digits *= np.uint64(factor)
        digits >>= np.uint64(bits)
        digits &= np.uint64(mask)
    return digits


def _regular_table(text: bytes, columns: int | None) -> np.ndarray | None:
    """Reads any decimal notation, separated by single blanks (or tabs) and newlines."""
    if not text.endswith(b"\n"):
        text += b"\n"
    a = np.frombuffer(text, np.uint8)
    separators = a[a <= _BLANK]
    columns = columns or int((separators != _NEWLINE).argmin()) + 1
    if separators.size % columns:
        return None
    separators = separators.reshape(-1, columns)
    if not (separators[:, -1] == _NEWLINE).all():
        return None
    if columns > 1:
        blank = separators[0, 0]
        if blank not in (_BLANK, ord("\t")) or not (separators[:, :-1] == blank).all():
            return None
        text = text.replace(bytes([blank]), b"\n")
    try:
        words = pc.split_pattern(pa.array([text[:-1]], pa.string()), "\n").values
        with np.errstate(over="ignore"):
            table = words.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return table.reshape(-1, columns) if np.isfinite(table).all() else None


def _table_by_line(text: bytes, columns: int | None, file: str) -> np.ndarray:
    """The tolerant path, and the one that says what is wrong."""
    rows = []
    for number, line in enumerate(_lines(text, file), 1):
        words = line.split()
        if columns is None:
            # A line of separators only, such as a form feed, is no number either.
            columns = max(len(words), 1)
        if len(words) != columns:
            raise BadInput(
                "wrong_columns",
                f"found {counted(len(words), 'number')}{_excerpt(line)}, expected {columns}, "
                "separated by blanks. Correct the line (a file cut short often ends so) or remove "
                "the shape.",
                file,
                number,
            )
        rows.append([_number(word, file, number) for word in words])
    with np.errstate(over="ignore"):
        table = np.array(rows, np.float64).astype(np.float32)
    bad = np.argwhere(~np.isfinite(table))
    if bad.size:
        row, column = bad[0]
        raise BadInput(
            "not_finite",
            f"found {rows[row][column]:g}, expected a finite 32-bit number. Correct the line or "
            "remove the shape.",
            file,
            int(row) + 1,
        )
    return table


def comma_hint(word: str) -> str:
    """A hint where a number was written as 0,29; else ""."""
    return "; decimal commas? Save the numbers with points" if DECIMAL_COMMA.fullmatch(word) else ""


def _number(word: str, file: str, line: int) -> float:
    try:
        # Python also takes 1_000, which nobody means here.
        return float(word) if "_" not in word else float("_")
    except ValueError:
        raise BadInput(
            "not_a_number",
            f"found {word[:40]!r}, expected a number{comma_hint(word)}. Correct the line or remove "
            "the shape.",
            file,
            line,
        ) from None


def _one_digit_a_line(text: bytes) -> np.ndarray | None:
    """uint16 [rows] where every line is one digit, else None."""
    if len(text) % 2:
        text += b"\n"
    lines = np.frombuffer(text, "<u2")
    # Anything but a digit and a newline wraps round to a large number.
    digits = lines - np.uint16(_NEWLINE << 8 | _ZERO)
    return digits if digits.size and digits.max() <= 9 else None


def _integers_by_line(text: bytes, file: str, expected: str) -> np.ndarray:
    """int64 [rows]; takes `1`, `1.0` and `1.000000e+00` for 1."""
    values = []
    for number, line in enumerate(_lines(text, file), 1):
        value = None
        with contextlib.suppress(ValueError):
            value = float(line) if "_" not in line else None
        if value is None or not abs(value) < 2**31 or value != int(value):
            raise BadInput(
                "not_a_label",
                f"found {line.strip()[:40]!r}, expected {expected}. Correct the line or remove the "
                "shape.",
                file,
                number,
            )
        values.append(int(value))
    return np.array(values, np.int64)


def _lines(text: bytes, file: str) -> list[str]:
    """The lines of an ASCII text, without empty ones at the end; at least one."""
    if text.startswith(_UTF16_MARKS):
        raise BadInput(
            "wrong_encoding",
            "found text in UTF-16, expected plain ASCII or UTF-8. Save the file as UTF-8.",
            file,
            1,
        )
    text = _plain(text).rstrip(b" \t\n")
    if not text:
        raise BadInput(
            "empty_file",
            "found no line in it, expected one for each point. Restore the file or remove the "
            "shape.",
            file,
        )
    try:
        decoded = text.decode("ascii")
    except UnicodeDecodeError as error:
        raise BadInput(
            "wrong_encoding",
            f"found the byte 0x{text[error.start]:02x}, expected plain ASCII numbers. Save the "
            "file as plain text, or restore it if it is damaged.",
            file,
            text.count(b"\n", 0, error.start) + 1,
        ) from None
    return decoded.split("\n")


def _excerpt(line: str) -> str:
    line = line.strip()
    return f" ({line[:40]!r})" if line else ""
