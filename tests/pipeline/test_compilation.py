"""The same graph for Vertex AI and for Kubeflow: what differs, what can be set, what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from components.endpoint_pusher import ENCRYPTION_KEY
from pipeline import kubeflow_checks, vertex_checks, vertex_runner
from pipeline.cli import main
from pipeline.compilation import IMAGE_FOLDER, cluster_places
from pipeline.config import load_config, parse_config, to_yaml
from pipeline.specs import compile_specs
from pipeline.vertex_machines import check_machine
from preprocessing.conversion.convert import convert
from preprocessing.datasets.demo import make_demo_shapes
from schema.errors import UserError

EXAMPLE = load_config("cluster_example")
ROOT = Path(__file__).resolve().parents[2]
FLINK = {"runner": "flink"}
GENERIC_TRAINER = "tfx.components.trainer.executor.GenericExecutor"


def changed(section, **changes):
    """The example with some values of a section changed, as a file would change them."""
    values = yaml.safe_load(to_yaml(EXAMPLE))
    values[section] |= changes
    return parse_config(yaml.safe_dump(values), "changed")


def compiled(config, folder, platform, manifest=""):
    (file,) = compile_specs(config, manifest, [platform], folder)
    return yaml.safe_load(file.read_text())


@pytest.fixture(scope="module")
def vertex(tmp_path_factory):
    return compiled(EXAMPLE, tmp_path_factory.mktemp("specs"), "vertex")


@pytest.fixture(scope="module")
def kubeflow(tmp_path_factory):
    return compiled(EXAMPLE, tmp_path_factory.mktemp("specs"), "kubeflow")


def container(spec, step):
    return spec["deploymentSpec"]["executors"][f"{step}_executor"]["container"]


def parameter(spec, step, name):
    """The constant that a step is given."""
    (value,) = spec["root"]["dag"]["tasks"][step]["inputs"]["parameters"][name][
        "runtimeValue"
    ].values()
    return value if isinstance(value, str) else value["stringValue"]


def test_both_have_the_same_steps_but_for_what_kubeflow_does_not_run(vertex, kubeflow):
    on_vertex = set(vertex["pipelineSpec"]["root"]["dag"]["tasks"])
    on_kubeflow = set(kubeflow["root"]["dag"]["tasks"])
    assert not on_kubeflow - on_vertex
    assert on_vertex - on_kubeflow == {"PreviousStatisticsResolver", "DriftValidator"}
    kinds = {kind for e in kubeflow["deploymentSpec"]["executors"].values() for kind in e}
    assert kinds == {"container"}


def test_the_evaluator_gets_another_model_than_the_candidate_never_cached(vertex, kubeflow):
    for spec in (vertex["pipelineSpec"], kubeflow):
        tasks = spec["root"]["dag"]["tasks"]
        for step, name, producer in (
            ("Evaluator", "baseline_model", "ProductionModel"),
            ("ProductionModel", "candidate", "Trainer"),
        ):
            given = tasks[step]["inputs"]["artifacts"][name]
            assert given["taskOutputArtifact"]["producerTask"] == producer
        assert tasks["ProductionModel"]["cachingOptions"] == {}
        assert tasks["Transform"]["cachingOptions"] == {"enableCache": True}
    assert kubeflow["schemaVersion"] == "2.1.0"
    assert (
        kubeflow["defaultPipelineRoot"] == "gs://example-bucket/pointnet-parts-kubeflow/artifacts"
    )


def test_what_people_change_between_runs_are_parameters(vertex, kubeflow):
    job = vertex["runtimeConfig"]["parameters"]
    ours = kubeflow["root"]["inputDefinitions"]["parameters"]
    assert set(job) == set(ours) == {"data_root", "train_args", "eval_config"}
    assert job["data_root"]["stringValue"] == "gs://example-bucket/pointnet-parts/data"
    assert ours["data_root"]["defaultValue"] == "gs://example-bucket/pointnet-parts-kubeflow/data"
    for text in (job["eval_config"]["stringValue"], ours["eval_config"]["defaultValue"]):
        (metrics,) = json.loads(text)["metrics_specs"]
        bound, _ = metrics["per_slice_thresholds"]["instance_miou"]["thresholds"]
        assert bound["threshold"]["value_threshold"]["lower_bound"] == 0.75
    for spec in (vertex["pipelineSpec"], kubeflow):
        tasks = spec["root"]["dag"]["tasks"]
        for step, name in (("ImportExampleGen", "input_base"), ("Trainer", "train_args")):
            given = tasks[step]["inputs"]["parameters"][name]
            assert given == {"componentInputParameter": name.replace("input_base", "data_root")}
        # The pages name the data set that the run was given.
        for step in ("DataReport", "SegmentationReport"):
            given = tasks[step]["inputs"]["parameters"]["data"]
            assert given == {"componentInputParameter": "data_root"}


def test_every_step_runs_in_our_image_with_its_resources(vertex, kubeflow):
    for spec, section in ((vertex["pipelineSpec"], "vertex"), (kubeflow, "kubeflow")):
        image = getattr(EXAMPLE, section).image
        executors = spec["deploymentSpec"]["executors"].values()
        containers = [e["container"] for e in executors if "container" in e]
        assert len(containers) > 10
        for one in containers:
            assert one["image"] == image
            assert {"cpuLimit", "memoryLimit"} <= set(one["resources"])
    assert container(kubeflow, "Trainer")["resources"] == {
        "cpuLimit": 7.0,
        "memoryLimit": 25.769803776,  # 24 GiB; it counts in 10**9 bytes
        "accelerator": {"type": "nvidia.com/gpu", "count": "1"},
    }
    # TFX's compiler would leave these out.
    assert container(kubeflow, "ImportExampleGen")["resources"]["memoryLimit"] == 12.884901888
    assert parameter(kubeflow, "ImportSchemaGen", "schema_file").startswith(IMAGE_FOLDER)


def custom_job(config, folder):
    spec = compiled(config, folder, "vertex")["pipelineSpec"]
    return json.loads(parameter(spec, "Trainer", "custom_config"))["ai_platform_training_args"]


def test_vertexs_trainer_is_a_custom_job(vertex, tmp_path):
    from google.cloud.aiplatform_v1 import CustomJob

    path = container(vertex["pipelineSpec"], "Trainer")["args"][1]
    assert path.startswith("tfx.extensions.google_cloud_ai_platform.trainer.executor.")
    job = custom_job(
        changed(
            "vertex",
            tensorboard="projects/1/locations/europe-west4/tensorboards/2",
            encryption_key="projects/p/locations/l/keyRings/r/cryptoKeys/k",
            training={
                "machine": "g2-standard-48",
                "workers": 4,
                "accelerator": "NVIDIA_L4",
                "accelerators": 4,
                "spot": True,
            },
        ),
        tmp_path,
    )
    assert job.pop("project") == "example-project"
    # The very type that TFX hands to Vertex AI's client: an unknown key would raise.
    understood = CustomJob(job)
    chief, workers = understood.job_spec.worker_pool_specs
    assert (chief.replica_count, workers.replica_count) == (1, 3)
    assert chief.machine_spec.accelerator_type.name == "NVIDIA_L4"
    assert chief.machine_spec.accelerator_count == 4
    assert chief.container_spec.image_uri == EXAMPLE.vertex.image
    assert understood.job_spec.scheduling.strategy.name == "SPOT"
    assert understood.job_spec.scheduling.timeout.total_seconds() == 24 * 3600
    assert understood.job_spec.tensorboard.endswith("tensorboards/2")
    assert understood.encryption_spec.kms_key_name.endswith("cryptoKeys/k")


def test_vertexs_trainer_may_be_a_step_of_its_own(tmp_path):
    gpu = {"cpu": 8, "memory_gib": 30, "accelerator": "NVIDIA_TESLA_T4"}
    config = changed("vertex", custom_job=False, resources_of={"Trainer": gpu})
    spec = compiled(config, tmp_path, "vertex")["pipelineSpec"]
    assert container(spec, "Trainer")["args"][1] == GENERIC_TRAINER
    accelerator = container(spec, "Trainer")["resources"]["accelerator"]
    assert accelerator == {"type": "NVIDIA_TESLA_T4", "count": "1"}


def test_a_blessed_model_may_go_to_an_endpoint_too(tmp_path):
    endpoint = {
        "name": "parts",
        "machine": "g2-standard-8",
        "accelerator": "NVIDIA_L4",
        "image": "us-docker.pkg.dev/vertex-ai/prediction/tf2-gpu.2-15:latest",
    }
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    config = changed("vertex", endpoint=endpoint, encryption_key=key)
    spec = compiled(config, tmp_path, "vertex")["pipelineSpec"]
    path = container(spec, "EndpointPusher")["args"][1]
    assert path == "components.endpoint_pusher.Executor"
    task = spec["root"]["dag"]["tasks"]["EndpointPusher"]
    assert {"model", "model_blessing", "infra_blessing"} == set(task["inputs"]["artifacts"])
    given = json.loads(parameter(spec, "EndpointPusher", "custom_config"))
    assert given["ai_platform_serving_args"]["endpoint_name"] == "parts"
    assert given["ai_platform_serving_args"]["accelerator_type"] == "NVIDIA_L4"
    assert given[ENCRYPTION_KEY] == key
    assert given["ai_platform_vertex_container_image_uri"] == config.vertex.endpoint.image


def test_warm_start_on_kubeflow_begins_with_the_model_in_production(tmp_path):
    config = changed("training", warm_start="last_blessed")
    tasks = compiled(config, tmp_path, "kubeflow")["root"]["dag"]["tasks"]
    given = tasks["Trainer"]["inputs"]["artifacts"]["base_model"]
    assert given["taskOutputArtifact"]["producerTask"] == "WarmStartModel"
    assert tasks["WarmStartModel"]["cachingOptions"] == {}
    assert not tasks["WarmStartModel"]["inputs"].get("artifacts")


def test_the_manifest_says_which_parts_and_which_of_them_are_tested(tmp_path):
    make_demo_shapes(tmp_path / "shapes", 8, ["Chair"], 0)
    settings = EXAMPLE.data.model_copy(update={"category": "Chair"})
    convert(str(tmp_path / "shapes"), str(tmp_path / "data"), settings, ())
    file = tmp_path / "data" / "manifest.json"
    spec = compiled(EXAMPLE, tmp_path, "kubeflow", str(file))
    (category,) = json.loads(parameter(spec, "CloudValidator", "categories"))
    assert category["name"] == "Chair"


@pytest.mark.parametrize(
    ("section", "changes", "platform", "words"),
    [
        ("vertex", {"project": None, "region": None}, "vertex", "vertex.project is missing: give"),
        ("vertex", {"image": None}, "vertex", "vertex.image is missing: give the image that"),
        (
            "kubeflow",
            {"root": None},
            "kubeflow",
            "this config is for vertex and not for kubeflow, .*`pointnet-parts submit vertex`",
        ),
        (
            "vertex",
            {"training": {"accelerator": "NVIDIA_T4"}},
            "vertex",
            "vertex.training.accelerator: found 'NVIDIA_T4'; Vertex AI's GPUs are NVIDIA_TESLA_K80",
        ),
        (
            "kubeflow",
            {"resources_of": {"Trainer": {"accelerator": "NVIDIA_L4"}}},
            "kubeflow",
            "kubeflow.resources_of.Trainer.accelerator: found 'NVIDIA_L4'; give the resource's",
        ),
        (
            "kubeflow",
            {"resources_of": {"Traner": {"cpu": 1}}},
            "kubeflow",
            "kubeflow.resources_of names Traner, which is no step of the pipeline",
        ),
        (
            "vertex",
            {"tensorboard": "projects/1/locations/l/tensorboards/2", "service_account": None},
            "vertex",
            "vertex.tensorboard is set and vertex.service_account is not",
        ),
        (
            "vertex",
            {"endpoint": {"least_replicas": 3}},
            "vertex",
            "vertex.endpoint.least_replicas is 3, above most_replicas, 2",
        ),
        (
            "vertex",
            {"training": {"workers": 3}},
            "vertex",
            r"training.batch_size is 32; it must be a multiple of the 3 devices .*"
            r"\(vertex.training: 3 workers x 1 accelerators\): give 30 or 33",
        ),
        (
            "vertex",
            {"training": {"workers": 64, "accelerator": None}},
            "vertex",
            "a multiple of the 64 devices .*: give 64, or another number of devices",
        ),
        (
            "vertex",
            {"training": {"accelerators": 3}},
            "vertex",
            "vertex.training.accelerators: found 3; n1-standard-16 has 1, 2, 4 of NVIDIA_TESLA_T4",
        ),
        (
            "vertex",
            {"training": {"accelerator": "NVIDIA_L4"}},
            "vertex",
            "vertex.training.machine is n1-standard-16, which has no NVIDIA_L4 .*g2-standard-",
        ),
        (
            "vertex",
            {"endpoint": {"name": "parts", "accelerator": "NVIDIA_TESLA_T4"}},
            "vertex",
            "vertex.endpoint.accelerator is NVIDIA_TESLA_T4, and .*tf2-cpu.* is one for CPUs",
        ),
        (
            "vertex",
            {"resources_of": {"Trainer": {"accelerator": "NVIDIA_TESLA_T4"}}},
            "vertex",
            "vertex.custom_job is true, and the Trainer's own step has an accelerator too",
        ),
        (
            "vertex",
            {
                "custom_job": False,
                "training": {"workers": 2, "spot": True},
                "tensorboard": "projects/1/locations/l/tensorboards/2",
            },
            "vertex",
            "vertex.custom_job is false, and training.workers, training.spot, tensorboard would do",
        ),
        (
            "vertex",
            {
                "custom_job": False,
                "resources_of": {"Trainer": {"accelerator": "NVIDIA_L4", "accelerators": 5}},
            },
            "vertex",
            "vertex.resources_of.Trainer.accelerators: found 5; a machine has 1, 2, 4, 8, 16 of NV",
        ),
        (
            "kubeflow",
            {"resources_of": {"Trainer": {"accelerator": "amd.com/gpu", "accelerators": 3}}},
            "kubeflow",
            "a multiple of the 3 devices .*kubeflow.resources_of.Trainer.accelerators: 3",
        ),
        (
            "notify",
            {"webhook_variable": "POINTNET_WEBHOOK"},
            "vertex",
            "a step of vertex has no such variable; .*notify.webhook_file: gs://",
        ),
        (
            "notify",
            {"webhook_variable": "POINTNET_WEBHOOK"},
            "kubeflow",
            "a step of kubeflow has no such variable",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(
    section, changes, platform, words, tmp_path
):
    with pytest.raises(UserError, match=words):
        list(compile_specs(changed(section, **changes), "", [platform], tmp_path / "specs"))
    assert not list(tmp_path.glob("specs/*"))


def test_docker_is_refused_and_a_bucket_is_asked_for():
    with pytest.raises(UserError, match="no step of kubeflow has a Docker daemon"):
        kubeflow_checks.check(EXAMPLE.model_copy(update={"infra_validation": "docker"}))
    with pytest.raises(UserError, match=r"vertex.root: found '/data'"):
        changed("vertex", root="/data")


@pytest.mark.parametrize("checks", [kubeflow_checks, vertex_checks])
def test_no_cluster_stops_at_drift(checks):
    checks.check(changed("validation", skew={"action": "stop"}))
    with pytest.raises(UserError, match=r"validation\.drift\.action") as error:
        checks.check(changed("validation", drift={"action": "stop"}))
    assert error.value.code == "bad_config"


def test_a_variable_of_this_machine_may_stand_beside_the_clusters_file():
    notify = {"webhook_variable": "POINTNET_WEBHOOK", "webhook_file": "gs://bucket/webhook"}
    config = changed("notify", **notify)
    vertex_checks.check(config)
    kubeflow_checks.check(config)


def test_dataflow_jobs_of_vertexs_steps_run_where_and_as_whom_the_steps_do(tmp_path):
    beam = {"runner": "dataflow", "dataflow": {"temp_location": "gs://bucket/tmp"}}
    text = json.dumps(compiled(changed("beam", **beam), tmp_path, "vertex"))
    vertex = EXAMPLE.vertex
    for option in (
        f"--project={vertex.project}",
        f"--region={vertex.region}",
        f"--sdk_container_image={vertex.image}",
        f"--service_account_email={vertex.service_account}",
    ):
        assert option in text
    with pytest.raises(UserError, match=r"beam.dataflow.project is not given"):
        kubeflow_checks.check(changed("beam", **beam))


def test_a_runner_of_this_machine_is_refused():
    flink = {"master": "[local]", "job_endpoint": "localhost:8099"}
    beam = EXAMPLE.beam.model_validate({"runner": "flink", "flink": flink})
    with pytest.raises(UserError, match=r"LOOPBACK, which holds .* not inside a step of vertex"):
        vertex_checks.check(EXAMPLE.model_copy(update={"beam": beam}))
    with pytest.raises(UserError, match=r"beam.components.Transform has Beam started with --env"):
        vertex_checks.check(changed("beam", flink=flink, components={"Transform": FLINK}))
    # Conversion is started from here.
    vertex_checks.check(changed("beam", flink=flink, components={"Conversion": FLINK}))


def test_a_step_starts_no_job_server():
    image = {"environment_type": "DOCKER", "environment_config": "image:1"}
    flink = {"master": "flink:8081", "job_server_jar": "published", **image}
    sentence = r"beam.components.Transform has Beam started with beam.flink.job_server_jar, which"
    with pytest.raises(UserError, match=sentence):
        kubeflow_checks.check(changed("beam", flink=flink, components={"Transform": FLINK}))


@pytest.mark.parametrize(
    ("machine", "kind", "count"),
    [
        ("n1-standard-4", "NVIDIA_TESLA_T4", 1),
        ("n1-standard-96", "NVIDIA_TESLA_T4", 4),
        ("n1-highmem-8", "NVIDIA_TESLA_V100", 1),
        ("n1-standard-96", "NVIDIA_TESLA_V100", 8),
        ("g2-standard-12", "NVIDIA_L4", 1),
        ("g2-standard-96", "NVIDIA_L4", 8),
        ("a2-highgpu-2g", "NVIDIA_TESLA_A100", 2),
        ("a2-megagpu-16g", "NVIDIA_TESLA_A100", 16),
        ("a3-highgpu-8g", "NVIDIA_H100_80GB", 8),
        ("n2-standard-16", None, 1),
        # Not in the table: Vertex AI may have it.
        ("z9-standard-16", "NVIDIA_X1", 3),
    ],
)
def test_a_machine_takes_the_gpus_that_google_has_in_it(machine, kind, count):
    check_machine("vertex.training", machine, kind, count)


@pytest.mark.parametrize(
    ("machine", "kind", "count", "words"),
    [
        ("g2-standard-12", "NVIDIA_TESLA_T4", 1, "which has NVIDIA_L4, and .* NVIDIA_TESLA_T4"),
        ("a2-highgpu-1g", None, 1, "which has NVIDIA_TESLA_A100, and .*accelerator is null"),
        ("a2-highgpu-4g", "NVIDIA_TESLA_A100", 2, "found 2; a2-highgpu-4g has 4 of .*: give that"),
        ("g2-standard-24", "NVIDIA_L4", 1, "found 1; g2-standard-24 has 2 of NVIDIA_L4"),
        ("n1-standard-16", "NVIDIA_TESLA_V100", 1, "found 1; n1-standard-16 has 2, 4, 8 of"),
        ("n1-standard-32", "NVIDIA_TESLA_T4", 1, "found 1; n1-standard-32 has 2, 4 of"),
        ("a4-highgpu-8g", "NVIDIA_B200", 8, "newer than the image's TensorFlow knows: take one"),
        ("n2-standard-16", "NVIDIA_TESLA_T4", 1, "has no NVIDIA_TESLA_T4 .*called n1-standard-"),
    ],
)
def test_gpus_that_a_machine_has_not_are_refused(machine, kind, count, words):
    with pytest.raises(UserError, match=words):
        check_machine("vertex.training", machine, kind, count)


def test_a_category_that_is_not_shapenets_needs_the_manifest(tmp_path):
    config = changed("data", category="Rocketship")
    with pytest.raises(UserError, match=r"data.category is Rocketship, whose parts only the data"):
        cluster_places(config, config.vertex, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "demo"], "the config says of no cluster where its root is"),
        (["--manifest", "/nowhere.json"], "the manifest /nowhere.json cannot be read"),
        (["--output", "/dev/null/specs"], "cannot be written"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, words):
    done = CliRunner().invoke(main, ["compile", *arguments])
    assert done.exit_code == 2
    assert words in done.output


def test_the_command_says_what_it_takes_for_granted(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(to_yaml(changed("notify", command=["tell-us"])))
    words = ["compile", "--config", str(config), "--platform", "kubeflow"]
    done = CliRunner().invoke(main, [*words, "--output", str(tmp_path / "specs")])
    assert done.exit_code == 0
    assert "no manifest: ShapeNet's parts for Airplane are assumed" in done.output
    assert "notify.command: tell-us must be in the image" in done.output


AT_ONCE = """
import json, sys
from click.testing import CliRunner
from pipeline.cli import main

