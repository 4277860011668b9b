"""The numbered versions in a serving folder, of which TensorFlow Serving takes the largest."""

from __future__ import annotations

import os
import time

# A version of another name is not looked at by a server; its number is not used again.
WITHDRAWN = "withdrawn-"


class NoVersionError(ValueError):
    """There is no such version, or it cannot be taken back; the message says why."""


def pushed_versions(base: str) -> list[int]:
    """As `versions`.

    Raises:
      NoVersionError: there is none.
    """
    there = versions(base)
    if not there:
        raise NoVersionError(
            f"{base}: there is no numbered version of a model in it; give the folder that holds "
            "them, OUT/serving_model/<name>."
        )
    return there


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
    from tfx.dsl.io import fileio

    old = [
        version
        for version in versions(base)[:-keep]
        if fileio.exists(os.path.join(base, str(version), "saved_model.pb"))
    ]
    for version in old:
        fileio.rmtree(os.path.join(base, str(version)))
    return old


def version_to_withdraw(base: str, version: int | None = None) -> tuple[int, list[int]]:
    """The version that `withdraw` would take back, and those that would be left; changes nothing.

    Args:
      base: the serving folder, of a local file system.
      version: which one; None: the largest.

    Raises:
      NoVersionError: it is not there, or no other is left to serve.
    """
    if "://" in base:
        raise NoVersionError(
            f"{base}: nothing can be renamed in a bucket; move the version's folder out of it with "
            "the bucket's own tools, and servers go on with the largest that is left."
        )
    there = pushed_versions(base)
    taken = there[-1] if version is None else version
    if taken not in there:
        found = ", ".join(map(str, there))
        raise NoVersionError(
            f"{base}: there is no version {taken} to take back; found {found}. Give one of them."
        )
    left = [number for number in there if number != taken]
    if not left:
        raise NoVersionError(
            f"{base}: {taken} is the only version, and a server would have none left; push "
            "another one first."
        )
    return taken, left


def withdraw(base: str, version: int | None = None) -> tuple[int, int]:
    """Takes a version back: a server that serves the largest goes on with that which is left.

    The folder stays under another name, so that it can be looked at and renamed back.

    Args:
      base: the serving folder, of a local file system.
      version: which one; None: the largest.

    Returns:
      The version taken back, and the one that is now the largest.

    Raises:
      NoVersionError: as of `version_to_withdraw`, or it cannot be renamed.
    """
    taken, left = version_to_withdraw(base, version)
    source = os.path.join(base, str(taken))
    try:
        os.rename(source, os.path.join(base, f"{WITHDRAWN}{taken}"))
    except OSError as error:
        raise NoVersionError(
            f"{source}: it cannot be renamed to {WITHDRAWN}{taken} ({error.strerror}); make the "
            "folder writable, or move what has that name."
        ) from None
    return taken, left[-1]


def _names(base: str) -> list[str]:
    if "://" not in base:
        # Taking a version back is urgent, and importing TensorFlow takes many seconds.
        return os.listdir(base) if os.path.isdir(base) else []
    from tfx.dsl.io import fileio

    if not fileio.exists(base):
        return []
    return [str(name).rstrip("/") for name in fileio.listdir(base)]
