"""A compiled pipeline, read as strictly as its protobuf messages allow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as messages

EXECUTORS = messages.PipelineDeploymentConfig


@dataclass
class CompiledSpec:
    """A spec in its messages.

    Attributes:
      pipeline: tasks, components and the pipeline's own parameters.
      deployment: what each component executes.
      submitted: runtime parameters that the file itself brings (a Vertex PipelineJob does).
      platforms: platform -> settings of each executor; Kubeflow's second YAML document.
    """

    pipeline: messages.PipelineSpec
    deployment: messages.PipelineDeploymentConfig
    submitted: dict[str, Any] = field(default_factory=dict)
    platforms: dict[str, Any] = field(default_factory=dict)

    @property
    def tasks(self) -> dict[str, messages.PipelineTaskSpec]:
        """Every task, by name."""
        return dict(self.pipeline.root.dag.tasks)

    def component(self, task: str) -> messages.ComponentSpec:
        """The component that a task names."""
        return self.pipeline.components[self.tasks[task].component_ref.name]

    def executor(self, task: str) -> EXECUTORS.ExecutorSpec:
        """What a task executes."""
        return self.deployment.executors[self.component(task).executor_label]

    def container(self, task: str) -> EXECUTORS.PipelineContainerSpec:
        """The container that a task starts."""
        return self.executor(task).container

    def copy(self) -> CompiledSpec:
        """One that can be broken without harm."""
        pipeline, deployment = messages.PipelineSpec(), messages.PipelineDeploymentConfig()
        pipeline.CopyFrom(self.pipeline)
        deployment.CopyFrom(self.deployment)
        return CompiledSpec(pipeline, deployment, dict(self.submitted), dict(self.platforms))


def read(path: Path) -> CompiledSpec:
    """Reads a Vertex PipelineJob (.json) or a Kubeflow pipeline spec (.yaml).

    Raises:
      json_format.ParseError: a field that the messages do not have, or of another type.
    """
    if path.suffix == ".json":
        return from_job(json.loads(path.read_text("utf-8")))
    return from_documents(list(yaml.safe_load_all(path.read_text("utf-8"))))


def from_job(job: dict[str, Any]) -> CompiledSpec:
    """Reads a PipelineJob."""
    parsed = json_format.ParseDict(job, messages.PipelineJob())
    spec = _from_spec(job["pipelineSpec"])
    config = parsed.runtime_config
    spec.submitted = {
        **{name: _plain(value) for name, value in config.parameters.items()},
        **json_format.MessageToDict(config).get("parameterValues", {}),
    }
    return spec


def from_documents(documents: list[dict[str, Any]]) -> CompiledSpec:
    """Reads a pipeline spec and, where there is one, what Kubernetes is told beside it."""
    spec = _from_spec(documents[0])
    for document in documents[1:]:
        platform = json_format.ParseDict(document, messages.PlatformSpec())
        spec.platforms.update(json_format.MessageToDict(platform)["platforms"])
    return spec


def _from_spec(spec: dict[str, Any]) -> CompiledSpec:
    pipeline = json_format.ParseDict(spec, messages.PipelineSpec())
    # A Struct takes whatever it is given: what is in it is parsed as what it has to be.
    deployment = json_format.ParseDict(spec["deploymentSpec"], messages.PipelineDeploymentConfig())
    return CompiledSpec(pipeline, deployment)


def _plain(value: messages.Value) -> Any:
    return getattr(value, value.WhichOneof("value"))


def artifact_title(schema: messages.ArtifactTypeSchema) -> str:
    """What an artifact's type is called, e.g. tfx.Examples."""
    if schema.WhichOneof("kind") == "schema_title":
        return schema.schema_title
    found = yaml.safe_load(schema.instance_schema) or {}
    return str(found.get("title", ""))
