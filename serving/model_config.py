"""TensorFlow Serving's model config: which models it serves, and which versions by which labels.

A text of its own message ModelServerConfig. A server that looks at the file now and then takes a
changed one up as it runs; what it would refuse to do is refused here, where somebody reads it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.serving_error import ServingError

# The files that are served with, as they are shipped.
SHIPPED = Path(__file__).parent / "tensorflow_serving"
MODELS_FILE = "models.pbtxt"
# Of the image tensorflow/serving: no older than the TensorFlow that exports the models.
IMAGE_TAG = "2.21.0"
# Where the shipped files have the models.
MODELS_ROOT = "/models"


def empty_config() -> Any:
    """A ModelServerConfig without a model."""
    from tensorflow_serving.config import model_server_config_pb2

    return model_server_config_pb2.ModelServerConfig()


def read_config(file: Path) -> Any:
    """The config in a file; an empty one where there is no such file.

    Raises:
      ServingError: it cannot be read, or is no such config.
    """
    from google.protobuf import text_format

    config = empty_config()
    try:
        return text_format.Parse(file.read_text("utf-8"), config)
    except FileNotFoundError:
        return config
    except (OSError, ValueError, text_format.ParseError) as error:
        raise ServingError(
            f"{file}: it cannot be read as TensorFlow Serving's model config ({error}); correct "
            "it, or remove it to have one written.",
            lasting=True,
        ) from None


def write_config(config: Any, file: Path) -> None:
    """Writes a config whole: a server never finds half of it.

    Raises:
      ServingError: it cannot be written.
    """
    from google.protobuf import text_format

    partial = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text_format.MessageToString(config), "utf-8")
        os.replace(partial, file)
    except OSError as error:
        raise ServingError(
            f"{file}: it cannot be written ({error.strerror}); make its folder writable, or give "
            "another.",
            lasting=True,
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


def serve_labelled(
    model: Any, labels: Mapping[str, int], also: Sequence[int], there: Collection[int]
) -> None:
    """Has versions served by labels, and loaded beside them those that have none.

    Args:
      model: a model's part of a config, as it is served now.
      labels: the version of each label.
      also: versions to load without a label.
      there: the versions that were pushed.

    Raises:
      ServingError: a version is not there; or a label that is in use would move to a version that
        is not loaded, which a server refuses.
    """
    for version in (*labels.values(), *also):
        if version not in there:
            found = ", ".join(map(str, sorted(there))) or "none"
            raise ServingError(
                f"{model.name} has no version {version}; found {found}. Give one of them.",
                lasting=True,
            )
    served = dict(model.version_labels)
    loaded = list(model.model_version_policy.specific.versions)
    for label, version in labels.items():
        if served.get(label, version) != version and version not in loaded:
            raise ServingError(
                f"{label} is {served[label]} and cannot move to {version}, which the server has "
                f"not loaded: it would refuse. Have it loaded first, with --also {version} or by "
                "another label, and move the label when the version is AVAILABLE.",
                lasting=True,
            )
    model.ClearField("version_labels")
    model.model_version_policy.Clear()
    model.model_version_policy.specific.versions.extend(sorted({*labels.values(), *also}))
    for label, version in labels.items():
        model.version_labels[label] = version
