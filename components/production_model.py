"""ProductionModel: the model that serves now, where a platform's metadata cannot find it."""

import os

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.utils import io_utils, path_utils

from serving.versions import GRAPH_FILE, complete_versions

# In the output if no model was pushed yet: an empty folder could also be one that was lost.
NO_MODEL = "NO_MODEL"
# Equal in a copy of a SavedModel, different in any other: the index has a checksum of each weight.
_IDENTITY = (GRAPH_FILE, "variables/variables.index")


@tfx.dsl.components.component
def ProductionModel(
    serving: tfx.dsl.components.Parameter[str],
    model: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Model],
    candidate: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
) -> None:
    """Copies the newest pushed version other than the candidate; it must never be cached."""
    own = path_utils.serving_model_path(candidate.uri) if candidate else ""
    newest = newest_pushed(serving, own)
    if not newest:
        logging.info("No other model was pushed to %s yet.", serving)
        io_utils.write_string_file(os.path.join(model.uri, NO_MODEL), "")
        return
    # A copy: Pusher may remove the version while it is compared with.
    io_utils.copy_dir(newest, path_utils.serving_model_dir(model.uri))
    logging.info("The model in production is %s.", newest)


def newest_pushed(serving: str, candidate: str = "") -> str:
    """The newest complete version's folder; "" if there is none.

    A version that is a copy of `candidate`, a SavedModel's folder, is left out: a repeated run
    would compare the model with itself.
    """
    for version in reversed(complete_versions(serving)):
        folder = os.path.join(serving, str(version))
        if not (candidate and same_model(folder, candidate)):
            return folder
    return ""


def is_saved_model(folder: str) -> bool:
    """Whether a folder has a SavedModel."""
    return bool(fileio.exists(os.path.join(folder, GRAPH_FILE)))


def same_model(one: str, other: str) -> bool:
    """Whether two SavedModels' folders are copies of each other."""
    return all(_content(one, name) == _content(other, name) for name in _IDENTITY)


def _content(folder: str, name: str) -> bytes:
    path = os.path.join(folder, name)
    if not fileio.exists(path):
        return b""
    with fileio.open(path, "rb") as file:
        content: bytes = file.read()
    return content
