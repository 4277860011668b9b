"""TensorFlow Serving's model config: which models it serves, and which versions by which labels.

A text of its own message ModelServerConfig. A server that looks at the file now and then takes a
changed one up as it runs; what it would refuse to do is refused here, where somebody reads it.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from schema.atomic import write_atomically
from schema.errors import UserError

# The files that are served with, as they are shipped.
SHIPPED = Path(__file__).parent / "tensorflow_serving"
MODELS_FILE = "models.pbtxt"
# Of the image tensorflow/serving: no older than the TensorFlow that exports the models.
IMAGE_TAG = "2.21.0"
# Where the shipped files have the models.
MODELS_ROOT = "/models"
# What `pointnet-parts labels` can call a version; a config written by hand may have others.
LABELS = ("stable", "canary")


def empty_config() -> Any:
    """A ModelServerConfig without a model."""
    from tensorflow_serving.config import model_server_config_pb2

    return model_server_config_pb2.ModelServerConfig()


def read_config(file: Path) -> Any:
    """The config in a file; an empty one where there is no such file.

    Raises:
      UserError: it cannot be read, or is no such config.
    """
    from google.protobuf import text_format

    config = empty_config()
    try:
        return text_format.Parse(file.read_text("utf-8"), config)
    except FileNotFoundError:
        return config
    except (OSError, ValueError, text_format.ParseError) as error:
        raise UserError(
            "unavailable",
            f"{file}: it cannot be read as TensorFlow Serving's model config ({error}); correct "
            "it, or remove it to have one written.",
        ) from None


def write_config(config: Any, file: Path) -> None:
    """Writes a config whole: a server never finds half of it.

    Raises:
      UserError: it cannot be written.
    """
    from google.protobuf import text_format

    try:
        write_atomically(file, text_format.MessageToString(config))
    except OSError as error:
        raise UserError(
            "unavailable",
            f"{file}: it cannot be written ({error.strerror}); make its folder writable, or give "
            "another.",
        ) from None


def model_of(config: Any, name: str, root: str = MODELS_ROOT) -> Any:
    """A model's part of a config; added where there is none, to serve its newest version."""
    for model in config.model_config_list.config:
        if model.name == name:
            return model
    model = config.model_config_list.config.add(
        name=name, base_path=f"{root}/{name}", model_platform="tensorflow"
    )
    serve_newest(model)
    return model


def serve_newest(model: Any) -> None:
    """Has the newest version served, without labels."""
    model.ClearField("version_labels")
    model.model_version_policy.Clear()
    model.model_version_policy.latest.num_versions = 1


def versions_text(versions: Sequence[int]) -> str:
    """Versions as the subject of a sentence, with its verb."""
    names = list(map(str, versions))
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{', '.join(names[:-1])} and {names[-1]} are"


def written_command(
    command: Sequence[str], labels: Mapping[str, int], also: Collection[int]
) -> str:
    """A `labels` command with its options, for a sentence that says what to run.

    Args:
      command: its words before the options of the versions.
      labels: the version of each label.
      also: versions to load; those that a label names need not be said.
    """
    words = [word for label, version in labels.items() for word in (f"--{label}", str(version))]
    for version in sorted(set(also) - set(labels.values())):
        words += ["--also", str(version)]
    return f"`{shlex.join([*command, *words])}`"


def commands_to(
    model: Any,
    labels: Mapping[str, int],
    also: Collection[int],
    there: Collection[int],
    command: Sequence[str],
) -> tuple[list[str], list[int]]:
    """The `labels` commands that bring a server where it is wanted, each of which it accepts.

    A server looks at the labels before it loads: a label that is in use moves only to a version
    that an earlier config has loaded. A label of a version that is gone helps nobody, and is left
    out until it can move.

    Args:
      model: a model's part of a config, as it is served now.
      labels: the wanted version of each label.
      also: versions that are wanted without a label.
      there: the versions that are in the folder.
      command: the words of a `labels` command before those options.

    Returns:
      One command or two, and the versions that have to be AVAILABLE before the second.
    """
    served = dict(model.version_labels)
    loaded = set(model.model_version_policy.specific.versions)
    missing = sorted(
        {
            version
            for label, version in labels.items()
            if served.get(label, version) != version and version not in loaded
        }
    )
    wanted = written_command(command, labels, also)
    if not missing:
        return [wanted], []
    kept = {label: served[label] for label in LABELS if served.get(label) in there}
    loading = written_command(command, kept, {*loaded.intersection(there), *missing})
    return [loading, wanted], missing


def serve_labelled(
    model: Any,
    labels: Mapping[str, int],
    also: Sequence[int],
    there: Collection[int],
    command: Sequence[str] = ("labels",),
) -> None:
    """Has versions served by labels, and loaded beside them those that have none.

    Args:
      model: a model's part of a config, as it is served now.
      labels: the version of each label.
      also: versions to load without a label.
      there: the versions that were pushed.
      command: the words of the `labels` command before its options, for what an error says to run.

    Raises:
      UserError: a version is not there; or a label that is in use would move to a version that
        is not loaded, which a server refuses.
    """
    for version in (*labels.values(), *also):
        if version not in there:
            found = ", ".join(map(str, sorted(there))) or "none"
            raise UserError(
                "unavailable",
                f"{model.name} has no version {version}; found {found}. Give one of them.",
            )
    commands, missing = commands_to(model, labels, also, there, command)
    if missing:
        served = dict(model.version_labels)
        label = next(name for name in labels if name in served and labels[name] in missing)
        gone = "" if served[label] in there else ", which is no longer there,"
        raise UserError(
            "unavailable",
            f"{label} is {served[label]}{gone} and cannot move to {labels[label]}, which the "
            f"server has not loaded: it would refuse. Have it loaded first, with {commands[0]}, "
            f"and when {versions_text(missing)} AVAILABLE, move the label with {commands[1]}.",
        )
    model.ClearField("version_labels")
    model.model_version_policy.Clear()
    model.model_version_policy.specific.versions.extend(sorted({*labels.values(), *also}))
    for label, version in labels.items():
        model.version_labels[label] = version
