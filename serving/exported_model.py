"""Asks an exported SavedModel, loaded in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schema.categories import Category
from schema.errors import UserError
from schema.record import CATEGORY
from serving.padded_request import NUM_POINTS, SIGNATURE, answers_of, padded_inputs
from serving.parts_table import PARTS_FILE, read_parts
from serving.segmenter import Answer
from serving.serving_error import reason_in
from serving.versions import GRAPH_FILE


def exported_folder(path: Path, version: int | None = None) -> Path:
    """The folder of a SavedModel: itself, its last numbered version, or a Trainer's Format-Serving.

    Args:
      path: the folder that was given.
      version: which of the numbered versions in it; None: see above.

    Raises:
      UserError: there is none.
    """
    inner = [found for found in path.iterdir() if found.name.isdecimal()] if path.is_dir() else []
    if version is not None:
        there = {int(f.name): f for f in inner if (f / GRAPH_FILE).is_file()}
        if version not in there:
            found = ", ".join(map(str, sorted(there))) or "none"
            raise UserError(
                "unavailable",
                f"{path} has no version {version}; found {found}. Give one of them, and the "
                "folder that holds the numbered versions.",
            )
        return there[version]
    newest = max(inner, key=lambda found: int(found.name), default=path)
    for folder in (path, newest, path / "Format-Serving"):
        if (folder / GRAPH_FILE).is_file():
            return folder
    raise UserError(
        "unavailable",
        f"{path}: no SavedModel ({GRAPH_FILE}) in it, and none in a numbered version below it; "
        "give the folder of a pushed or trained model.",
    )


def exported_parts(folder: Path) -> tuple[Category, ...]:
    """The parts that a SavedModel knows.

    Raises:
      UserError: they are not in it, or cannot be read.
    """
    file = folder / "assets" / PARTS_FILE
    if not file.exists():
        raise UserError(
            "unavailable",
            f"{folder}: this model was not exported by this pipeline, it has no "
            f"assets/{PARTS_FILE} that names its parts; give a model that this pipeline exported.",
        )
    return read_parts(file)


class ExportedModel:
    """A `Segmenter` without a server.

    Args:
      folder: the SavedModel's; see `exported_folder`.

    Raises:
      UserError: it cannot be loaded, or has no signature `serve_padded`.
    """

    def __init__(self, folder: Path | str) -> None:
        import tensorflow as tf

        try:
            # The loaded object must live as long as its functions.
            self._model = tf.saved_model.load(str(folder))
            self._answer = self._model.signatures[SIGNATURE]
        except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
            raise UserError(
                "unavailable",
                f"{folder}: it cannot be loaded as a model with the signature {SIGNATURE} "
                f"({reason_in(str(error))}); give a model that this pipeline exported.",
            ) from None
        self._takes_category = CATEGORY in self._answer.structured_input_signature[1]

    def segment(self, clouds: Sequence[np.ndarray], category: int | None) -> list[Answer]:
        """See `Segmenter.segment`."""
        import tensorflow as tf

        if self._takes_category != (category is not None):
            wants = "needs a category" if self._takes_category else "takes no category"
            raise UserError("unavailable", f"the model {wants}; ask it so.")
        inputs = padded_inputs(clouds, category)
        try:
            outputs = self._answer(**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.OpError as error:
            said = reason_in(error.message)
            raise UserError("no_answer", f"the model did not answer: {said}.") from None
        named = {name: value.numpy() for name, value in outputs.items()}
        return answers_of(named, inputs[NUM_POINTS].tolist())
