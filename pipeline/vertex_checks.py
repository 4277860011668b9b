"""Looks whether a config can be compiled for Vertex AI, without TensorFlow and TFX."""

from __future__ import annotations

from pipeline.beam_settings import with_dataflow_defaults
from pipeline.cluster_checks import (
    NEEDED_BY_ALL,
    check_batch,
    check_batch_of_step,
    check_cluster,
    check_drift,
    trainer_resources,
)
from pipeline.cluster_settings import CustomJobSettings, VertexSettings
from pipeline.config import PipelineConfig
from pipeline.vertex_machines import check_count, check_machine
from schema.errors import UserError

SECTION = "vertex"
_NEEDED = {
    "project": "give the id of the Google Cloud project",
    "region": "give the region where everything runs, such as europe-west4",
    **NEEDED_BY_ALL,
}


def check(config: PipelineConfig) -> None:
    """Looks whether a config can be compiled for Vertex AI.

    Raises:
      UserError: what is missing or cannot work, in a sentence.
    """
    check_cluster(with_dataflow_of_vertex(config), SECTION, _NEEDED, check_accelerator)
    check_drift(config, SECTION)
    vertex = config.vertex
    if vertex.tensorboard and not vertex.service_account:
        raise UserError(
            "bad_config",
            "vertex.tensorboard is set and vertex.service_account is not: Vertex AI asks for both; "
            "give an account that may write to the TensorBoard",
        )
    if vertex.endpoint.least_replicas > vertex.endpoint.most_replicas:
        raise UserError(
            "bad_config",
            f"vertex.endpoint.least_replicas is {vertex.endpoint.least_replicas}, above "
            f"most_replicas, {vertex.endpoint.most_replicas}",
        )
    for key, used in (("training", vertex.custom_job), ("endpoint", vertex.endpoint.name)):
        machine = getattr(vertex, key)
        if not used:
            continue
        if machine.accelerator:
            check_accelerator(f"{SECTION}.{key}.accelerator", machine.accelerator)
        check_machine(
            f"{SECTION}.{key}", machine.machine, machine.accelerator, machine.accelerators
        )
    _check_steps(vertex)
    if vertex.endpoint.name and vertex.endpoint.accelerator and "-cpu." in vertex.endpoint.image:
        raise UserError(
            "bad_config",
            f"vertex.endpoint.accelerator is {vertex.endpoint.accelerator}, and vertex.endpoint."
            f"image ({vertex.endpoint.image}) is one for CPUs: give the tf2-gpu container, or no "
            "accelerator",
        )
    if vertex.custom_job:
        training = vertex.training
        each = training.accelerators if training.accelerator else 1
        where = f"vertex.training: {training.workers} workers x {each} accelerators"
        check_batch(config, training.workers * each, where)
    else:
        check_batch_of_step(config, SECTION)


def check_accelerator(key: str, kind: str) -> None:
    """Raises a UserError where Vertex AI has no GPU of that name."""
    from google.cloud.aiplatform_v1 import AcceleratorType

    known = [name for name in AcceleratorType.__members__ if name.startswith("NVIDIA_")]
    if kind not in known:
        raise UserError(
            "bad_config", f"{key}: found {kind!r}; Vertex AI's GPUs are {', '.join(known)}"
        )


def _check_steps(vertex: VertexSettings) -> None:
    """Looks at the GPUs of the pipeline's own steps, and at what a custom job would have used."""
    for name, resources in (("", vertex.resources), *vertex.resources_of.items()):
        if resources.accelerator:
            key = f"{SECTION}.resources_of.{name}" if name else f"{SECTION}.resources"
            check_count(f"{key}.accelerators", resources.accelerator, resources.accelerators)
    if vertex.custom_job:
        if trainer_resources(vertex).accelerator:
            raise UserError(
                "bad_config",
                "vertex.custom_job is true, and the Trainer's own step has an accelerator too "
                "(resources or resources_of.Trainer), which would only wait for the job: leave it "
                "out, or set custom_job to false",
            )
        return
    unused = [key for key, value in vertex.training if value != getattr(CustomJobSettings(), key)]
    keys = [f"training.{key}" for key in unused] + ["tensorboard"] * bool(vertex.tensorboard)
    if keys:
        raise UserError(
            "bad_config",
            f"vertex.custom_job is false, and {', '.join(keys)} would do nothing without one: the "
            "Trainer's step has what vertex.resources_of.Trainer says; leave them out, or set "
            "custom_job to true",
        )


def with_dataflow_of_vertex(config: PipelineConfig) -> PipelineConfig:
    """The config whose Dataflow jobs run where, and as whom, the steps that start them do."""
    vertex = config.vertex
    beam = with_dataflow_defaults(
        config.beam,
        project=vertex.project or "",
        region=vertex.region or "",
        sdk_container_image=vertex.image or "",
        service_account=vertex.service_account or "",
    )
    return config.model_copy(update={"beam": beam})
