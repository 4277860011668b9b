"""Executes a compiled spec here, as Vertex's and Kubeflow's launchers would execute it there.

Each step is what the spec says: the container's own command and arguments, in a process of its own,
with an ExecutorInput in place of `{{$}}`. It is no backend: see docs/compiled_specs.md for what is
emulated (resolvers, importers, the cache, the store of artifacts) and what stands in for what.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format, struct_pb2
from kfp.pipeline_spec import pipeline_spec_pb2 as messages

from tests.google_storage import WITHOUT_A_KEY, GoogleStorage
from tests.spec.compiled_spec import CompiledSpec, artifact_title
from tests.spec.graph_check import KUBEFLOW, VERTEX, before, parameter_kind
from tests.spec.kubeflow_launcher import download

CHECKOUT = Path(__file__).resolve().parents[2]
# Two cores; TFX's start takes one each.
AT_ONCE = 2
EXECUTED, CACHED, EMULATED = "executed", "cached", "emulated"

Artifacts = dict[str, list[messages.RuntimeArtifact]]


class StepFailed(AssertionError):
    """A step that ended with an error: which, and the end of what it said."""


@dataclass
class Step:
    """What became of a task in a run."""

    task: str
    state: str
    outputs: Artifacts
    path: Callable[[str], Path]
    seconds: float = 0.0

    def uri(self, key: str) -> Path:
        """Where an output lies on this machine."""
        return self.path(self.outputs[key][0].uri)


@dataclass
class Run:
    """A submitted run, ended."""

    steps: dict[str, Step] = field(default_factory=dict)

    def tasks(self, state: str) -> set[str]:
        """The tasks in a state."""
        return {name for name, step in self.steps.items() if step.state == state}


class LocalBackend:
    """The backend's store, cache and launcher, as far as our specs need them.

    Artifacts of all its runs stay known: to resolvers, and to the cache. What steps write lies in a
    bucket, a double of which they reach as they would reach Google's.
    """

    # VERTEX or KUBEFLOW; the two below.
    name: str

    def __init__(
        self,
        spec: CompiledSpec,
        root: str,
        logs: Path,
        say: Callable[[str], None],
        storage: GoogleStorage,
        environment: dict[str, str],
    ) -> None:
        """Makes one.

        Args:
          spec: the spec; its image's folder is already one of this machine.
          root: the pipeline root, an address in a bucket.
          logs: a folder of this machine.
          say: gets a line a step.
          storage: where the buckets are.
          environment: what a step needs to reach them.
        """
        self.spec = spec
        self.root = root
        self.logs = logs
        self.say = say
        self.storage = storage
        self._reach = environment
        self._store: list[messages.RuntimeArtifact] = []
        self._cache: dict[str, Artifacts] = {}
        self._runs = 0

    def submit(self, **parameters: Any) -> Run:
        """Executes the whole graph once.

        Args:
          **parameters: runtime parameters by name; the others keep the spec's defaults.

        Raises:
          StepFailed: a step ended with an error; nothing behind it was started.
        """
        self._runs += 1
        values = self._parameters(parameters)
        run = Run()
        waiting, running = set(self.spec.tasks), {}
        started = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while waiting or running:
                ready = [t for t in sorted(waiting) if self._can_start(t, run)]
                for task in ready[: AT_ONCE - len(running)]:
                    waiting.discard(task)
                    running[pool.submit(self._step, task, run, values)] = task
                if not running:
                    raise StepFailed(f"nothing can start: {sorted(waiting)} wait for each other")
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    running.pop(future)
                    step = future.result()
                    run.steps[step.task] = step
                    self.say(
                        f"{self.name} run {self._runs}: {step.task} {step.state}, "
                        f"{step.seconds:.0f} s"
                    )
        self.say(f"{self.name} run {self._runs}: done in {time.monotonic() - started:.0f} s")
        return run

    # What the two backends do differently.

    def _before(self, inputs: Artifacts, folder: Path) -> None:
        """What the launcher does with the inputs."""

    def _environment(self) -> dict[str, str]:
        """What a step finds in its environment besides this process's own."""
        return self._reach

    def _executor_input(
        self, task: str, inputs: Artifacts, values: dict[str, Any], folder: Path
    ) -> messages.ExecutorInput:
        raise NotImplementedError

    def _output_file(self, folder: Path) -> str:
        raise NotImplementedError

    def _pre_cache_check(self, task: str) -> Iterable[str]:
        """The command that Vertex runs before it looks into its cache; Kubeflow has none."""
        return ()

    def _recorded(self, artifact: messages.RuntimeArtifact, number: int) -> None:
        """Gives an artifact of an ended step what the backend's store gives it."""
        raise NotImplementedError

    # The same in both.

    def path(self, address: str) -> Path:
        """Where an address lies on this machine."""
        return self.storage.path(address) if address.startswith("gs://") else Path(address)

    def _place(self, folder: Path) -> str:
        """The address that belongs to a folder of the logs."""
        return f"{self.root}/{folder.relative_to(self.logs)}"

    def _parameters(self, given: dict[str, Any]) -> dict[str, Any]:
        """The pipeline's parameters: those of the submission, of the job, or their defaults."""
        definitions = self.spec.pipeline.root.input_definitions.parameters
        unknown = set(given) - set(definitions)
        assert not unknown, f"the pipeline has no parameter {sorted(unknown)}"
        values = {}
        for name, definition in definitions.items():
            if definition.HasField("default_value"):
                values[name] = json_format.MessageToDict(definition.default_value)
            values.update({k: v for k, v in self.spec.submitted.items() if k == name})
            values.update({k: v for k, v in given.items() if k == name})
            assert name in values, f"the pipeline's parameter {name} has neither value nor default"
        return values

    def _can_start(self, task: str, run: Run) -> bool:
        return before(self.spec, task, implied=self.name == VERTEX) <= set(run.steps)

    def _step(self, task: str, run: Run, parameters: dict[str, Any]) -> Step:
        started = time.monotonic()
        spec, executor = self.spec.tasks[task], self.spec.executor(task)
        assert not spec.trigger_policy.condition, f"{task}: conditions are not emulated"
        inputs = {
            key: run.steps[given.task_output_artifact.producer_task].outputs[
                given.task_output_artifact.output_artifact_key
            ]
            for key, given in spec.inputs.artifacts.items()
        }
        values = self._values(task, parameters)
        kind = executor.WhichOneof("spec")
        if kind == "resolver":
            state, outputs = EMULATED, self._resolve(executor.resolver, inputs)
        elif kind == "importer":
            state, outputs = EMULATED, self._import(task, executor.importer)
        else:
            state, outputs = self._start(task, inputs, values)
        return Step(task, state, outputs, self.path, time.monotonic() - started)

    def _values(self, task: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """A task's parameters, of their declared types."""
        component = self.spec.component(task)
        given = self.spec.tasks[task].inputs.parameters
        values = {}
        for name, definition in component.input_definitions.parameters.items():
            if name in given:
                value = self._value(given[name], parameters)
            elif definition.HasField("default_value"):
                value = json_format.MessageToDict(definition.default_value)
            else:
                continue
            values[name] = int(value) if parameter_kind(definition) == "INTEGER" else value
        return values

    def _value(
        self, given: messages.TaskInputsSpec.InputParameterSpec, parameters: dict[str, Any]
    ) -> Any:
        if given.WhichOneof("kind") == "component_input_parameter":
            return parameters[given.component_input_parameter]
        constant = given.runtime_value
        if constant.WhichOneof("value") == "constant_value":
            return getattr(constant.constant_value, constant.constant_value.WhichOneof("value"))
        return json_format.MessageToDict(constant.constant)

    def _start(self, task: str, inputs: Artifacts, values: dict[str, Any]) -> tuple[str, Artifacts]:
        """Takes a step from the cache, or runs its container's command."""
        container = self.spec.container(task)
        folder = self.logs / self.spec.pipeline.pipeline_info.name / str(self._runs) / task
        folder.mkdir(parents=True)
        executor_input = self._executor_input(task, inputs, values, folder)
        output_file = self.path(self._output_file(folder))
        hook = self._pre_cache_check(task)
        found = messages.ExecutorOutput()
        if hook:
            self._execute(task, hook, executor_input, folder / "pre_cache_check.log")
            found = _executor_output(output_file)
            _merge(executor_input.outputs.artifacts, found.artifacts)
        key = json.dumps(
            [
                container.image,
                [*container.command, *container.args],
                {k: [a.name for a in artifacts] for k, artifacts in inputs.items()},
                values,
                json_format.MessageToDict(found).get("parameterValues", {}),
            ],
            sort_keys=True,
        )
        if self.spec.tasks[task].caching_options.enable_cache and key in self._cache:
            return CACHED, self._cache[key]
        self._before(inputs, folder)
        self._execute(
            task, [*container.command, *container.args], executor_input, folder / "executor.log"
        )
        _merge(executor_input.outputs.artifacts, _executor_output(output_file).artifacts)
        outputs = {k: list(v.artifacts) for k, v in executor_input.outputs.artifacts.items()}
        self._keep(outputs)
        self._cache[key] = outputs
        return EXECUTED, outputs

    def _keep(self, outputs: Artifacts) -> None:
        for artifacts in outputs.values():
            for artifact in artifacts:
                self._store.append(artifact)
                self._recorded(artifact, len(self._store))

    def _execute(
        self, task: str, command: Iterable[str], executor_input: messages.ExecutorInput, log: Path
    ) -> None:
        """Runs a command of the spec as its container would, with this environment's Python."""
        filled = [_filled(part, executor_input) for part in command]
        assert filled[0] in ("python", "python3"), f"{task} does not start Python: {filled[0]}"
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment |= self._environment()
        with log.open("w", encoding="utf-8") as file:
            status = subprocess.run(
                [sys.executable, *self._python_options(task), *filled[1:]],
                cwd=CHECKOUT,  # the image's WORKDIR
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            ).returncode
        if status:
            end = "\n".join(log.read_text("utf-8", "replace").splitlines()[-25:])
            raise StepFailed(f"{self.name}: {task} ended with {status} ({log}):\n{end}")

    def _python_options(self, task: str) -> list[str]:
        return []

    def _import(
        self, task: str, importer: messages.PipelineDeploymentConfig.ImporterSpec
    ) -> Artifacts:
        (key,) = self.spec.component(task).output_definitions.artifacts
        uri = importer.artifact_uri
        text = uri.constant_value.string_value or uri.constant.string_value
        artifact = messages.RuntimeArtifact(uri=text, type=importer.type_schema)
        artifact.metadata.CopyFrom(importer.metadata)
        outputs = {key: [artifact]}
        self._keep(outputs)
        return outputs

    def _resolve(
        self, resolver: messages.PipelineDeploymentConfig.ResolverSpec, inputs: Artifacts
    ) -> Artifacts:
        """The newest artifact that a query's filter lets through; none: an empty list."""
        found: Artifacts = {}
        for key, query in resolver.output_artifact_queries.items():
            conditions = [_condition(part, inputs) for part in query.filter.split(" AND ")]
            fitting = [a for a in self._store if all(fits(a) for fits in conditions)]
            found[key] = fitting[-1:]
        return found


class LocalVertex(LocalBackend):
    """Vertex AI Pipelines' ExecutorInput, its resolvers, and its hook before the cache."""

    name = VERTEX

    def _output_file(self, folder: Path) -> str:
        return f"{self._place(folder)}/executor_output.json"

    def _environment(self) -> dict[str, str]:
        # Its machines tell a step who it is.
        return self._reach | WITHOUT_A_KEY | {"VERTEX_WORKER": str(self.worker)}

    @property
    def worker(self) -> Path:
        """Holds the process id of the custom job's worker."""
        return self.logs / "worker"

    def _executor_input(
        self, task: str, inputs: Artifacts, values: dict[str, Any], folder: Path
    ) -> messages.ExecutorInput:
        made = messages.ExecutorInput()
        for name, value in values.items():
            # Spec 2.0 has messages of its own for the values; 2.1 uses JSON's.
            if isinstance(value, str):
                made.inputs.parameters[name].string_value = value
            elif isinstance(value, int):
                made.inputs.parameters[name].int_value = value
            else:
                made.inputs.parameters[name].double_value = value
        definitions = self.spec.component(task).input_definitions.artifacts
        for key, artifacts in inputs.items():
            made.inputs.artifacts[key].SetInParent()
            for artifact in artifacts:
                given = made.inputs.artifacts[key].artifacts.add()
                given.CopyFrom(artifact)
                given.type.CopyFrom(definitions[key].artifact_type)
        for key, definition in self.spec.component(task).output_definitions.artifacts.items():
            made.outputs.artifacts[key].artifacts.add(
                name=f"{_STORE}/artifacts/{folder.parent.name}-{task}-{key}",
                uri=f"{self._place(folder)}/{key}",
                type=definition.artifact_type,
                metadata=definition.metadata,
            )
        made.outputs.output_file = self._output_file(folder)
        return made

    def _pre_cache_check(self, task: str) -> Iterable[str]:
        hook = self.spec.container(task).lifecycle.pre_cache_check
        return [*hook.command, *hook.args]

    def _recorded(self, artifact: messages.RuntimeArtifact, number: int) -> None:
        artifact.name = artifact.name or f"{_STORE}/artifacts/{number}"

    def _python_options(self, task: str) -> list[str]:
        if "google_cloud_ai_platform.trainer" not in " ".join(self.spec.container(task).args):
            return []
        # Stands in for Vertex's job service alone, see there.
        return [str(Path(__file__).with_name("vertex_job_service.py"))]


class LocalKubeflow(LocalBackend):
    """Open-source Kubeflow Pipelines' form of an ExecutorInput.

    Its launcher hands an input artifact over with the number that it has in the metadata store as
    its name, with its metadata as the store gave them back, and with an empty `instanceSchema`. It
    copies each input to the step's disk first. Outputs lie in a bucket, a double of which the steps
    reach as they would reach Google's.
    """

    name = KUBEFLOW

    def _before(self, inputs: Artifacts, folder: Path) -> None:
        # Of several artifacts the first alone.
        for artifacts in inputs.values():
            for artifact in artifacts[:1]:
                download(self.storage, artifact.uri, folder / "disk")
        shutil.rmtree(folder / "disk", ignore_errors=True)

    def _output_file(self, folder: Path) -> str:
        # In the container it is always /tmp/kfp_outputs/output_metadata.json.
        return str(folder / "kfp_outputs" / "output_metadata.json")

    def _executor_input(
        self, task: str, inputs: Artifacts, values: dict[str, Any], folder: Path
    ) -> messages.ExecutorInput:
        made = messages.ExecutorInput()
        for name, value in values.items():
            json_format.ParseDict(value, made.inputs.parameter_values[name])
        for key, artifacts in inputs.items():
            for artifact in artifacts:
                given = made.inputs.artifacts[key].artifacts.add()
                given.CopyFrom(artifact)
                given.type.instance_schema = ""
        for key, definition in self.spec.component(task).output_definitions.artifacts.items():
            made.outputs.artifacts[key].artifacts.add(
                uri=f"{self._place(folder)}/{key}",
                type=definition.artifact_type,
                metadata=definition.metadata,
            )
        made.outputs.output_file = self._output_file(folder)
        return made

    def _recorded(self, artifact: messages.RuntimeArtifact, number: int) -> None:
        artifact.name = str(number)
        for key, value in artifact.metadata.fields.items():
            kind = value.WhichOneof("kind")
            # The store has no booleans, and lists and structs only inside of a struct.
            if kind == "bool_value":
                value.number_value = int(value.bool_value)
            elif kind in ("list_value", "struct_value"):
                inner = json_format.MessageToDict(value)
                wrapped = struct_pb2.Struct()
                wrapped.update({kind.removesuffix("_value"): inner})
                artifact.metadata.fields[key].struct_value.CopyFrom(wrapped)
        if "display_name" not in artifact.metadata.fields:
            artifact.metadata.update({"display_name": Path(artifact.uri).name})


_STORE = "projects/0/locations/here/metadataStores/default"


def _executor_output(file: Path) -> messages.ExecutorOutput:
    """What an executor said of its outputs; strictly parsed."""
    return json_format.Parse(file.read_text("utf-8"), messages.ExecutorOutput())


def _merge(artifacts: Any, said: Any) -> None:
    """Puts what an executor said of its outputs to what they were announced with."""
    for key, listed in said.items():
        assert key in artifacts, f"an output {key!r} that was not announced"
        for artifact, new in zip(artifacts[key].artifacts, listed.artifacts, strict=True):
            artifact.uri = new.uri or artifact.uri
            artifact.metadata.update(json_format.MessageToDict(new.metadata))


def _filled(part: str, executor_input: messages.ExecutorInput) -> str:
    """A part of a command with the launcher's placeholders filled in."""
    if part == "{{$}}":
        return json_format.MessageToJson(executor_input)

    def fill(found: re.Match[str]) -> str:
        side, kind, key, what = found.groups()
        values = getattr(executor_input, side)
        if kind == "artifacts":
            assert what == ".uri", f"placeholder {found[0]} is not emulated"
            return str(values.artifacts[key].artifacts[0].uri)
        plain = json_format.MessageToDict(values)
        value = plain.get("parameterValues", {}).get(key)
        return str(value if value is not None else next(iter(plain["parameters"][key].values())))

    return _PLACEHOLDER.sub(fill, part)


_PLACEHOLDER = re.compile(
    r"\{\{\$\.(inputs|outputs)\.(parameters|artifacts)\['([^']+)'\](\.\w+)?\}\}"
)


def _condition(text: str, inputs: Artifacts) -> Callable[[messages.RuntimeArtifact], bool]:
    """One condition of a resolver's filter, of the forms that TFX's compiler writes."""
    field_name, _, value = text.partition("=")
    value = value.strip('"')
    if field_name == "schema_title":
        return lambda artifact: artifact_title(artifact.type) == value
    if field_name == "state":
        assert value == "LIVE", f"the condition {text!r} is not emulated"
        return lambda artifact: True
    if found := re.fullmatch(r"metadata\.(\w+)\.number_value", field_name):
        key = found[1]
        return lambda artifact: (
            key in artifact.metadata.fields
            and artifact.metadata.fields[key].number_value == float(value)
        )
    found = re.fullmatch(r"\{\{\$\.inputs\.artifacts\['(\w+)'\]\.metadata\['(\w+)'\]\}\}", value)
    assert field_name == "name" and found, f"the condition {text!r} is not emulated"
    sources = inputs[found[1]]
    if not sources:
        return lambda artifact: False
    wanted = sources[0].metadata.fields[found[2]].string_value
    return lambda artifact: artifact.name == wanted
