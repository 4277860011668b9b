"""The server's side as it is shipped: every file in its own form, and all of them of one mind.

The three text files are parsed by messages: the model config by TensorFlow Serving's own, the other
two, whose messages tensorflow-serving-api does not bring, by messages made here with the fields of
its batching and monitoring configs. Manifests go through Kubernetes' own client and, where kubectl
is, through kustomize. No cluster and no Docker daemon took part.
"""

import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from kubernetes import client as kubernetes_client
from tensorflow_serving.config import model_server_config_pb2

from model.export.settings import ServingSettings
from serving.batches import MOST_CLOUDS
from serving.model_config import (
    IMAGE_TAG,
    MODELS_FILE,
    MODELS_ROOT,
    SHIPPED,
    empty_config,
    model_of,
)

NAME = "pointnet_parts"
STATUS = f"/v1/models/{NAME}"
KUBERNETES = SHIPPED / "kubernetes"
BASE = KUBERNETES / "base"
VARIANTS = ("base", "gpu", "gcs")
needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which brings kustomize, is not installed"
)
FIELD = descriptor_pb2.FieldDescriptorProto
# The published fields, by name; a wrapped number is written `{ value: 1 }`.
BATCHING = {
    "max_batch_size": "Int64Value",
    "batch_timeout_micros": "Int64Value",
    "max_enqueued_batches": "Int64Value",
    "num_batch_threads": "Int64Value",
    "thread_pool_name": "StringValue",
    "allowed_batch_sizes": FIELD.TYPE_INT64,
    "pad_variable_length_inputs": FIELD.TYPE_BOOL,
    "enable_large_batch_splitting": "BoolValue",
    "max_execution_batch_size": "Int64Value",
}
PROMETHEUS = {"enable": FIELD.TYPE_BOOL, "path": FIELD.TYPE_STRING}


def messages():
    """Classes of BatchingParameters and MonitoringConfig."""
    file = descriptor_pb2.FileDescriptorProto(
        name="published_fields.proto", package="published", syntax="proto3"
    )
    file.dependency.append("google/protobuf/wrappers.proto")
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    forms = {
        "BatchingParameters": BATCHING,
        "PrometheusConfig": PROMETHEUS,
        "MonitoringConfig": {"prometheus_config": ".published.PrometheusConfig"},
    }
    for message, fields in forms.items():
        described = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields.items(), 1):
            repeated = name == "allowed_batch_sizes"
            field = described.field.add(name=name, number=number)
            field.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            field.type = FIELD.TYPE_MESSAGE if isinstance(kind, str) else kind
            if isinstance(kind, str):
                field.type_name = kind if kind[0] == "." else f".google.protobuf.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers.SerializeToString())
    pool.AddSerializedFile(file.SerializeToString())
    made = {}
    for message in forms:
        descriptor = pool.FindMessageTypeByName(f"published.{message}")
        if hasattr(message_factory, "GetMessageClass"):
            made[message] = message_factory.GetMessageClass(descriptor)
        else:
            made[message] = message_factory.MessageFactory(pool).GetPrototype(descriptor)
    return SimpleNamespace(**made)


def parsed(message, *path):
    file = SHIPPED.joinpath(*path)
    return text_format.Parse(file.read_text("utf-8"), message())


def read(*path):
    return yaml.safe_load(SHIPPED.joinpath(*path).read_text("utf-8"))


def manifests():
    """Every object in the files of kubernetes/, patches and kustomizations left out."""
    for file in sorted(KUBERNETES.rglob("*.yaml")):
        if file.name.endswith("_patch.yaml") or file.name == "kustomization.yaml":
            continue
        yield from yaml.safe_load_all(file.read_text("utf-8"))


def of_kind(kind, objects=None):
    found = [thing for thing in objects or manifests() if thing["kind"] == kind]
    assert len(found) == 1, found
    return found[0]


def service():
    (found,) = read("compose.yaml")["services"].values()
    return found


