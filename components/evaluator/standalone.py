"""Measures an exported model outside a pipeline, with the very executor that a pipeline runs."""

from __future__ import annotations

import json
import os
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
from components.evaluator.executor import BASELINE_NAME, Executor
from components.evaluator.verdict import Verdict, read_verdict
from preprocessing.conversion.beam_options import IN_PROCESS
from preprocessing.conversion.records import SUFFIX, Writer, to_example
from schema.record import Cloud

SPLIT = "test"
_SERVING = "Format-Serving"


def stage_model(model: Path, folder: Path) -> types.Artifact:
    """A SavedModel's folder as TFX's artifact; `folder` gets a link to it."""
    folder.mkdir(parents=True)
    (folder / _SERVING).symlink_to(model.absolute(), target_is_directory=True)
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    return artifact


def stage_clouds(clouds: Iterable[Cloud], folder: Path) -> tuple[types.Artifact, int]:
    """Labelled clouds as TFX's artifact with the split SPLIT, and their number."""
    split = folder / f"Split-{SPLIT}"
    split.mkdir(parents=True)
    count = 0
    with (split / f"clouds{SUFFIX}").open("wb") as file:
        writer = Writer(file)
        for cloud in clouds:
            writer.write(to_example(cloud))
            count += 1
        writer.close()
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
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
    """Measures a model, and another one on the same clouds.

    Args:
      model: see `stage_model`.
      clouds: see `stage_clouds`.
      config: what to measure, and the bounds; see pipeline.graph.evaluation_config.
      folder: where to write; holds `evaluation` and `blessing` afterwards.
      baseline: the model to hold it against, and its name for people.
      beam_args: Beam's options.

    Returns:
      The verdict; read the numbers from folder / "evaluation", see components/evaluator/metrics.py.
    """
    described = standard_artifacts.Schema()
    described.uri = str(folder / "schema")
    os.makedirs(described.uri)
    shutil.copy(Path(str(schema.__file__)).with_name("schema.pbtxt"), described.uri)
    outputs = {}
    for name, kind in (
        ("evaluation", standard_artifacts.ModelEvaluation),
        ("blessing", standard_artifacts.ModelBlessing),
    ):
        outputs[name] = kind()
        outputs[name].uri = str(folder / name)
        os.makedirs(outputs[name].uri)
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    Executor(context).Do(
        {
            "model": [model],
            "examples": [clouds],
            "schema": [described],
            **({"baseline_model": [baseline[0]]} if baseline else {}),
        },
        {name: [artifact] for name, artifact in outputs.items()},
        {
            "eval_config": json_format.MessageToJson(config, preserving_proto_field_name=True),
            "example_splits": json.dumps([SPLIT]),
            **({BASELINE_NAME: baseline[1]} if baseline else {}),
        },
    )
    return read_verdict(outputs["evaluation"].uri)
