"""How names and numbers are written, on the terminal and on the page."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with control characters and the like written out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def counted(number: int, what: str) -> str:
    """So many of a thing: "1 cloud", "1,200 clouds"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def median_text(median: float) -> str:
    """A median of whole numbers: whole, or with one half."""
    return f"{median:,.0f}" if median == int(median) else f"{median:,.1f}"
