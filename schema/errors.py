"""The one error that is meant for users, and its form as a line of a data set's manifest."""

from __future__ import annotations

from dataclasses import dataclass


class UserError(ValueError):
    """Something that the user has to change; never a defect of this program.

    Attributes:
      code: stable identifier for programs and tests, e.g. "not_a_number".
      message: what was found, what was expected and what to do.
      file, line: where, in a data set relative to its root; "" and 0 where that does not apply.
    """

    def __init__(self, code: str, message: str, file: str = "", line: int = 0) -> None:
        self.code = code
        self.message = message
        self.file = file
        self.line = line
        super().__init__(_place(file, line) + message)

    def __reduce__(self) -> tuple:
        return UserError, (self.code, self.message, self.file, self.line)

    def at(self, file: str, line: int = 0) -> UserError:
        """The same error with the place where it occurred."""
        return UserError(self.code, self.message, file, line or self.line)


@dataclass(frozen=True)
class Finding:
    """One problem of a data set that did not stop the conversion; see `UserError`.

    `category` and `shape` are those concerned, or "" where it concerns more than one; `left_out`
    says whether the shape is missing from the converted data because of it.
    """

    code: str
    message: str
    file: str = ""
    line: int = 0
    category: str = ""
    shape: str = ""
    left_out: bool = False

    @classmethod
    def of(cls, error: UserError, category: str, shape: str) -> Finding:
        """The finding for a shape that cannot be read."""
        return cls(error.code, error.message, error.file, error.line, category, shape, True)

    def __str__(self) -> str:
        return _place(self.file, self.line) + self.message


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 file", "2 files", "1,200 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _place(file: str, line: int) -> str:
    if not file:
        return ""
    return f"{file}, line {line}: " if line else f"{file}: "
