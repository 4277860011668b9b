"""The compiled graphs hold together, ask for what the config asks for, and every check can fail."""

from __future__ import annotations

import importlib
import json

import pytest
from google.cloud import aiplatform_v1
from tfx import types
from tfx.orchestration.kubeflow.v2 import compiler_utils

from pipeline.cluster_step import COMMAND, TYPES, WITHOUT_MARKERS
from pipeline.config import load_config, parse_config
from pipeline.specs import compile_specs
from tests.spec.compiled_spec import artifact_title, read
from tests.spec.graph_check import KUBEFLOW, VERTEX, faults, upstream

PLATFORMS = [VERTEX, KUBEFLOW]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_graph_holds_together(specs, platform):
    assert faults(specs[platform], platform) == []


def rename_component(spec):
    spec.pipeline.root.dag.tasks["Trainer"].component_ref.name = "Trainr"


def rename_executor(spec):
    spec.pipeline.components["Trainer"].executor_label = "trainer"


def drop_executor(spec):
    del spec.deployment.executors["Transform_executor"]


def drop_command(spec):
    spec.deployment.executors["Transform_executor"].container.ClearField("command")


def drop_image(spec):
    spec.deployment.executors["Transform_executor"].container.image = ""


def make_resolver(spec):
    spec.deployment.executors["Pusher_executor"].resolver.SetInParent()


def artifact(spec, task, key):
    return spec.pipeline.root.dag.tasks[task].inputs.artifacts[key].task_output_artifact


def rename_producer(spec):
    artifact(spec, "Trainer", "examples").producer_task = "Transformer"


def rename_output(spec):
    artifact(spec, "Trainer", "examples").output_artifact_key = "clouds"


def other_type(spec):
    artifact(spec, "Trainer", "examples").output_artifact_key = "transform_graph"


def drop_dependency(spec):
    task = spec.pipeline.root.dag.tasks["ExampleValidator"]
    task.ClearField("dependent_tasks")


def drop_input(spec):
    del spec.pipeline.root.dag.tasks["Pusher"].inputs.artifacts["model_blessing"]


def add_input(spec):
    artifact(spec, "Pusher", "weights").producer_task = "Trainer"


def drop_parameter(spec):
    del spec.pipeline.root.dag.tasks["Trainer"].inputs.parameters["run_fn"]


def rename_parameter(spec):
    parameters = spec.pipeline.root.dag.tasks["Trainer"].inputs.parameters
    parameters["train_function"].CopyFrom(parameters["run_fn"])


def unknown_runtime_parameter(spec):
    parameters = spec.pipeline.root.dag.tasks["Trainer"].inputs.parameters
    parameters["train_args"].component_input_parameter = "arguments"


def number_for_text(spec):
    value = spec.pipeline.root.dag.tasks["Trainer"].inputs.parameters["run_fn"].runtime_value
    if value.WhichOneof("value") == "constant":
        value.constant.number_value = 5
    else:
        value.constant_value.int_value = 5


def drop_default(spec):
    spec.submitted.pop("data_root", None)
    spec.pipeline.root.input_definitions.parameters["data_root"].ClearField("default_value")


def unused_runtime_parameter(spec):
    parameters = spec.pipeline.root.input_definitions.parameters
    parameters["learning_rate"].CopyFrom(parameters["data_root"])
    spec.submitted["learning_rate"] = "0.1"


def unknown_task(spec):
    spec.pipeline.root.dag.tasks["Pusher"].dependent_tasks.append("Approval")


