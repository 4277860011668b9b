"""Compiles the pipeline for open-source Kubeflow Pipelines 2; it only chooses where each part runs.

Two things that TFX's graph has elsewhere do not run there, and are replaced: the Resolver of the
blessed model by ProductionModel, the InfraValidator by ModelServerProbe. Without a Resolver there
is no drift against the last run either.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from tfx import v1 as tfx

from components.production_model import ProductionModel
from pipeline.cluster_step import COMMAND, WITHOUT_MARKERS
from pipeline.compilation import build, complete_resources, defaults, never_cached
from pipeline.config import PipelineConfig
from pipeline.graph import Places
from pipeline.kubeflow_checks import SECTION
from pipeline.platforms import Platform

SPEC_FILE = "kubeflow.yaml"
# Its driver writes the number with Kubernetes' suffix G, 10**9 bytes.
GIB = 2**30 / 10**9
PLATFORM = Platform(resolves_models=False, statistics_strategy=None, runtime_parameters=True)


def compile_pipeline(config: PipelineConfig, places: Places, file: Path) -> None:
    """Writes the pipeline spec that Kubeflow Pipelines 2 runs, schema version 2.1.0.

    Args:
      config: one that `kubeflow_checks.check` lets pass.
      places: see `cluster_places`.
      file: what to write; ends in .yaml.

    Raises:
      UserError: resources for a step that is not there.
    """
    pipeline = build(config, places, PLATFORM, SECTION, GIB)
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
            default_image=config.kubeflow.image,
            default_commands=[*COMMAND, WITHOUT_MARKERS],
            use_pipeline_spec_2_1=True,
        )
    )
    spec = runner.run(pipeline, write_out=False)["pipelineSpec"]
    complete_resources(pipeline, spec)
    spec["defaultPipelineRoot"] = places.pipeline_root
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for name, value in defaults(pipeline).items():
        parameters[name] |= {"defaultValue": value, "isOptional": True}
    for node in pipeline.components:
        if isinstance(node, (ProductionModel, tfx.components.ImportExampleGen)):
            # Kubeflow's cache knows the name of the folder that they read, not what is in it. On
            # Vertex AI, TFX looks into ImportExampleGen's folder before the cache is asked.
            never_cached(spec, node)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(spec, sort_keys=True, width=100), "utf-8")
