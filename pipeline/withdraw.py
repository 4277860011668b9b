"""Takes a pushed version back, unless a server would have none left: `pointnet-parts withdraw`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pipeline.labels import labels_command, served_by
from schema.errors import UserError
from serving.model_config import (
    LABELS,
    commands_to,
    model_of,
    read_config,
    versions_text,
    written_command,
)
from serving.versions import version_to_withdraw, withdraw


def withdraw_version(base: str, version: int | None, output: str) -> str:
    """Renames a version away that no model config names.

    Args:
      base: the serving folder with the numbered versions, OUT/serving_model/<name>.
      version: which one; None: the newest.
      output: the model config; "": that which `pointnet-parts serve` uses, if it is there.

    Returns:
      What was done, in a line for a person.

    Raises:
      UserError: there is no such version, or no other one, or the config wants it.
    """
    command = labels_command(base, output)
    taken, left = version_to_withdraw(base, version)
    name, file = served_by(base, output)
    if output and not file.is_file():
        raise UserError(
            "unavailable",
            f"{output}: there is no such model config; give the one that the server looks at, "
            "or leave --output out.",
        )
    serving = f"{left[-1]} serves"
    if file.exists():
        model = model_of(read_config(file), name)
        _check_unnamed(model, taken, left, file, command)
        pinned = list(model.model_version_policy.specific.versions)
        if pinned:
            serving = _still_served(pinned, left, file, command)
    withdraw(base, taken)
    return f"version {taken} is taken back; {serving}"


def _check_unnamed(
    model: Any, taken: int, left: Sequence[int], file: Path, command: Sequence[str]
) -> None:
    """Raises a UserError where the config names the version, and says how to change that."""
    served = dict(model.version_labels)
    loaded = set(model.model_version_policy.specific.versions)
    by = [f"its label {label}" for label, named in sorted(served.items()) if named == taken]
    if not by and taken not in loaded:
        return
    labels = {label: served[label] for label in LABELS if served.get(label) in left}
    kept = loaded.intersection(left)
    # Nobody wants another version as a canary; but stable has to be one, and some one has to serve.
    before = _before(taken, left, kept)
    if served.get("stable") == taken:
        labels = {"stable": before, **labels}
    also = kept or ({before} if not labels else set())
    commands, missing = commands_to(model, labels, also, (*left, taken), command)
    first = commands[0]
    if missing:
        first += f", when {versions_text(missing)} AVAILABLE {commands[1]}"
    raise UserError(
        "unavailable",
        f"{file}: it names version {taken}, by {' and '.join(by) or 'its list of versions'}, and "
        f"a server would have nothing for that; run first {first}, and take {taken} back when the "
        "server has followed, within 30 seconds.",
    )


def _before(taken: int, left: Collection[int], loaded: Collection[int]) -> int:
    """The version to serve in place of another: an older one, and a loaded one where there is."""
    older = [version for version in left if version < taken] or list(left)
    return max([version for version in older if version in loaded] or older)


def _still_served(
    pinned: Sequence[int], left: Collection[int], file: Path, command: Sequence[str]
) -> str:
    """What a server has by a list of versions that one was not in."""
    serving = sorted(set(pinned).intersection(left))
    if serving:
        return f"{', '.join(map(str, serving))} {'serve' if serving[1:] else 'serves'}, as before"
    return (
        f"none serves, since {file} wants only {', '.join(map(str, pinned))}, and that is not "
        f"there; {written_command(command, {}, ())} has the newest served"
    )
