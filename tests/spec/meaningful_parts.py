"""What matters in a compiled spec, as plain values that a person reads and a diff compares.

Left out: hashes of our code, which change with every commit, versions of TFX and the SDK, labels,
and the constants of the tasks, which are the config's.
"""

from __future__ import annotations

import json
import re
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as messages

from tests.spec.compiled_spec import CompiledSpec, artifact_title
from tests.spec.graph_check import parameter_kind


def meaningful_parts(spec: CompiledSpec) -> dict[str, Any]:
    """Everything that a reviewer would want to see change."""
    return {
        "schema_version": spec.pipeline.schema_version,
        "parameters": _parameters(spec),
        "tasks": {name: _task(spec, name) for name in sorted(spec.tasks)},
    }


def _parameters(spec: CompiledSpec) -> dict[str, Any]:
    found = {}
    for name, definition in sorted(spec.pipeline.root.input_definitions.parameters.items()):
        default = spec.submitted.get(name)
        if definition.HasField("default_value"):
            default = json_format.MessageToDict(definition.default_value)
        found[name] = {"type": parameter_kind(definition), "default": _without_hashes(default)}
    return found


def _task(spec: CompiledSpec, name: str) -> dict[str, Any]:
    task, component = spec.tasks[name], spec.component(name)
    found: dict[str, Any] = {
        "after": sorted(task.dependent_tasks),
        "cached": task.caching_options.enable_cache,
        "inputs": {
            key: (
                f"{given.task_output_artifact.producer_task}."
                f"{given.task_output_artifact.output_artifact_key}: "
                f"{artifact_title(component.input_definitions.artifacts[key].artifact_type)}"
            )
            for key, given in sorted(task.inputs.artifacts.items())
        },
        "outputs": {
            key: artifact_title(definition.artifact_type)
            for key, definition in sorted(component.output_definitions.artifacts.items())
        },
        "parameters": {
            key: _parameter(given, component.input_definitions.parameters[key])
            for key, given in sorted(task.inputs.parameters.items())
        },
        **_executor(spec, name),
    }
    return {key: value for key, value in found.items() if value not in ({}, [])}


def _parameter(
    given: messages.TaskInputsSpec.InputParameterSpec,
    definition: messages.ComponentInputsSpec.ParameterSpec,
) -> str:
    kind = parameter_kind(definition)
    if given.WhichOneof("kind") == "component_input_parameter":
        return f"{kind}, the pipeline's {given.component_input_parameter}"
    return kind


def _executor(spec: CompiledSpec, name: str) -> dict[str, Any]:
    executor = spec.executor(name)
    if executor.WhichOneof("spec") == "resolver":
        queries = executor.resolver.output_artifact_queries
        return {"resolves": {key: queries[key].filter for key in sorted(queries)}}
    if executor.WhichOneof("spec") == "importer":
        return {"imports": json_format.MessageToDict(executor.importer.artifact_uri)}
    container = executor.container
    hook = container.lifecycle.pre_cache_check
    found: dict[str, Any] = {
        "image": container.image,
        "command": _words([*container.command, *container.args]),
        "resources": json_format.MessageToDict(container.resources),
    }
    if hook.command:
        found["before_the_cache"] = _words([*hook.command, *hook.args])
    if job := _custom_job(spec, name):
        found["custom_job"] = job
    return found


def _words(command: list[str]) -> str:
    """A command in a line; the definitions of inputs that go along are the component's own."""
    return " ".join("{definitions}" if word.startswith("{\n") else word for word in command)


def _custom_job(spec: CompiledSpec, name: str) -> dict[str, Any] | None:
    config = spec.tasks[name].inputs.parameters.get("custom_config")
    if config is None:
        return None
    value = config.runtime_value
    text = value.constant_value.string_value or value.constant.string_value
    found: dict[str, Any] | None = (json.loads(text) or {}).get("ai_platform_training_args")
    return found


def _without_hashes(value: Any) -> Any:
    """A parameter's default, JSON as values in order, with hashes of code taken out."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    text = re.sub(r'(code_fingerprint\\*": *\\*")[0-9a-f]{16}', r"\1(hash)", value)
    return json.loads(json.dumps(json.loads(text), sort_keys=True))
