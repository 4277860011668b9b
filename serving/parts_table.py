"""The parts that a model knows, from the parts.json that travels in its folder."""

from __future__ import annotations

import json
from pathlib import Path

from schema.categories import Category
from schema.errors import UserError

PARTS_FILE = "parts.json"


def read_parts(file: Path) -> tuple[Category, ...]:
    """The categories in the order of the model's classes.

    Raises:
      UserError: there is no such file, or it does not name parts.
    """
    try:
        about = json.loads(file.read_text("utf-8"))
        categories = tuple(Category.from_json(value) for value in about["categories"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_words(error)
        raise UserError(
            "unavailable",
            f"{file}: it should name the model's parts ({reason}); give assets/{PARTS_FILE} of a "
            "model that this pipeline exported.",
        ) from None
    if not categories:
        raise UserError("unavailable", f"{file}: names no category; give the model's own.")
    return categories


def first_words(error: Exception) -> str:
    """The kind of an error and the beginning of what it says."""
    return f"{type(error).__name__}: {str(error)[:80]}"


def numbered_parts(count: int, category: int | None) -> Category:
    """Stands in where nobody says what the parts are called: "part 0", "part 1" ...

    Args:
      count: how many classes the model has.
      category: the index that was asked for, or None.
    """
    name = "cloud" if category is None else f"category {category}"
    return Category(name, "", tuple(f"part {number}" for number in range(count)))
