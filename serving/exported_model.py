"""Asks an exported SavedModel, loaded in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schema.record import CATEGORY
from serving.padded_request import NUM_POINTS, SIGNATURE, answers_of, padded_inputs
from serving.segmenter import Answer
from serving.serving_error import ServingError, reason_in

_GRAPH_FILE = "saved_model.pb"


def exported_folder(path: Path) -> Path:
    """The folder of a SavedModel: itself, its last numbered version, or a Trainer's Format-Serving.

    Raises:
      ServingError: there is none.
    """
    inner = [found for found in path.iterdir() if found.name.isdecimal()] if path.is_dir() else []
    newest = max(inner, key=lambda found: int(found.name), default=path)
    for folder in (path, newest, path / "Format-Serving"):
        if (folder / _GRAPH_FILE).is_file():
            return folder
    raise ServingError(
        f"{path}: no SavedModel ({_GRAPH_FILE}) in it, and none in a numbered version below it; "
        "give the folder of a pushed or trained model.",
        lasting=True,
    )


class ExportedModel:
    """A `Segmenter` without a server.

    Args:
      folder: the SavedModel's; see `exported_folder`.

    Raises:
      ServingError: it cannot be loaded, or has no signature `serve_padded`.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        try:
            # The loaded object must live as long as its functions.
            self._model = tf.saved_model.load(str(folder))
            self._answer = self._model.signatures[SIGNATURE]
        except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
            raise ServingError(
                f"{folder}: it cannot be loaded as a model with the signature {SIGNATURE} "
                f"({reason_in(str(error))}); give a model that this pipeline exported.",
                lasting=True,
            ) from None
        self._takes_category = CATEGORY in self._answer.structured_input_signature[1]

    def segment(self, clouds: Sequence[np.ndarray], category: int | None) -> list[Answer]:
        """See `Segmenter.segment`."""
        import tensorflow as tf

        if self._takes_category != (category is not None):
            wants = "needs a category" if self._takes_category else "takes no category"
            raise ServingError(f"the model {wants}; ask it so.", lasting=True)
        inputs = padded_inputs(clouds, category)
        try:
            outputs = self._answer(**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.OpError as error:
            said = reason_in(error.message)
            raise ServingError(f"the model did not answer: {said}.") from None
        named = {name: value.numpy() for name, value in outputs.items()}
        return answers_of(named, inputs[NUM_POINTS].tolist())
