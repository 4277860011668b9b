"""Looks whether a config can be compiled for Vertex AI, without TensorFlow and TFX."""

from __future__ import annotations

from pipeline.beam_settings import with_dataflow_defaults
from pipeline.cluster_checks import (
    NEEDED_BY_ALL,
    check_batch,
    check_batch_of_step,
    check_cluster,
)
from pipeline.config import ConfigError, PipelineConfig

SECTION = "vertex"
_NEEDED = {
    "project": "give the id of the Google Cloud project",
    "region": "give the region where everything runs, such as europe-west4",
    **NEEDED_BY_ALL,
}
# How many of a kind one machine takes; Vertex AI says no only when the job starts.
_COUNTS = {
    "NVIDIA_TESLA_T4": (1, 2, 4),
    "NVIDIA_TESLA_V100": (1, 2, 4, 8),
    "NVIDIA_L4": (1, 2, 4, 8),
}


def check(config: PipelineConfig) -> None:
    """Looks whether a config can be compiled for Vertex AI.

    Raises:
      ConfigError: what is missing or cannot work, in a sentence.
    """
    check_cluster(with_dataflow_of_vertex(config), SECTION, _NEEDED, check_accelerator)
    vertex = config.vertex
    if vertex.tensorboard and not vertex.service_account:
        raise ConfigError(
            "vertex.tensorboard is set and vertex.service_account is not: Vertex AI asks for both; "
            "give an account that may write to the TensorBoard"
        )
    if vertex.endpoint.least_replicas > vertex.endpoint.most_replicas:
        raise ConfigError(
            f"vertex.endpoint.least_replicas is {vertex.endpoint.least_replicas}, above "
            f"most_replicas, {vertex.endpoint.most_replicas}"
        )
    for key, used in (("training", vertex.custom_job), ("endpoint", vertex.endpoint.name)):
        machine = getattr(vertex, key)
        if used and machine.accelerator:
            check_accelerator(f"{SECTION}.{key}.accelerator", machine.accelerator)
            _check_count(f"{SECTION}.{key}.accelerators", machine.accelerator, machine.accelerators)
    if vertex.custom_job:
        training = vertex.training
        each = training.accelerators if training.accelerator else 1
        where = f"vertex.training: {training.workers} workers x {each} accelerators"
        check_batch(config, training.workers * each, where)
    else:
        check_batch_of_step(config, SECTION)


def check_accelerator(key: str, kind: str) -> None:
    """Raises a ConfigError where Vertex AI has no GPU of that name."""
    from google.cloud.aiplatform_v1 import AcceleratorType

    known = [name for name in AcceleratorType.__members__ if name.startswith("NVIDIA_")]
    if kind not in known:
        raise ConfigError(f"{key}: found {kind!r}; Vertex AI's GPUs are {', '.join(known)}")


def _check_count(key: str, kind: str, count: int) -> None:
    counts = _COUNTS.get(kind, (count,))
    if count not in counts:
        raise ConfigError(
            f"{key}: found {count}; a machine has {', '.join(map(str, counts))} of {kind}: give "
            "one of these, and more machines for more of them"
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