def container():
    (found,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def flags(words):
    assert all(re.fullmatch(r"--[a-z_]+=\S+", word) for word in words)
    return dict(word[2:].split("=", 1) for word in words)


@pytest.mark.parametrize("folder", ["config", "kubernetes/gcs"])
def test_the_model_config_is_the_servers_own_message(folder):
    config = parsed(model_server_config_pb2.ModelServerConfig, folder, MODELS_FILE)
    (model,) = config.model_config_list.config
    assert model.name == NAME and model.base_path.rstrip("/").endswith(f"/{NAME}")
    # The open server ends at once where logging is asked for.
    assert not model.HasField("logging_config")


def test_the_shipped_model_config_is_what_serve_writes_for_one_model():
    written = empty_config()
    model_of(written, NAME)
    assert parsed(empty_config().__class__, "config", MODELS_FILE) == written


def batching_files():
    return sorted(path.relative_to(SHIPPED).as_posix() for path in SHIPPED.rglob("batching.pbtxt"))


@pytest.mark.parametrize("file", batching_files())
def test_batching_pads_and_takes_our_clients_requests_and_stays_below_the_models_limit(file):
    found = parsed(messages().BatchingParameters, file)
    # Without it clouds of different sizes never share a batch.
    assert found.pad_variable_length_inputs
    # With padding the parts of a split request would have answers of different lengths.
    assert not found.enable_large_batch_splitting.value
    assert found.max_batch_size.value >= MOST_CLOUDS
    assert found.max_batch_size.value * 2048 <= ServingSettings().most_points
    assert found.num_batch_threads.value >= 1
    assert found.max_enqueued_batches.value >= found.num_batch_threads.value
    assert found.batch_timeout_micros.value >= 0


def test_a_pod_has_memory_for_the_largest_request_in_every_batch_thread():
    found = parsed(messages().BatchingParameters, "config", "batching.pbtxt")
    # docs/serving.md, Memory: bytes a point, and the model of two versions.
    needed = (
        found.num_batch_threads.value * ServingSettings().most_points * 16_000 + 2 * 700_000_000
    )
    limit = container()["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    assert needed <= int(limit.removesuffix("Gi")) * 2**30


def test_a_misspelt_field_would_be_found():
    with pytest.raises(text_format.ParseError, match="pad_variable_length_input"):
        text_format.Parse("pad_variable_length_input: true", messages().BatchingParameters())


def test_monitoring_is_on_and_where_prometheus_looks():
    prometheus = parsed(messages().MonitoringConfig, "config", "monitoring.pbtxt").prometheus_config
    assert prometheus.enable
    annotations = of_kind("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == prometheus.path
    assert annotations["prometheus.io/port"] == flags(container()["args"])["rest_api_port"]
    (endpoint,) = of_kind("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["path"] == prometheus.path and endpoint["port"] == "rest"


def test_compose_and_kubernetes_start_the_same_server():
    assert service()["command"] == container()["args"]
    assert service()["entrypoint"] == container()["command"]
    image = re.fullmatch(r"\$\{SERVING_IMAGE:-(.*)\}", service()["image"]).group(1)
    assert image == container()["image"]
    # And InfraValidator has tried the models on the same.
    assert image == f"tensorflow/serving:{IMAGE_TAG}" and re.fullmatch(r"\d+\.\d+\.\d+", IMAGE_TAG)
    (gpu,) = read("compose.gpu.yaml")["services"].values()
    (renamed,) = read("kubernetes/gpu/kustomization.yaml")["images"]
    assert gpu["image"] == f"${{SERVING_IMAGE:-{renamed['name']}:{renamed['newTag']}}}"
    assert renamed["newTag"] == f"{image.split(':')[1]}-gpu"


def test_the_flags_name_files_that_are_there_and_batching_comes_with_its_parameters():
    found = flags(container()["args"])
    assert found["enable_batching"] == "true"
    assert found["allow_version_labels_for_unavailable_models"] == "true"
    assert int(found["model_config_file_poll_wait_seconds"]) > 0
    named = {name: value for name, value in found.items() if name.endswith("_file")}
    assert set(named) == {"model_config_file", "batching_parameters_file", "monitoring_config_file"}
    for value in named.values():
        folder, file = value.rsplit("/", 1)
        assert folder == "/config" and (SHIPPED / "config" / file).is_file()


def test_models_are_mounted_read_only_where_the_model_config_looks():
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    assert mounts["/models"]["readOnly"] and mounts["/config"]["readOnly"]
    volumes = {volume["target"]: volume for volume in service()["volumes"]}
    assert set(volumes) == {"/models", "/config"}
    assert all(v["read_only"] and not v["bind"]["create_host_path"] for v in volumes.values())
    (model,) = parsed(empty_config().__class__, "config", MODELS_FILE).model_config_list.config
    assert model.base_path == f"{MODELS_ROOT}/{NAME}" and MODELS_ROOT in mounts


def test_the_server_is_an_ordinary_user_that_can_write_nothing():
    compose, pod = service(), of_kind("Deployment")["spec"]["template"]["spec"]
    assert compose["user"] == "${SERVING_USER:-1000:1000}" and compose["read_only"]
    assert compose["cap_drop"] == ["ALL"] and "no-new-privileges:true" in compose["security_opt"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
    inside = container()["securityContext"]
    assert inside["readOnlyRootFilesystem"] and not inside["allowPrivilegeEscalation"]
    assert inside["capabilities"] == {"drop": ["ALL"]} and not pod["automountServiceAccountToken"]


def test_only_this_machine_can_ask_where_nothing_else_is_said():
    published = dict(port.rsplit(":", 1)[::-1] for port in service()["ports"])
    assert published == {
        "8500": "${SERVING_ADDRESS:-127.0.0.1}:${SERVING_GRPC_PORT:-8500}",
        "8501": "${SERVING_ADDRESS:-127.0.0.1}:${SERVING_REST_PORT:-8501}",
    }


def test_ports_have_the_same_numbers_and_names_everywhere():
    expected = {"grpc": 8500, "rest": 8501}
    found = flags(container()["args"])
    assert {"grpc": int(found["port"]), "rest": int(found["rest_api_port"])} == expected
    assert {p["name"]: p["containerPort"] for p in container()["ports"]} == expected
    services = [thing for thing in manifests() if thing["kind"] == "Service"]
    assert [thing["metadata"]["name"] for thing in services] == [
        "pointnet-parts",
        "pointnet-parts-pods",
    ]
    for thing in services:
        for port in thing["spec"]["ports"]:
            assert expected[port["name"]] == port["port"] and port["targetPort"] == port["name"]


def test_everything_selects_the_pods_and_names_what_is_there():
    deployment = of_kind("Deployment")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(thing["spec"]["selector"] for thing in manifests() if thing["kind"] == "Service"),
        *(c["labelSelector"]["matchLabels"] for c in pod["spec"]["topologySpreadConstraints"]),
    ]
    assert all(selector.items() <= labels.items() and selector for selector in selectors)
    monitored = of_kind("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    named = [
        thing["metadata"]["name"]
        for thing in manifests()
        if thing["kind"] == "Service" and monitored.items() <= thing["metadata"]["labels"].items()
    ]
    assert named == ["pointnet-parts"]
    target = of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"]
    budget = of_kind("PodDisruptionBudget")["spec"]["minAvailable"]
    assert budget < of_kind("HorizontalPodAutoscaler")["spec"]["minReplicas"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container()["volumeMounts"]} == set(volumes)
    claim = of_kind("PersistentVolumeClaim")["metadata"]["name"]
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim
    mounted = [s["configMap"]["name"] for s in volumes["config"]["projected"]["sources"]]
    generated = read("config/kustomization.yaml")["configMapGenerator"]
    assert mounted == [made["name"] for made in generated]
    files = {file for made in generated for file in made["files"]}
    assert files == {path.name for path in (SHIPPED / "config").glob("*.pbtxt")}


def test_the_models_config_map_keeps_its_name_so_that_pods_follow_it_as_they_run():
    models, server = read("config/kustomization.yaml")["configMapGenerator"]
    assert models["files"] == [MODELS_FILE] and models["options"]["disableNameSuffixHash"]
    assert "options" not in server
    (replaced,) = read("kubernetes/gcs/kustomization.yaml")["configMapGenerator"]
    assert replaced["name"] == models["name"] and replaced["options"] == models["options"]


def test_the_probes_ask_for_the_model_by_rest(one_folder):
    probes = [
        container()[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")
    ]
    assert [probe["path"] for probe in probes] == [STATUS, f"{STATUS}/metadata", STATUS]
    assert {probe["port"] for probe in probes} == {"rest"}
    # They wait longer for the first version than they do for a server that has served.
    startup = container()["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_composes_health_check_knows_a_server_that_serves(one_double):
    kind, *command = service()["healthcheck"]["test"]
    assert kind == "CMD"
    port = one_double.rest_address.rsplit(":", 1)[1]

    def healthy(name, port):
        asked = [w.replace("${SERVING_NAME:-pointnet_parts}", name) for w in command]
        asked = [word.replace("8501", str(port)) for word in asked]
        done = subprocess.run(asked, capture_output=True, timeout=60, check=False)
        return done.returncode == 0

    assert healthy(NAME, port)
    assert not healthy("another", port)
    assert not healthy(NAME, 1)


def round_trip(thing):
    """An object as Kubernetes' client understands it: what it does not know is gone."""
    group, _, version = thing["apiVersion"].rpartition("/")
    kind = f"{version.capitalize()}{thing['kind']}"
    assert hasattr(kubernetes_client, kind), f"{group}/{version} {thing['kind']}"
    api = kubernetes_client.ApiClient()
    understood = api.deserialize(SimpleNamespace(data=json.dumps(thing)), kind)
    return api.sanitize_for_serialization(understood)


@needs_kubectl
@pytest.mark.parametrize("variant", VARIANTS)
def test_kustomize_builds_what_kubernetes_understands_in_full(variant):
    done = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / variant], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    kinds = {thing["kind"] for thing in objects}
    assert kinds >= {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    for thing in objects:
        assert round_trip(thing) == thing
    deployment = of_kind("Deployment", objects)["spec"]["template"]["spec"]
    (server,) = deployment["containers"]
    assert ("nvidia.com/gpu" in server["resources"]["limits"]) == (variant == "gpu")
    mounted = {mount["name"] for mount in server["volumeMounts"]}
    assert mounted == {volume["name"] for volume in deployment["volumes"]}
    assert ("models" in mounted) == ("PersistentVolumeClaim" in kinds) == (variant != "gcs")
    maps = {t["metadata"]["name"]: t["data"] for t in objects if t["kind"] == "ConfigMap"}
    for source in deployment["volumes"]:
        for part in source.get("projected", {}).get("sources", []):
            assert maps.pop(part["configMap"]["name"])
    assert not maps


def test_kubernetes_objects_are_understood_without_kustomize_too():
    for thing in manifests():
        if thing["kind"] != "ServiceMonitor":  # of the Prometheus Operator, not Kubernetes' own
            assert round_trip(thing) == thing


def test_an_unknown_field_of_a_manifest_would_be_found():
    deployment = of_kind("Deployment")
    deployment["spec"]["template"]["spec"]["securityContex"] = {"runAsNonRoot": True}
    assert round_trip(deployment) != deployment


# The metrics that docs/serving.md explains, by the names under which the server has them.
METRICS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:serving:request_latency_bucket": {"model_name", "API", "entrypoint", "le"},
    ":tensorflow:serving:batching_session:queuing_latency_bucket": {"thread_pool_name", "le"},
    ":tensorflow:cc:saved_model:load_attempt_count": {"model_path", "status"},
}


def test_alerts_ask_for_metrics_and_labels_that_the_server_has():
    (group,) = read("alerts.yaml")["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) > 3
    asked = set()
    for rule in group["rules"]:
        for metric, selector in re.findall(r"(:tensorflow[a-z_:]+)(\{[^}]*\})?", rule["expr"]):
            assert metric in METRICS
            asked.add(metric)
            labels = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", selector)
            assert set(labels) <= METRICS[metric]
        assert rule["annotations"]["summary"]
    assert asked == set(METRICS)
    page = (SHIPPED.parents[1] / "docs" / "serving.md").read_text("utf-8")
    for metric in METRICS:
        assert metric.removesuffix("_bucket") in page
    # up is named by the Service's label, which the monitor takes for the job.
    label = of_kind("ServiceMonitor")["spec"]["jobLabel"]
    assert label == "app.kubernetes.io/name"
    assert f'job="{of_kind("ServiceMonitor")["metadata"]["labels"][label]}"' in str(group)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_own_tool_takes_the_alerts():
    subprocess.run(["promtool", "check", "rules", SHIPPED / "alerts.yaml"], check=True)
