"""TFX's Evaluator, and what it does not know: parts, slices by size, and why it said no."""

from __future__ import annotations

import json
import os
from typing import Any

from absl import logging
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.io import fileio
from tfx.types import standard_component_specs
from tfx.utils import io_utils, path_utils

# The metrics are named in the config and imported by TFMA: named here, they count as our code.
from components import segmentation_metrics
from components.evaluator import slicing
from components.evaluator.verdict import judge
from model.export.signatures import EVALUATION_VERSION, PARTS_ASSET

METRICS = segmentation_metrics.__name__
NO_BASELINE = "there is no other blessed model to compare with"
# What the baseline is called, where it is not the blessed model: a parameter of `Executor.Do`.
BASELINE_NAME = "baseline_name"


class Executor(tfx_evaluator.Executor):
    """Measures, decides, and writes down why."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class. A baseline that cannot be compared is left out, and it is said."""
        exec_properties = dict(exec_properties)
        baselines = [
            model
            for model in input_dict.get(standard_component_specs.BASELINE_MODEL_KEY) or []
            if _has_saved_model(model)
        ]
        input_dict = {**input_dict, standard_component_specs.BASELINE_MODEL_KEY: baselines}
        name = exec_properties.pop(BASELINE_NAME, "the blessed model before it")
        baseline = f"held against {name}, the baseline" if baselines else NO_BASELINE
        if baselines:
            (model,) = input_dict[standard_component_specs.MODEL_KEY]
            hindrance = incomparable(_about(model), _about(baselines[0]))
            if hindrance:
                baseline = f"not held against {name}, which {hindrance}"
                logging.warning("The model is %s.", baseline)
                input_dict = {**input_dict, standard_component_specs.BASELINE_MODEL_KEY: []}
        extractors = f"{slicing.__name__}.{slicing.custom_extractors.__name__}"
        super().Do(input_dict, output_dict, {**exec_properties, "custom_extractors": extractors})
        (evaluation,) = output_dict[standard_component_specs.EVALUATION_KEY]
        (blessing,) = output_dict[standard_component_specs.BLESSING_KEY]
        verdict = judge(evaluation.uri, baseline)
        verdict.write(evaluation.uri)
        bless(blessing, verdict.blessed)


def incomparable(candidate: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Why two models cannot be measured side by side, as the end of a sentence; empty if they can.

    Args:
      candidate: what the new model's PARTS_ASSET says; empty if it has none.
      baseline: the same of the blessed one.
    """
    new, old = (
        {found["name"]: list(found["parts"]) for found in about.get("categories", [])}
        for about in (candidate, baseline)
    )
    if new != old:
        names = [f"{name} ({', '.join(parts)})" for name, parts in old.items()]
        return f"names other parts: {'; '.join(names) or 'none'}"
    if baseline.get("evaluation_version") != EVALUATION_VERSION:
        return "was exported by another version of this software"
    return ""


def bless(blessing: types.Artifact, blessed: bool) -> None:
    """Makes the blessing say what was decided, in the form that TFX's Pusher reads."""
    files = {True: constants.BLESSED_FILE_NAME, False: constants.NOT_BLESSED_FILE_NAME}
    for name in files.values():
        path = os.path.join(blessing.uri, name)
        if fileio.exists(path):
            fileio.remove(path)
    io_utils.write_string_file(os.path.join(blessing.uri, files[blessed]), "")
    value = constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)


def _has_saved_model(model: types.Artifact) -> bool:
    """Whether there is a model in it; ProductionModel gives an empty one before the first push."""
    folder = path_utils.serving_model_path(model.uri)
    return bool(fileio.exists(os.path.join(folder, "saved_model.pb")))


def _about(model: types.Artifact) -> dict[str, Any]:
    """What the model's PARTS_ASSET says; empty if it has none."""
    path = os.path.join(path_utils.serving_model_path(model.uri), "assets", PARTS_ASSET)
    if not fileio.exists(path):
        return {}
    with fileio.open(path, "r") as file:
        return json.loads(file.read())
