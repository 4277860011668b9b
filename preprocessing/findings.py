"""What is wrong with the input, said so that the reader of the message can act on it.

`BadInput` is the one error of this room: whatever is wrong with a file, an archive or an option
ends in it, never in a traceback. `Finding` is the same as a line of the manifest: conversion goes
on without the shape that raised it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 file", "2 files", "1,200 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


class BadInput(ValueError):
    """Something in the input is not as it must be.

    Attributes:
      code: a word for programs, e.g. "not_a_number".
      file: the file's name relative to the source, or "".
      line: line in it, counted from 1; 0 where lines do not matter.
      sentence: what was found, what was expected, what to do.
    """

    def __init__(self, code: str, sentence: str, file: str = "", line: int = 0) -> None:
        self.code = code
        self.file = file
        self.line = line
        self.sentence = sentence
        place = f"{file}, line {line}: " if line else f"{file}: " if file else ""
        super().__init__(place + sentence)

    def __reduce__(self) -> tuple:
        return BadInput, (self.code, self.sentence, self.file, self.line)


@dataclass(frozen=True)
class Finding:
    """One thing wrong with the input.

    Attributes:
      code: a word for programs, the same as `BadInput.code`.
      shape: id of the shape, or "" where it concerns more than one.
      file: the file's name relative to the source, or "".
      line: line in it, counted from 1; 0 where lines do not matter.
      sentence: what was found, what was expected, what to do.
      left_out: whether the shape is missing from the output because of it.
    """

    code: str
    shape: str
    file: str
    line: int
    sentence: str
    left_out: bool

    @classmethod
    def of(cls, error: BadInput, shape: str) -> Finding:
        """The finding for a shape that could not be read."""
        return cls(error.code, shape, error.file, error.line, error.sentence, True)

    def to_json(self) -> dict[str, object]:
        """As it stands in the manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> Finding:
        """From what `to_json` gave."""
        return cls(**value)

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}: " if self.line else f"{self.file}: "
        return (place if self.file else "") + self.sentence