def cycle(spec):
    spec.pipeline.root.dag.tasks["StatisticsGen"].dependent_tasks.append("Pusher")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (rename_component, "task Trainer names the component 'Trainr', which is not there"),
        (rename_executor, "component Trainer names the executor 'trainer', which is not there"),
        (drop_executor, "component Transform names the executor 'Transform_executor', which is"),
        (drop_command, "executor Transform_executor has no command"),
        (drop_image, "executor Transform_executor has no image"),
        (make_resolver, "Pusher_executor"),
        (rename_producer, "task Trainer takes examples of the task 'Transformer', which is not"),
        (rename_output, "task Trainer takes examples of Transform, which has no output 'clouds'"),
        (other_type, "expects examples of type tfx.Examples; Transform makes tfx.TransformGraph"),
        (drop_input, "task Pusher is not given the artifact model_blessing"),
        (add_input, "task Pusher is given the artifact weights, which its component does not"),
        (drop_parameter, "task Trainer is not given the parameter run_fn"),
        (rename_parameter, "task Trainer is given the parameter train_function, which its"),
        (unknown_runtime_parameter, "parameter train_args of task Trainer comes from nowhere"),
        (number_for_text, "parameter run_fn of task Trainer is"),
        (drop_default, "the pipeline's parameter data_root has no default"),
        (unused_runtime_parameter, "the pipeline's parameter learning_rate reaches no task"),
        (unknown_task, "task Pusher waits for the task 'Approval', which is not there"),
        (cycle, "task StatisticsGen waits for itself"),
    ],
)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_broken_graph_is_told_in_a_sentence(specs, platform, damage, sentence):
    broken = specs[platform].copy()
    damage(broken)
    assert any(sentence in fault for fault in faults(broken, platform))


def test_a_task_of_kubeflow_has_to_say_whom_it_waits_for(specs):
    broken = specs["kubeflow"].copy()
    drop_dependency(broken)
    assert sorted(faults(broken, KUBEFLOW)) == [
        f"task ExampleValidator takes {key} of {producer}, and does not wait for it"
        for key, producer in (("schema", "ImportSchemaGen"), ("statistics", "StatisticsGen"))
    ]
    # Vertex takes that from the inputs.
    broken = specs["vertex"].copy()
    drop_dependency(broken)
    assert faults(broken, VERTEX) == []


def test_a_job_may_set_only_the_pipelines_own_parameters(specs):
    broken = specs["vertex"].copy()
    broken.submitted |= {"epochs": 5, "data_root": 7}
    assert faults(broken, VERTEX) == [
        "the job sets data_root to 7, no STRING",
        "the job sets the parameter epochs, which the pipeline does not have",
    ]


def test_the_baseline_is_in_the_serving_folder_and_kubeflow_has_no_resolver(specs):
    kinds = {e.WhichOneof("spec") for e in specs["kubeflow"].deployment.executors.values()}
    assert kinds == {"container"}
    for spec in specs.values():
        assert artifact(spec, "Evaluator", "baseline_model").producer_task == "ProductionModel"
        assert artifact(spec, "ProductionModel", "candidate").producer_task == "Trainer"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_step_is_started_in_our_image_by_our_command(specs, platform):
    image = getattr(load_config("cluster_example"), platform).image
    command = (*COMMAND, WITHOUT_MARKERS) if platform == "kubeflow" else COMMAND
    for task in specs[platform].tasks:
        if specs[platform].executor(task).WhichOneof("spec") == "container":
            container = specs[platform].container(task)
            assert (container.image, tuple(container.command)) == (image, command)
            assert "{{$}}" in container.args


def test_only_what_reads_a_folder_is_never_cached(specs):
    def uncached(platform):
        spec = specs[platform]
        return {
            name
            for name, task in spec.tasks.items()
            if not task.caching_options.enable_cache
            and spec.executor(name).WhichOneof("spec") == "container"
        }

    # Kubeflow's cache would not see that what is in the folders has changed.
    assert uncached("kubeflow") == {"ImportExampleGen", "ProductionModel"}
    # On Vertex, TFX looks into the data before.
    assert uncached("vertex") == {"ProductionModel"}
    hook = specs["vertex"].container("ImportExampleGen").lifecycle.pre_cache_check
    assert "file_based_example_gen.driver" in " ".join(hook.command)


def test_what_the_user_may_set_at_each_run(specs):
    for spec in specs.values():
        definitions = spec.pipeline.root.input_definitions.parameters
        assert set(definitions) == {"data_root", "train_args", "eval_config"}
    given = specs["kubeflow"].pipeline.root.input_definitions.parameters
    assert all(definition.is_optional for definition in given.values())


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_type_of_artifact_is_one_that_the_step_can_import(specs, platform):
    for component in specs[platform].pipeline.components.values():
        for definitions in (component.input_definitions, component.output_definitions):
            for definition in definitions.artifacts.values():
                title = artifact_title(definition.artifact_type)
                path = compiler_utils.TITLE_TO_CLASS_PATH.get(title)
                path = path or f"components.{TYPES[title]}"
                module, _, name = path.rpartition(".")
                found = getattr(importlib.import_module(module), name)
                assert issubclass(found, types.Artifact)
                assert title in (found.TYPE_NAME, f"tfx.{found.__name__}")


