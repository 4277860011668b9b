"""Measures exported models outside a pipeline, with the executor that a pipeline runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx import types
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

import schema
from components.evaluator.component import BASELINE_NAME, Executor
from components.evaluator.verdict import Verdict, read_verdict
from preprocessing.conversion.beam_options import IN_PROCESS
from preprocessing.conversion.records import SUFFIX, Writer, to_example
from schema.record import Cloud

SPLIT = "test"


def stage_model(model: Path, folder: Path) -> types.Artifact:
    """A SavedModel's folder as TFX's artifact; `folder` gets a link to it."""
    folder.mkdir(parents=True)
    (folder / "Format-Serving").symlink_to(model.absolute(), target_is_directory=True)
    return _artifact(standard_artifacts.Model, folder)


def stage_clouds(clouds: Iterable[Cloud], folder: Path) -> tuple[types.Artifact, int]:
    """Labelled clouds as TFX's artifact with the split SPLIT, and their number."""
    split = folder / f"Split-{SPLIT}"
    split.mkdir(parents=True)
    count = 0
    with (split / f"clouds{SUFFIX}").open("wb") as file:
        writer = Writer(file)
        for count, cloud in enumerate(clouds, start=1):  # noqa: B007
            writer.write(to_example(cloud))
        writer.close()
    artifact = _artifact(standard_artifacts.Examples, folder)
    artifact.split_names = artifact_utils.encode_split_names([SPLIT])
    examples_utils.set_payload_format(artifact, tfx.proto.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(artifact, "tfrecords_gzip")
    return artifact, count


def evaluate(
    model: types.Artifact,
    clouds: types.Artifact,
    config: tfma.EvalConfig,
    folder: Path,
    baseline: tuple[types.Artifact, str] | None = None,
    beam_args: Sequence[str] = IN_PROCESS,
) -> Verdict:
    """Measures a model, and perhaps a baseline (with its name for people) on the same clouds.

    `folder` then has `evaluation`, to be read by `metrics_by_slice`, and `blessing`. UserError: as
    of the executor.
    """
    description = _artifact(standard_artifacts.Schema, folder / "schema")
    shutil.copy(Path(str(schema.__file__)).with_name("schema.pbtxt"), description.uri)
    evaluation = _artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")
    blessing = _artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    inputs = {"model": [model], "examples": [clouds], "schema": [description]}
    properties = {
        "eval_config": json_format.MessageToJson(config, preserving_proto_field_name=True),
        "example_splits": json.dumps([SPLIT]),
    }
    if baseline is not None:
        inputs["baseline_model"], properties[BASELINE_NAME] = [baseline[0]], baseline[1]
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    outputs = {"evaluation": [evaluation], "blessing": [blessing]}
    Executor(context).Do(inputs, outputs, properties)
    return read_verdict(evaluation.uri)


def _artifact(kind: type[types.Artifact], folder: Path) -> types.Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    artifact = kind()
    artifact.uri = str(folder)
    return artifact
