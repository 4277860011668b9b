"""Compiles the pipeline for a cluster: what Vertex AI's and Kubeflow's runners share.

Nothing here, and nothing that TFX's compiler does, reaches for a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from tfx import v1 as tfx
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter

from pipeline.beam_settings import beam_args
from pipeline.cluster_settings import PLATFORMS, ClusterSettings, StepResources
from pipeline.config import ConfigError, PipelineConfig
from pipeline.graph import Places, create_pipeline
from pipeline.platforms import Platform
from preprocessing.benchmark_parts import benchmark_category
from preprocessing.manifest import Manifest
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.record import UNLABELLED

# Where the image has the project; see deploy/Dockerfile.
IMAGE_FOLDER = "/opt/pointnet-parts"
_SCHEMA_FILE = f"{IMAGE_FOLDER}/schema/schema.pbtxt"
_ONLY_HERE = ("--flink_job_server_jar", "--spark_job_server_jar")
NEEDED_BY_ALL = {
    "root": "give a folder in a bucket that the cluster can write, such as gs://bucket/pointnet",
    "image": "give the image that `make image` built and pushed, with its tag or digest",
}


def cluster_places(
    config: PipelineConfig, cluster: ClusterSettings, manifest: Manifest | None
) -> Places:
    """Where a cluster's run reads and writes.

    Args:
      config: what to do.
      cluster: the platform's section, for which `check_cluster` said nothing.
      manifest: of the data set that will be read, for its categories; None: ShapeNet's.

    Raises:
      ConfigError: without a manifest, a category that is not ShapeNet's.
    """
    root = str(cluster.root).rstrip("/")
    data = (cluster.data or f"{root}/data").rstrip("/")
    return Places(
        examples=data,
        pipeline_root=f"{root}/artifacts",
        serving=f"{root}/serving_model/{config.name}",
        metadata=None,
        categories=manifest.categories if manifest else _shapenet_categories(config.data),
        test_parts=manifest.parts_in("test") if manifest else None,
        unlabelled=manifest.shapes(UNLABELLED) if manifest else 0,
        data=data,
        training_state=f"{root}/training_state",
        schema_file=_SCHEMA_FILE,
    )


def _shapenet_categories(data: DataSettings) -> tuple[Category, ...]:
    """What conversion makes of ShapeNet's part annotations with these settings."""
    wanted = [c for c in SHAPENET_CATEGORIES if data.category in ("all", c.name)]
    if not wanted:
        names = ", ".join(category.name for category in SHAPENET_CATEGORIES)
        raise ConfigError(
            f"data.category is {data.category}, whose parts only the data knows: give the "
            "manifest.json of the converted data set (--manifest); without one it must be all or "
            f"one of {names}"
        )
    return tuple(benchmark_category(c.directory, data.unannotated) for c in wanted)


def check_cluster(config: PipelineConfig, section: str, needed: Mapping[str, str]) -> None:
    """Looks whether a config can be compiled for a platform.

    Args:
      config: the config.
      section: the platform's section of it, such as "vertex".
      needed: the section's keys that must be set, and what to set each to.

    Raises:
      ConfigError: naming every key that is missing, or what cannot run there.
    """
    cluster: ClusterSettings = getattr(config, section)
    missing = [key for key in needed if not getattr(cluster, key)]
    if missing:
        hint = "".join(
            f" (the config has a section {other}: --platform {other} compiles for that)"
            for other in used_platforms(config)
            if other != section and not cluster.root
        )
        wanted = "; ".join(f"{section}.{key} is missing: {needed[key]}" for key in missing)
        raise ConfigError(wanted + hint)
    if config.infra_validation == "docker":
        raise ConfigError(
            f"infra_validation is docker, and no step of {section} has a Docker daemon; set it to "
            "auto or probe: ModelServerProbe asks the model without one"
        )
    for arg in beam_args(config.beam):
        if arg.partition("=")[0] in _ONLY_HERE or arg == "--environment_type=LOOPBACK":
            raise ConfigError(
                f"beam has Beam started with {arg}, which holds for this machine and not inside a "
                f"step of {section}: give the job_endpoint of a job server that runs already, and "
                "environment_type DOCKER with the image"
            )


def used_platforms(config: PipelineConfig) -> list[str]:
    """Which clusters a config has a root for."""
    return [section for section in PLATFORMS if getattr(config, section).root]


def build(
    config: PipelineConfig,
    places: Places,
    platform: Platform,
    section: str,
    check_accelerator: Callable[[str, str], None],
) -> tfx.dsl.Pipeline:
    """The pipeline, each step with its resources.

    Args:
      config: what to do.
      places: where to read and write.
      platform: what the graph has to know of the platform.
      section: the platform's section of the config.
      check_accelerator: given a key of the config and the kind of accelerator found there, raises a
        ConfigError where it is none of the platform's.
    """
    cluster: ClusterSettings = getattr(config, section)
    pipeline = create_pipeline(config, places, platform)
    steps = {node.id: node for node in pipeline.components if isinstance(node, BaseComponent)}
    unknown = [name for name in cluster.resources_of if name not in steps]
    if unknown:
        raise ConfigError(
            f"{section}.resources_of names {unknown[0]}, which is no step of the pipeline; its "
            f"steps are {', '.join(sorted(steps))}"
        )
    for name, node in steps.items():
        own = cluster.resources_of.get(name)
        wanted = own or cluster.resources
        if wanted.accelerator:
            key = f"resources_of.{name}" if own else "resources"
            check_accelerator(f"{section}.{key}.accelerator", wanted.accelerator)
        node.with_platform_config(_resource_spec(wanted))
    return pipeline


def _resource_spec(wanted: StepResources) -> Any:
    """In the terms of the compiled pipeline."""
    from kfp.pipeline_spec import pipeline_spec_pb2

    spec = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec(
        cpu_limit=wanted.cpu, memory_limit=wanted.memory_gib
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


def read_manifest(file: str) -> Manifest | None:
    """A manifest.json by its path; "" is none.

    Raises:
      ConfigError: it cannot be read.
      BadInput: it is no manifest.
    """
    if not file:
        return None
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the manifest {file} cannot be read ({getattr(error, 'strerror', None) or error}); "
            "give the manifest.json that conversion wrote (of one in a bucket, a copy)"
        ) from None
    return Manifest.from_text(text, file)