RESOURCES = """
vertex:
  project: shapes-1
  region: europe-west4
  root: gs://bucket/vertex
  image: image:1
  custom_job: false
  resources: {cpu: 2, memory_gib: 8}
  resources_of:
    Trainer: {cpu: 12, memory_gib: 85, accelerator: NVIDIA_TESLA_A100, accelerators: 2}
    ImportExampleGen: {cpu: 1, memory_gib: 4}
kubeflow:
  root: gs://bucket/kubeflow
  image: image:1
  resources: {cpu: 2, memory_gib: 8}
  resources_of:
    Trainer: {cpu: 12, memory_gib: 85, accelerator: nvidia.com/gpu, accelerators: 2}
    ImportExampleGen: {cpu: 1, memory_gib: 4}
"""


@pytest.fixture(scope="module")
def with_resources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resources")
    config = parse_config(RESOURCES, "resources")
    return [read(file) for file in compile_specs(config, "", [], folder)]


def test_each_step_gets_the_resources_that_the_config_gives_it(with_resources):
    for spec, gpu, unit in zip(
        with_resources, ["NVIDIA_TESLA_A100", "nvidia.com/gpu"], [1, 2**30 / 10**9], strict=True
    ):
        for task in spec.tasks:
            if spec.executor(task).WhichOneof("spec") != "container":
                continue
            found = spec.container(task).resources
            cpu, gib = {"Trainer": (12, 85), "ImportExampleGen": (1, 4)}.get(task, (2, 8))
            assert (found.cpu_limit, found.memory_limit) == (cpu, round(gib * unit, 9)), task
            wanted = (gpu, 2) if task == "Trainer" else ("", 0)
            assert (found.accelerator.type, found.accelerator.count) == wanted, task


JOB = """
vertex:
  project: shapes-1
  region: europe-west4
  root: gs://bucket/vertex
  image: image:1
  service_account: trainer@shapes-1.iam.gserviceaccount.com
  tensorboard: projects/1/locations/europe-west4/tensorboards/2
  training: {machine: a2-highgpu-2g, accelerator: NVIDIA_TESLA_A100, accelerators: 2, workers: 4,
             spot: true, most_hours: 12}
"""


def custom_job(spec):
    """The Trainer's custom job, in Vertex's own message, which refuses unknown fields."""
    value = spec.pipeline.root.dag.tasks["Trainer"].inputs.parameters["custom_config"]
    config = json.loads(value.runtime_value.constant_value.string_value)
    job = dict(config["ai_platform_training_args"])
    assert config["ai_platform_enable_vertex"] is True
    assert config["ai_platform_vertex_region"] == "europe-west4"
    assert job.pop("project") == "shapes-1"
    return aiplatform_v1.CustomJob(job)


def test_the_trainers_custom_job_is_one_that_vertex_knows(tmp_path):
    (file,) = compile_specs(parse_config(JOB, "job"), "", ["vertex"], tmp_path)
    spec = read(file)
    assert faults(spec, VERTEX) == []
    assert "google_cloud_ai_platform.trainer" in " ".join(spec.container("Trainer").args)
    job = custom_job(spec).job_spec
    chief, workers = job.worker_pool_specs
    assert (chief.replica_count, workers.replica_count) == (1, 3)
    for pool in (chief, workers):
        assert pool.container_spec.image_uri == "image:1"
        assert pool.machine_spec.machine_type == "a2-highgpu-2g"
        gpu = aiplatform_v1.AcceleratorType.NVIDIA_TESLA_A100
        assert (pool.machine_spec.accelerator_type, pool.machine_spec.accelerator_count) == (gpu, 2)
    assert job.service_account == "trainer@shapes-1.iam.gserviceaccount.com"
    assert job.tensorboard.endswith("tensorboards/2")
    assert job.scheduling.timeout.total_seconds() == 12 * 3600
    assert job.scheduling.strategy == aiplatform_v1.types.Scheduling.Strategy.SPOT


@pytest.mark.parametrize("platform", PLATFORMS)
def test_nothing_is_pushed_before_it_is_blessed_twice(specs, platform):
    assert {"Evaluator", "ModelServerProbe"} <= upstream(specs[platform], "Pusher")
