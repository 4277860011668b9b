"""Compiles the pipeline for a cluster: what Vertex AI's and Kubeflow's runners share.

Nothing here, and nothing that TFX's compiler does, reaches for a network.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from tfx import v1 as tfx
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.data_types import RuntimeParameter

from pipeline.cluster_checks import categories_of
from pipeline.cluster_settings import ClusterSettings, StepResources
from pipeline.config import PipelineConfig
from pipeline.graph import Places, create_pipeline
from pipeline.platforms import Platform
from preprocessing.conversion.manifest import Manifest
from schema.errors import UserError
from schema.record import UNLABELLED

# Where the image has the project; see deploy/Dockerfile.
IMAGE_FOLDER = "/opt/pointnet-parts"
_SCHEMA_FILE = f"{IMAGE_FOLDER}/schema/schema.pbtxt"


def cluster_places(
    config: PipelineConfig, cluster: ClusterSettings, manifest: Manifest | None
) -> Places:
    """Where a cluster's run reads and writes.

    Args:
      config: what to do.
      cluster: the platform's section, for which its `check` said nothing.
      manifest: of the data set that will be read, for its categories; None: ShapeNet's.

    Raises:
      UserError: without a manifest, a category that is not ShapeNet's.
    """
    root = str(cluster.root).rstrip("/")
    data = (cluster.data or f"{root}/data").rstrip("/")
    return Places(
        examples=data,
        pipeline_root=cluster.pipeline_root,
        serving=f"{root}/serving_model/{config.name}",
        metadata=None,
        categories=categories_of(config.data, manifest),
        unlabelled=manifest.shapes(UNLABELLED) if manifest else 0,
        training_state=f"{root}/training_state",
        schema_file=_SCHEMA_FILE,
    )


def build(
    config: PipelineConfig, places: Places, platform: Platform, section: str, gib: float = 1.0
) -> tfx.dsl.Pipeline:
    """The pipeline, each step with its resources.

    Args:
      config: what to do.
      places: where to read and write.
      platform: what the graph has to know of the platform.
      section: the platform's section of the config.
      gib: the number that the platform is given for 1 GiB of memory.

    Raises:
      UserError: resources for a step that is not there.
    """
    cluster: ClusterSettings = getattr(config, section)
    pipeline = create_pipeline(config, places, platform)
    steps = {node.id: node for node in pipeline.components if isinstance(node, BaseComponent)}
    unknown = [name for name in cluster.resources_of if name not in steps]
    if unknown:
        raise UserError(
            "bad_config",
            f"{section}.resources_of names {unknown[0]}, which is no step of the pipeline; its "
            f"steps are {', '.join(sorted(steps))}",
        )
    for name, node in steps.items():
        wanted = cluster.resources_of.get(name, cluster.resources)
        node.with_platform_config(_resource_spec(wanted, gib))
    return pipeline


def _resource_spec(wanted: StepResources, gib: float) -> Any:
    """In the terms of the compiled pipeline."""
    from kfp.pipeline_spec import pipeline_spec_pb2

    memory = wanted.memory_gib
    spec = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec(
        cpu_limit=wanted.cpu,
        # Not finer than a byte of 10**9, of which Kubernetes takes no part.
        memory_limit=None if memory is None else round(memory * gib, 9),
    )
    if wanted.accelerator:
        spec.accelerator.type = wanted.accelerator
        spec.accelerator.count = wanted.accelerators
    return spec


def defaults(pipeline: tfx.dsl.Pipeline) -> dict[str, str]:
    """The default of each runtime parameter, by its name."""
    values = [value for node in pipeline.components for value in node.exec_properties.values()]
    return {
        value.name: str(value.default) for value in values if isinstance(value, RuntimeParameter)
    }


def complete_resources(pipeline: tfx.dsl.Pipeline, spec: dict[str, Any]) -> None:
    """Puts resources into a compiled pipeline where TFX's compiler leaves them out: ExampleGen."""
    for node in pipeline.components:
        if isinstance(node, BaseComponent):
            label = spec["components"][node.id]["executorLabel"]
            container = spec["deploymentSpec"]["executors"][label]["container"]
            container["resources"] = json_format.MessageToDict(node.platform_config)


def never_cached(spec: dict[str, Any], node: BaseNode) -> None:
    """Switches the platform's cache off for a step that reads a folder."""
    spec["root"]["dag"]["tasks"][node.id]["cachingOptions"] = {}
