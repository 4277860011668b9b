"""What a backend would stumble over in a spec that parses: names that lead nowhere, wrong types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as messages

from tests.spec.compiled_spec import CompiledSpec, artifact_title

ParameterType = messages.ParameterType
PrimitiveType = messages.PrimitiveType


VERTEX, KUBEFLOW = "vertex", "kubeflow"


def faults(spec: CompiledSpec, platform: str) -> list[str]:
    """Everything that is wrong, a sentence each.

    Args:
      spec: the spec.
      platform: VERTEX, or open-source KUBEFLOW, which has no resolvers, and whose tasks wait only
        for those that they say they depend on: on Vertex also for those whose outputs they take.
    """
    return [
        *_naming(spec),
        *_executors(spec, resolvers=platform == VERTEX),
        *_artifacts(spec, implied=platform == VERTEX),
        *_task_parameters(spec),
        *_pipeline_parameters(spec),
        *_cycles(spec),
    ]


def upstream(spec: CompiledSpec, task: str) -> set[str]:
    """All tasks that a task waits for, directly and by way of others, or takes outputs of."""
    found: set[str] = set()
    waiting = before(spec, task, implied=True)
    while waiting:
        name = waiting.pop()
        if name not in found and name in spec.tasks:
            found.add(name)
            waiting |= before(spec, name, implied=True)
    return found


def before(spec: CompiledSpec, task: str, implied: bool) -> set[str]:
    """The tasks that a task itself waits for.

    Args:
      spec: the spec.
      task: the task's name.
      implied: whether it waits for those whose outputs it takes, without saying so.
    """
    found = spec.tasks[task]
    said = set(found.dependent_tasks)
    taken = {i.task_output_artifact.producer_task for i in found.inputs.artifacts.values()}
    return said | taken if implied else said


def parameter_kind(spec: messages.ComponentInputsSpec.ParameterSpec) -> str:
    """STRING, INTEGER, DOUBLE ...: 2.0 and 2.1 name their types in fields of their own."""
    if spec.parameter_type:
        return ParameterType.ParameterTypeEnum.Name(spec.parameter_type).removeprefix("NUMBER_")
    name = PrimitiveType.PrimitiveTypeEnum.Name(spec.type)
    return {"INT": "INTEGER"}.get(name, name)


def _naming(spec: CompiledSpec) -> Iterator[str]:
    """Every name leads somewhere, and nothing is left over."""
    used = set()
    for name, task in spec.tasks.items():
        component = task.component_ref.name
        if component not in spec.pipeline.components:
            yield f"task {name} names the component {component!r}, which is not there"
            continue
        used.add(component)
        label = spec.pipeline.components[component].executor_label
        if label not in spec.deployment.executors:
            yield f"component {component} names the executor {label!r}, which is not there"
    for component in set(spec.pipeline.components) - used:
        yield f"no task is of the component {component}"
    labels = {component.executor_label for component in spec.pipeline.components.values()}
    for label in set(spec.deployment.executors) - labels:
        yield f"no component has the executor {label}"


def _executors(spec: CompiledSpec, resolvers: bool) -> Iterator[str]:
    """Every executor is one that the backend can start."""
    for label, executor in spec.deployment.executors.items():
        kind = executor.WhichOneof("spec")
        if kind == "container":
            if not executor.container.image:
                yield f"executor {label} has no image"
            if not executor.container.command:
                yield f"executor {label} has no command"
        elif kind == "importer":
            if not executor.importer.artifact_uri.WhichOneof("value"):
                yield f"importer {label} does not say what to import"
        elif kind == "resolver":
            if not resolvers:
                yield f"executor {label} is a resolver, which this backend does not have"
            elif not executor.resolver.output_artifact_queries:
                yield f"resolver {label} looks for nothing"
        else:
            yield f"executor {label} is neither container nor importer nor resolver: {kind}"


def _known_component(spec: CompiledSpec, task: str) -> messages.ComponentSpec | None:
    name = spec.tasks[task].component_ref.name
    return spec.pipeline.components.get(name)


def _artifacts(spec: CompiledSpec, implied: bool) -> Iterator[str]:
    """Every consumed artifact has a producer before it, of the type that is expected."""
    for name, task in spec.tasks.items():
        component = _known_component(spec, name)
        if component is None:
            continue
        wanted = component.input_definitions.artifacts
        for key, wanted_artifact in wanted.items():
            if key not in task.inputs.artifacts and not wanted_artifact.is_optional:
                yield f"task {name} is not given the artifact {key}"
        for key, given in task.inputs.artifacts.items():
            source = given.task_output_artifact
            producer, output = source.producer_task, source.output_artifact_key
            if key not in wanted:
                yield f"task {name} is given the artifact {key}, which its component does not know"
            if producer not in spec.tasks:
                yield f"task {name} takes {key} of the task {producer!r}, which is not there"
                continue
            if producer not in before(spec, name, implied):
                yield f"task {name} takes {key} of {producer}, and does not wait for it"
            made = _known_component(spec, producer)
            if made is None:
                continue
            outputs = made.output_definitions.artifacts
            if output not in outputs:
                yield f"task {name} takes {key} of {producer}, which has no output {output!r}"
            elif key in wanted:
                found = artifact_title(outputs[output].artifact_type)
                expected = artifact_title(wanted[key].artifact_type)
                if found != expected:
                    yield f"task {name} expects {key} of type {expected}; {producer} makes {found}"


def _task_parameters(spec: CompiledSpec) -> Iterator[str]:
    """Every parameter is known, given, and of its type."""
    for name, task in spec.tasks.items():
        component = _known_component(spec, name)
        if component is None:
            continue
        wanted = component.input_definitions.parameters
        for key, definition in wanted.items():
            needed = not definition.is_optional and not definition.HasField("default_value")
            if key not in task.inputs.parameters and needed:
                yield f"task {name} is not given the parameter {key}"
        for key, given in task.inputs.parameters.items():
            if key not in wanted:
                yield f"task {name} is given the parameter {key}, which its component does not know"
                continue
            expected = parameter_kind(wanted[key])
            found = _given_kind(spec, given)
            if found is None:
                yield f"parameter {key} of task {name} comes from nowhere: {_one_line(given)}"
            elif not _agree(found, expected):
                yield f"parameter {key} of task {name} is {found}; its component expects {expected}"


def _given_kind(
    spec: CompiledSpec, given: messages.TaskInputsSpec.InputParameterSpec
) -> str | None:
    """The type of what a task is given; None where it is given nothing that is there."""
    kind = given.WhichOneof("kind")
    if kind == "component_input_parameter":
        parameters = spec.pipeline.root.input_definitions.parameters
        name = given.component_input_parameter
        return parameter_kind(parameters[name]) if name in parameters else None
    if kind == "task_output_parameter":
        source = given.task_output_parameter
        made = (
            _known_component(spec, source.producer_task)
            if source.producer_task in (spec.tasks)
            else None
        )
        outputs = made.output_definitions.parameters if made is not None else {}
        key = source.output_parameter_key
        return parameter_kind(outputs[key]) if key in outputs else None
    if kind == "runtime_value":
        value = given.runtime_value
        if value.WhichOneof("value") == "constant_value":
            constant = value.constant_value.WhichOneof("value")
            return {"int_value": "INTEGER", "double_value": "DOUBLE"}.get(constant, "STRING")
        if value.WhichOneof("value") == "constant":
            constant = value.constant.WhichOneof("kind")
            return {"number_value": "NUMBER", "bool_value": "BOOLEAN"}.get(constant, "STRING")
    return None


def _agree(found: str, expected: str) -> bool:
    # JSON has one kind of number.
    return found == expected or (found == "NUMBER" and expected in ("INTEGER", "DOUBLE"))


def _pipeline_parameters(spec: CompiledSpec) -> Iterator[str]:
    """What a submission may set has a default, which the types allow, and reaches a task."""
    parameters = spec.pipeline.root.input_definitions.parameters
    used = {
        given.component_input_parameter
        for task in spec.tasks.values()
        for given in task.inputs.parameters.values()
    }
    for name, definition in parameters.items():
        if name not in used:
            yield f"the pipeline's parameter {name} reaches no task"
        if name not in spec.submitted and not definition.HasField("default_value"):
            yield f"the pipeline's parameter {name} has no default"
    for name, value in spec.submitted.items():
        if name not in parameters:
            yield f"the job sets the parameter {name}, which the pipeline does not have"
        elif not _holds(parameter_kind(parameters[name]), value):
            yield f"the job sets {name} to {value!r}, no {parameter_kind(parameters[name])}"


def _holds(kind: str, value: Any) -> bool:
    types = {"STRING": str, "INTEGER": int, "DOUBLE": (int, float), "BOOLEAN": bool}
    whole = isinstance(value, float) and value.is_integer() and kind == "INTEGER"
    return whole or isinstance(value, types.get(kind, object))


def _cycles(spec: CompiledSpec) -> Iterator[str]:
    for name, task in spec.tasks.items():
        for other in task.dependent_tasks:
            if other not in spec.tasks:
                yield f"task {name} waits for the task {other!r}, which is not there"
        if name in upstream(spec, name):
            yield f"task {name} waits for itself, by way of other tasks"


def _one_line(message: Any) -> str:
    return " ".join(str(message).split())
