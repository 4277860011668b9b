"""Looks whether a config can be compiled for Kubeflow Pipelines, without TensorFlow and TFX."""

from __future__ import annotations

import re

from pipeline.cluster_checks import (
    NEEDED_BY_ALL,
    check_batch_of_step,
    check_cluster,
    check_drift,
)
from pipeline.config import PipelineConfig
from schema.errors import UserError

SECTION = "kubeflow"
# A resource's name as Kubernetes has it, such as nvidia.com/gpu.
_RESOURCE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")


def check(config: PipelineConfig) -> None:
    """Looks whether a config can be compiled for Kubeflow.

    Raises:
      UserError: what is missing or cannot work, in a sentence.
    """
    check_cluster(config, SECTION, NEEDED_BY_ALL, check_accelerator)
    check_batch_of_step(config, SECTION)
    check_drift(config, SECTION)


def check_accelerator(key: str, kind: str) -> None:
    """Raises a UserError where that is no name of a Kubernetes resource."""
    if not _RESOURCE.fullmatch(kind):
        raise UserError(
            "bad_config",
            f"{key}: found {kind!r}; give the resource's name in Kubernetes, such as "
            "nvidia.com/gpu or amd.com/gpu",
        )
