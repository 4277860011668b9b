"""Trains what a run's Trainer trained, outside of the pipeline: the work of `pointnet-parts train`.

TFX's own executor does it, with the inputs and parameters that ML Metadata has of the run. On
several machines each starts it with its own task in TF_CONFIG; they train one network together.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.components.trainer.executor import GenericExecutor
from tfx.orchestration import metadata
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs

from schema.errors import UserError

_RUN_AGAIN = "give the folder (OUT) of a run that came as far as the Trainer"


def train_alone(run: Path, output: Path) -> Path:
    """Trains, and exports the model.

    Args:
      run: the output folder of a run on this machine, seen by all workers under this path.
      output: the folder to write: model/Format-Serving, model_run.

    Returns:
      The exported model's folder.

    Raises:
      UserError: there is no such run, or the output holds a model already.
      UserError: see `model.training.trainer.run_fn`.
    """
    file = run / "pipeline" / "metadata.sqlite"
    if not file.is_file():
        raise UserError("bad_config", f"{run} holds no run: there is no {file}; {_RUN_AGAIN}")
    exported = output / "model" / "Format-Serving"
    if exported.exists():
        raise UserError(
            "bad_config", f"{output} holds a trained model already; give another output"
        )
    inputs, parameters = _last_training(file)
    for artifact in (found for artifacts in inputs.values() for found in artifacts):
        if not os.path.exists(artifact.uri):
            raise UserError(
                "bad_config", f"{artifact.uri} of that run is not there any more; run it again"
            )
    model, model_run = standard_artifacts.Model(), standard_artifacts.ModelRun()
    model.uri, model_run.uri = str(output / "model"), str(output / "model_run")
    outputs: dict[str, list[Any]] = {
        standard_component_specs.MODEL_KEY: [model],
        standard_component_specs.MODEL_RUN_KEY: [model_run],
    }
    GenericExecutor().Do(inputs, outputs, parameters)
    return exported


def _last_training(file: Path) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The input artifacts and the parameters of the newest execution of the Trainer."""
    connection = metadata.sqlite_metadata_connection_config(str(file))
    with metadata.Metadata(connection) as handle:
        store = handle.store
        executions = [
            execution
            for context in store.get_contexts_by_type("node")
            if context.name.endswith(".Trainer")
            for execution in store.get_executions_by_context(context.id)
        ]
        if not executions:
            raise UserError(
                "bad_config", f"no run in {file} came as far as the Trainer; {_RUN_AGAIN}"
            )
        newest = max(executions, key=lambda execution: execution.id)
        types = {kind.id: kind for kind in store.get_artifact_types()}
        inputs: dict[str, list[Any]] = {}
        for event in store.get_events_by_execution_ids([newest.id]):
            if event.type == metadata_store_pb2.Event.INPUT:  # type: ignore[attr-defined]
                (artifact,) = store.get_artifacts_by_id([event.artifact_id])
                inputs.setdefault(event.path.steps[0].key, []).append(
                    artifact_utils.deserialize_artifact(types[artifact.type_id], artifact)
                )
    values = {**newest.properties, **newest.custom_properties}
    return inputs, {key: _value(value) for key, value in values.items()}


def _value(value: Any) -> Any:
    """A property's value, of whatever type it is."""
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
