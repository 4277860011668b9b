"""Writes which versions a server has and what they are called: `pointnet-parts labels`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.command_line import PROGRAM
from pipeline.local_runner import OutputFolder
from schema.errors import UserError
from serving.model_config import (
    MODELS_FILE,
    model_of,
    read_config,
    serve_labelled,
    serve_newest,
    write_config,
)


def label_versions(
    base: str, labels: Mapping[str, int], also: Sequence[int], output: str
) -> list[str]:
    """Changes the model config; a server that looks at the file follows.

    Args:
      base: the serving folder with the numbered versions, OUT/serving_model/<name>.
      labels: the version of each label; none at all, nor others: the newest version is served.
      also: versions to have loaded without a label.
      output: the config file; "": that which `pointnet-parts serve` uses.

    Returns:
      What was done, in lines for a person.

    Raises:
      UserError: a version or the output's folder is not there, or the server would refuse the
        change.
    """
    from serving.versions import pushed_versions

    there = pushed_versions(base)
    name, file = served_by(base, output)
    if output and not file.parent.is_dir():
        raise UserError(
            "unavailable",
            f"{output}: there is no folder {file.parent} to write it to; make it, or give "
            "another --output.",
        )
    config = read_config(file)
    model = model_of(config, name)
    if not labels and not also:
        serve_newest(model)
        write_config(config, file)
        return [f"{file}: the newest version is served, without labels"]
    serve_labelled(model, labels, also, there, labels_command(base, output))
    write_config(config, file)
    lines = [f"{file}: {name}"]
    lines += [f"  {label} is version {version}" for label, version in labels.items()]
    loaded = model.model_version_policy.specific.versions
    lines.append(f"  loaded: {', '.join(map(str, loaded))}")
    lines.append(f"  who asks for no label gets the largest of them: {max(loaded)}")
    return lines


def served_by(base: str, output: str) -> tuple[str, Path]:
    """A model's name, and the config file that says which of its versions a server has.

    Args:
      base: the serving folder with the numbered versions.
      output: another file than that which `pointnet-parts serve` uses; "": none.
    """
    folder = Path(os.path.abspath(base))
    if output:
        return folder.name, Path(output)
    file = OutputFolder(folder.parent.parent).serving_config / MODELS_FILE
    return folder.name, file if os.path.isabs(base) else Path(os.path.relpath(file))


def labels_command(base: str, output: str) -> tuple[str, ...]:
    """The words of a `labels` command on that folder and file, before its versions."""
    return (PROGRAM, "labels", base, *(("--output", output) if output else ()))