for arguments, words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and words in done.output, (arguments, done.output, done.exception)
print(*{name.split(".")[0] for name in sys.modules} & {"tensorflow", "tfx", "apache_beam"})
"""


def test_what_can_be_said_before_tensorflow_is_loaded_is_said_before(tmp_path):
    def file(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    mine = to_yaml(EXAMPLE).replace("example-", "shapes-")
    good = file("good.yaml", mine)
    no_region = file("no_region.yaml", mine.replace("region: europe-west4", "region: null", 1))
    gpu = file("gpu.yaml", mine.replace("NVIDIA_TESLA_T4", "NVIDIA_T4", 1))
    cases = [
        (["--config", file("broken.yaml", "a: ]")], "is not YAML"),
        (["--config", file("unknown.yaml", "vertx: {}")], "unknown key vertx"),
        (["--config", file("local.yaml", "vertex: {root: /data}")], "no folder in a bucket"),
        (["--config", no_region], "vertex.region is missing"),
        (["--config", gpu], "found 'NVIDIA_T4'"),
        (["--config", good, "--manifest", "/nowhere.json"], "/nowhere.json cannot be read"),
        (["--config", good, "--manifest", good], "good.yaml, line 1: "),
        (["--config", file("rocket.yaml", mine.replace("Airplane", "Rocketship"))], "--manifest"),
    ]
    only_submit = [
        (["--config", good, "--schedule", "every monday"], "takes a cron expression of 5 fields"),
        (["--config", good], "no credentials to call it with"),
    ]
    commands = [(["compile", *arguments], words) for arguments, words in cases]
    commands += [(["submit", "vertex", *arguments], words) for arguments, words in cases]
    commands += [(["submit", "vertex", *arguments], words) for arguments, words in only_submit]
    without_credentials = {
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path),
        "NO_GCE_CHECK": "true",
    }
    environment = {k: v for k, v in os.environ.items() if k != "GOOGLE_APPLICATION_CREDENTIALS"}
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, json.dumps(commands)],
        cwd=ROOT,
        env=environment | without_credentials,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == ""


WITHOUT_NETWORK = """
import socket

