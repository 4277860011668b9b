"""TFX's Evaluator with small batches, slices by size, and our verdict as its blessing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma
from absl import logging
from google.protobuf import json_format
from tensorflow_model_analysis.slicer import slicer_lib
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import standard_component_specs
from tfx.utils import io_utils, path_utils
from tfx.v1.components import Evaluator as TfxEvaluator

from components.evaluator.bounds import bounds_of, read_config
from components.evaluator.metrics import BASELINE, CANDIDATE, metrics_by_slice, slice_title
from components.evaluator.verdict import judge
from components.production_model import NO_MODEL, is_saved_model
from model.export.signatures import EVALUATION_VERSION
from schema.errors import UserError
from schema.record import POINTS
from schema.size_buckets import CLOUD_SIZE, size_bucket
from serving.parts_table import parts_file, read_about

# What the baseline is called if it is not the blessed model: a parameter of `Executor.Do`.
BASELINE_NAME = "baseline_name"
# Left to itself Beam makes batches of up to 1,000 clouds, each padded to the longest.
MOST_CLOUDS = 16
BATCH = tfma.constants.ARROW_RECORD_BATCH_KEY


class Executor(tfx_evaluator.Executor):
    """Measures, decides, and writes down why."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class. A baseline that cannot be compared is left out with its reason.

        UserError: `other_version`: the model was exported for another version of the evaluation;
        `lost_baseline`: the baseline's files are missing.
        """
        exec_properties = dict(exec_properties)
        name = exec_properties.pop(BASELINE_NAME, "the blessed model before it")
        config = json_format.Parse(exec_properties["eval_config"], tfma.EvalConfig())
        (model,) = input_dict[standard_component_specs.MODEL_KEY]
        candidate = check_version(_folder(model))
        given = input_dict.get(standard_component_specs.BASELINE_MODEL_KEY) or []
        baselines = [artifact for artifact in given if _is_model(artifact)]
        sentence = "there is no other blessed model"
        if baselines:
            obstacle = incomparable(candidate, read_about(parts_file(_folder(baselines[0]))))
            sentence = f"compared with {name}"
            if obstacle:
                sentence, baselines = f"not {sentence}: {obstacle}", []
                logging.warning("The model is %s.", sentence)
        super().Do(
            {**input_dict, standard_component_specs.BASELINE_MODEL_KEY: baselines},
            output_dict,
            {**exec_properties, "custom_extractors": f"{__name__}.{custom_extractors.__name__}"},
        )
        (evaluation,) = output_dict[standard_component_specs.EVALUATION_KEY]
        settings, categories = read_config(config)
        bounds = bounds_of(settings, categories)
        verdict = judge(
            bounds,
            categories,
            metrics_by_slice(evaluation.uri, CANDIDATE),
            metrics_by_slice(evaluation.uri, BASELINE) if baselines else None,
            sentence,
            settings.has_exploratory_bounds,
            _failures(evaluation.uri) if bounds else (),
        )
        verdict.write(evaluation.uri)
        (blessing,) = output_dict[standard_component_specs.BLESSING_KEY]
        bless(blessing, verdict.blessed)


class Evaluator(TfxEvaluator):
    """TFX's own inputs, outputs and parameters, with our executor."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)


def check_version(saved_model: str) -> dict[str, Any]:
    """A model's parts.json; UserError `other_version`: it cannot be evaluated here."""
    about = read_about(parts_file(saved_model))
    if about.get("evaluation_version") != EVALUATION_VERSION:
        raise UserError(
            "other_version",
            f"{saved_model} was exported for version {about.get('evaluation_version')} of the "
            f"evaluation, this software has version {EVALUATION_VERSION}; export the model again "
            "with this software, or evaluate it with the one that exported it.",
        )
    return about


def incomparable(candidate: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Why two models cannot be compared, from their parts.json; empty if they can."""
    new, old = (
        {category["name"]: list(category["parts"]) for category in about.get("categories", [])}
        for about in (candidate, baseline)
    )
    if new != old:
        names = [f"{name} ({', '.join(parts)})" for name, parts in old.items()]
        return f"its parts are other ones, {'; '.join(names) or 'none'}"
    if baseline.get("evaluation_version") != EVALUATION_VERSION:
        return "it was exported for another version of the evaluation"
    return ""


def bless(blessing: types.Artifact, blessed: bool) -> None:
    """Writes the decision in the form that TFX's Pusher reads."""
    files = {True: constants.BLESSED_FILE_NAME, False: constants.NOT_BLESSED_FILE_NAME}
    for name in files.values():
        path = os.path.join(blessing.uri, name)
        if fileio.exists(path):
            fileio.remove(path)
    io_utils.write_string_file(os.path.join(blessing.uri, files[blessed]), "")
    value = constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)


def custom_extractors(
    eval_shared_model: Any, eval_config: Any, tensor_adapter_config: Any
) -> list[Any]:
    """TFMA's extractors, on small batches, with a feature CLOUD_SIZE to slice by."""
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    place = [extractor.stage_name for extractor in extractors].index("ExtractSliceKeys")
    limited = tfma.extractors.Extractor("LimitBatches", beam.FlatMap(limit_batch))
    named = tfma.extractors.Extractor("NameCloudSize", beam.Map(_with_cloud_size))
    return [limited, *extractors[:place], named, *extractors[place:]]


def limit_batch(extracts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A batch of clouds in pieces of at most MOST_CLOUDS, in their order."""
    batch = extracts[BATCH]
    for start in range(0, batch.num_rows, MOST_CLOUDS):
        rows = pa.array(range(start, min(start + MOST_CLOUDS, batch.num_rows)))
        yield {**extracts, BATCH: batch.take(rows)}


def _with_cloud_size(extracts: dict[str, Any]) -> dict[str, Any]:
    """The extracts of one cloud with its bucket, and without what no later step reads."""
    features = extracts[tfma.FEATURES_KEY]
    bucket = size_bucket(np.size(features[POINTS]) // 3)
    kept = {name: value for name, value in features.items() if np.size(value) == 1}
    extracts = {**extracts, tfma.FEATURES_KEY: {**kept, CLOUD_SIZE: np.array([bucket])}}
    extracts.pop(tfma.INPUT_KEY, None)
    return extracts


def _failures(evaluation: str) -> Iterator[tuple[str, str]]:
    """What TFMA's own check found: slice titles and metrics; the metric of a lost slice is ""."""
    validation = tfma.load_validation_result(evaluation)
    for per_slice in validation.metric_validations_per_slice:
        title = slice_title(slicer_lib.deserialize_slice_key(per_slice.slice_key))
        for failure in per_slice.failures:
            yield title, failure.metric_key.name
    for spec in validation.missing_slices:
        yield slice_title(tuple(spec.feature_values.items())), ""


def _is_model(model: types.Artifact) -> bool:
    """Whether a baseline is a model; ProductionModel marks its output if none was pushed yet.

    UserError `lost_baseline`: it is neither; to go on without it would bless any model.
    """
    folder = _folder(model)
    if is_saved_model(folder):
        return True
    if fileio.exists(os.path.join(model.uri, NO_MODEL)):
        return False
    raise UserError(
        "lost_baseline",
        f"the blessed model {folder} is on record, but its files are missing and no pushed version "
        "can be read; put the model back, or use another OUT to start without a baseline.",
    )


def _folder(model: types.Artifact) -> str:
    return str(path_utils.serving_model_path(model.uri))
