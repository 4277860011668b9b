"""Compiles the pipeline for Vertex AI Pipelines; it only chooses where each part runs.

`pointnet-parts compile` calls it, and TFX's command line loads it as its pipeline file:

    POINTNET_CONFIG=mine.yaml tfx pipeline create --engine vertex \
        --pipeline_path $PWD/pipeline/vertex_runner.py

TFX's command passes no arguments on: POINTNET_CONFIG and POINTNET_MANIFEST say what `--config` and
`--manifest` say elsewhere.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy

from components.endpoint_pusher import ENCRYPTION_KEY
from components.production_model import ProductionModel
from pipeline.cluster_checks import read_manifest
from pipeline.cluster_settings import VertexSettings
from pipeline.cluster_step import COMMAND
from pipeline.compilation import (
    build,
    cluster_places,
    complete_resources,
    defaults,
    never_cached,
)
from pipeline.config import PipelineConfig, load_config
from pipeline.graph import Places
from pipeline.platforms import Platform
from pipeline.vertex_checks import SECTION, check, with_dataflow_of_vertex
from schema.errors import UserError

SPEC_FILE = "vertex.json"
_google = tfx.extensions.google_cloud_ai_platform


def platform(config: PipelineConfig) -> Platform:
    """What the graph has to know of Vertex AI."""
    vertex = config.vertex
    where = {_google.ENABLE_VERTEX_KEY: True, _google.VERTEX_REGION_KEY: vertex.region}
    job = {**where, _google.TRAINING_ARGS_KEY: _custom_job(config)}
    return Platform(
        resolves_models=False,
        statistics_strategy=LatestArtifactStrategy,
        runtime_parameters=True,
        trainer=_google.Trainer if vertex.custom_job else tfx.components.Trainer,
        trainer_config=job if vertex.custom_job else {},
        endpoint={**where, **_endpoint(vertex)} if vertex.endpoint.name else None,
    )


def _custom_job(config: PipelineConfig) -> dict[str, Any]:
    """The Trainer's job, as Vertex AI's CustomJob; TFX puts the command in."""
    vertex, training = config.vertex, config.vertex.training
    machine: dict[str, Any] = {"machine_type": training.machine}
    if training.accelerator:
        machine["accelerator_type"] = training.accelerator
        machine["accelerator_count"] = training.accelerators
    # The first pool is the chief, the second its workers; Vertex AI tells each in TF_CONFIG.
    pools = [
        {
            "machine_spec": machine,
            "replica_count": replicas,
            "container_spec": {"image_uri": vertex.image},
        }
        for replicas in (1, training.workers - 1)
        if replicas
    ]
    scheduling: dict[str, Any] = {"timeout": f"{training.most_hours * 3600:.0f}s"}
    if training.workers > 1:
        # The others end where one is lost, and all of them go on from the checkpoint.
        scheduling["restart_job_on_worker_restart"] = True
    if training.spot:
        scheduling["strategy"] = "SPOT"
    job_spec = {
        "worker_pool_specs": pools,
        "scheduling": scheduling,
        "base_output_directory": {"output_uri_prefix": f"{vertex.root}/custom_job"},
        "service_account": vertex.service_account,
        "network": vertex.network,
        "tensorboard": vertex.tensorboard,
    }
    return {
        "project": vertex.project,
        "display_name": f"{config.pipeline_name}-training",
        "job_spec": {key: value for key, value in job_spec.items() if value},
        **(
            {"encryption_spec": {"kms_key_name": vertex.encryption_key}}
            if vertex.encryption_key
            else {}
        ),
    }


def _endpoint(vertex: VertexSettings) -> dict[str, Any]:
    """What TFX's Pusher to an endpoint wants to know."""
    endpoint = vertex.endpoint
    arguments: dict[str, Any] = {
        "project": vertex.project,
        "endpoint_name": endpoint.name,
        "machine_type": endpoint.machine,
        "min_replica_count": endpoint.least_replicas,
        "max_replica_count": endpoint.most_replicas,
        "traffic_percentage": 100,
    }
    if endpoint.accelerator:
        arguments["accelerator_type"] = endpoint.accelerator
        arguments["accelerator_count"] = endpoint.accelerators
    return {
        _google.VERTEX_CONTAINER_IMAGE_URI_KEY: endpoint.image,
        _google.SERVING_ARGS_KEY: arguments,
        **({ENCRYPTION_KEY: vertex.encryption_key} if vertex.encryption_key else {}),
    }


def compile_pipeline(config: PipelineConfig, places: Places, file: Path) -> None:
    """Writes the PipelineJob that Vertex AI runs.

    Args:
      config: one that `check` lets pass.
      places: see `cluster_places`.
      file: what to write; ends in .json.

    Raises:
      UserError: resources for a step that is not there.
    """
    config = with_dataflow_of_vertex(config)
    pipeline = build(config, places, platform(config), SECTION)
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
            display_name=config.pipeline_name,
            default_image=config.vertex.image,
            default_commands=list(COMMAND),
        ),
        output_dir=str(file.parent),
        output_filename=file.name,
    )
    job = runner.run(pipeline, parameter_values=defaults(pipeline))
    complete_resources(pipeline, job["pipelineSpec"])
    for node in pipeline.components:
        if isinstance(node, ProductionModel):
            never_cached(job["pipelineSpec"], node)
    # TFX's command line has the runner write elsewhere.
    written = Path(runner._output_dir, runner._output_filename)
    written.write_text(json.dumps(job, indent=1, sort_keys=True) + "\n", "utf-8")


def main() -> None:
    """For TFX's command line; see the module."""
    try:
        name = os.environ.get("POINTNET_CONFIG")
        if not name:
            raise UserError(
                "bad_config",
                "the environment variable POINTNET_CONFIG is not set, and TFX's command takes no "
                "other word of a config: export POINTNET_CONFIG=mine.yaml",
            )
        config = load_config(name)
        check(config)
        manifest = read_manifest(os.environ.get("POINTNET_MANIFEST", ""))
        places = cluster_places(config, config.vertex, manifest)
        compile_pipeline(config, places, Path("out", "specs", SPEC_FILE).absolute())
    except UserError as error:
        sys.exit(f"Cannot compile: {error}")


if __name__ == "__main__":
    main()
