"""The numbered versions in a serving folder, of which TensorFlow Serving takes the largest."""

from __future__ import annotations

import os
import time

from tfx.dsl.io import fileio

# A version of another name is not looked at by a server; its number is not used again.
WITHDRAWN = "withdrawn-"


class NoVersionError(ValueError):
    """A version that cannot be taken back; the message says why."""


def versions(base: str) -> list[int]:
    """The versions that a server would find, in growing order; none where there is no folder."""
    return sorted(int(name) for name in _names(base) if name.isdigit())


def next_version(base: str) -> int:
    """A number above all that were ever used here: the time in seconds, or one more."""
    used = [
        int(name.removeprefix(WITHDRAWN))
        for name in _names(base)
        if name.removeprefix(WITHDRAWN).isdigit()
    ]
    return max([int(time.time()), *(number + 1 for number in used)])


def remove_old(base: str, keep: int) -> list[int]:
    """Removes all but the `keep` largest versions; folders without a SavedModel stay.

    Returns:
      The versions removed.
    """
    old = [
        version
        for version in versions(base)[:-keep]
        if fileio.exists(os.path.join(base, str(version), "saved_model.pb"))
    ]
    for version in old:
        fileio.rmtree(os.path.join(base, str(version)))
    return old


def withdraw(base: str, version: int | None = None) -> tuple[int, int]:
    """Takes a version back: the server goes on with the largest that is left.

    The folder stays under another name, so that it can be looked at and renamed back.

    Args:
      base: the serving folder, of a local file system.
      version: which one; None: the largest.

    Returns:
      The version taken back, and the one that is now the largest.

    Raises:
      NoVersionError: it is not there, or no other is left to serve, or it cannot be renamed.
    """
    if "://" in base:
        raise NoVersionError(
            f"{base}: nothing can be renamed in a bucket; move the version's folder out of it with "
            "the bucket's own tools, and servers go on with the largest that is left"
        )
    there = versions(base)
    taken = there[-1] if version is None and there else version
    if taken not in there:
        found = ", ".join(map(str, there)) or "none"
        raise NoVersionError(f"{base}: no version {taken or ''} to take back; found {found}")
    left = [number for number in there if number != taken]
    if not left:
        raise NoVersionError(f"{base}: {taken} is the only version; a server would have none left")
    source = os.path.join(base, str(taken))
    try:
        os.rename(source, os.path.join(base, f"{WITHDRAWN}{taken}"))
    except OSError as error:
        raise NoVersionError(f"{source}: it cannot be renamed ({error.strerror})") from None
    return taken, left[-1]


def _names(base: str) -> list[str]:
    if not fileio.exists(base):
        return []
    return [str(name).rstrip("/") for name in fileio.listdir(base)]
