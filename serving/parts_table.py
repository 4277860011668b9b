"""The parts that a model knows, from the parts.json that travels in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schema.categories import Category
from schema.errors import UserError

PARTS_FILE = "parts.json"
_MOST_POINTS_UNDECLARED = 400_000


def read_parts(file: Path) -> tuple[Category, ...]:
    """The categories in the order of the model's classes; UserError if the file has no parts."""
    return parts_of(read_about(str(file)), str(file))


def parts_file(model: str) -> str:
    """The parts.json of a SavedModel's folder."""
    return f"{model}/assets/{PARTS_FILE}"


def read_about(file: str) -> dict[str, Any]:
    """What a parts.json says of its model; the file may be on remote storage.

    Raises UserError if there is no such file, or it is not one.
    """
    try:
        if "://" in file:
            # TensorFlow takes seconds to import, and only remote storage needs it.
            import tensorflow as tf

            with tf.io.gfile.GFile(file, "r") as opened:
                about = json.loads(opened.read())
        else:
            about = json.loads(Path(file).read_text("utf-8"))
        if not isinstance(about, dict):
            raise TypeError("no JSON object")
    # Each kind of storage has errors of its own.
    except Exception as error:
        raise _no_parts(file, error) from None
    return about


def parts_of(about: Mapping[str, Any], file: str) -> tuple[Category, ...]:
    """The categories in what `read_about` returns; UserError if there are none."""
    try:
        categories = tuple(Category.from_json(value) for value in about["categories"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_parts(file, error) from None
    if not categories:
        raise UserError("unavailable", f"{file}: names no category; give the model's own.")
    return categories


def most_points_of(about: Mapping[str, Any]) -> int:
    """Most points of one request, clouds times the longest one's; models of old do not say it."""
    return int(about.get("most_points", _MOST_POINTS_UNDECLARED))


def _no_parts(file: str, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or first_words(error)
    return UserError(
        "unavailable",
        f"{file}: it should name the model's parts ({reason}); give assets/{PARTS_FILE} of a "
        "model that this pipeline exported.",
    )


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