def refuse(*_, **__):
    raise AssertionError("a connection was tried")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.getaddrinfo = socket.create_connection = refuse
from pipeline.cli import main
main()
"""


@pytest.mark.slow
def test_importing_and_compiling_reach_for_no_network(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK, "compile", "--output", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(tmp_path / n) for n in ("vertex.json", "kubeflow.yaml")]


@pytest.mark.slow
def test_tfxs_own_command_line_makes_the_same_job(vertex, tmp_path, monkeypatch):
    from tfx.tools.cli.cli_main import cli_group

    monkeypatch.setenv("HOME", str(tmp_path))
    # It asks the pip that it finds on the path what is installed.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("VERTEX_HOME", str(tmp_path / "vertex"))
    monkeypatch.setenv("POINTNET_CONFIG", "cluster_example")
    words = ["pipeline", "create", "--engine", "vertex", "--pipeline_path"]
    done = CliRunner().invoke(cli_group, [*words, vertex_runner.__file__])
    assert "created successfully" in done.output, done.output
    (file,) = tmp_path.glob("vertex/*/pipeline.json")
    assert json.loads(file.read_text()) == vertex


def test_tfxs_own_command_line_takes_no_config_that_nobody_named(monkeypatch):
    monkeypatch.delenv("POINTNET_CONFIG", raising=False)
    with pytest.raises(SystemExit, match=r"POINTNET_CONFIG is not set, .*export POINTNET_CONFIG="):
        vertex_runner.main()
