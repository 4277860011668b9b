"""The numbered versions in a serving folder, of which TensorFlow Serving takes the largest."""

from __future__ import annotations

import os
import time

from schema.errors import UserError

# A server ignores a version of another name; its number is not used again.
WITHDRAWN = "withdrawn-"
GRAPH_FILE = "saved_model.pb"


def pushed_versions(base: str) -> list[int]:
    """As `versions`; UserError `no_version` if there is none."""
    numbers = versions(base)
    if not numbers:
        advice = "give the folder that has them, OUT/serving_model/<name>"
        raise UserError("no_version", f"{base}: no numbered version of a model; {advice}.")
    return numbers


def versions(base: str) -> list[int]:
    """The numbered folders, in growing order; none if there is no such folder."""
    return sorted(int(name) for name in _names(base) if name.isdecimal())


def complete_versions(base: str) -> list[int]:
    """The versions that have a SavedModel: a push that was cut off leaves one without."""
    return [number for number in versions(base) if _exists(f"{base}/{number}/{GRAPH_FILE}")]


def next_version(base: str) -> int:
    """A number above all that were ever used here: the time in seconds, or one more."""
    names = [name.removeprefix(WITHDRAWN) for name in _names(base)]
    used = [int(name) for name in names if name.isdecimal()]
    return max([int(time.time()), *(number + 1 for number in used)])


def remove_old(base: str, keep: int) -> list[int]:
    """Removes all but the `keep` largest complete versions, and returns the removed ones."""
    from tfx.dsl.io import fileio

    old = complete_versions(base)[:-keep]
    for version in old:
        fileio.rmtree(os.path.join(base, str(version)))
    return old


def version_to_withdraw(base: str, version: int | None = None) -> tuple[int, list[int]]:
    """The version to withdraw, by default the largest, and those that are left; changes nothing.

    Raises UserError `no_version` if it does not exist or no other is left to serve.
    """
    if "://" in base:
        advice = "move the version's folder out of it with the bucket's own tools"
        raise UserError("no_version", f"{base}: a bucket has no folders to rename; {advice}.")
    numbers = pushed_versions(base)
    chosen = numbers[-1] if version is None else version
    left = [number for number in numbers if number != chosen]
    known = ", ".join(map(str, numbers))
    if chosen not in numbers:
        raise UserError("no_version", f"{base}: no version {chosen}; choose one of {known}.")
    if not left:
        raise UserError("no_version", f"{base}: {known} is the only version; push another one.")
    return chosen, left


def withdraw(base: str, version: int | None = None) -> tuple[int, int]:
    """Renames a version, so that a server uses the largest that is left.

    Returns both numbers; raises UserError `no_version` as `version_to_withdraw`, or if the folder
    cannot be renamed.
    """
    chosen, left = version_to_withdraw(base, version)
    source = os.path.join(base, str(chosen))
    try:
        os.rename(source, os.path.join(base, f"{WITHDRAWN}{chosen}"))
    except OSError as error:
        advice = "make the folder writable, or move what has that name"
        message = (
            f"{source}: cannot be renamed to {WITHDRAWN}{chosen} ({error.strerror}); {advice}."
        )
        raise UserError("no_version", message) from None
    return chosen, left[-1]


def _names(base: str) -> list[str]:
    if "://" not in base:
        # Withdrawing a version is urgent, and importing TensorFlow takes many seconds.
        return os.listdir(base) if os.path.isdir(base) else []
    from tfx.dsl.io import fileio

    if not fileio.exists(base):
        return []
    return [str(name).rstrip("/") for name in fileio.listdir(base)]


def _exists(path: str) -> bool:
    if "://" not in path:
        return os.path.exists(path)
    from tfx.dsl.io import fileio

    return bool(fileio.exists(path))
