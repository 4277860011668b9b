"""Writes which versions a server has and what they are called: `pointnet-parts labels`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.local_runner import OutputFolder
from serving.model_config import (
    MODELS_FILE,
    model_of,
    read_config,
    serve_labelled,
    serve_newest,
    write_config,
)
from serving.serving_error import ServingError


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
      ServingError: a version is not there, or the server would refuse the change.
    """
    from components.pusher.versions import versions

    base = base.rstrip("/")
    name = os.path.basename(base)
    there = versions(base)
    if not there:
        raise ServingError(
            f"{base}: there is no numbered version of a model in it; give the folder that holds "
            "them, OUT/serving_model/<name>.",
            lasting=True,
        )
    out = OutputFolder(Path(base).parent.parent)
    file = Path(output) if output else out.serving_config / MODELS_FILE
    config = read_config(file)
    model = model_of(config, name)
    if not labels and not also:
        serve_newest(model)
        write_config(config, file)
        return [f"{file}: the newest version is served, without labels"]
    serve_labelled(model, labels, also, there)
    write_config(config, file)
    lines = [f"{file}: {name}"]
    lines += [f"  {label} is version {version}" for label, version in labels.items()]
    loaded = model.model_version_policy.specific.versions
    lines.append(f"  loaded: {', '.join(map(str, loaded))}")
    lines.append(f"  who asks for no label gets the largest of them: {max(loaded)}")
    return lines
