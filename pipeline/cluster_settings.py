"""Settings of Vertex AI and of Kubeflow Pipelines."""

from __future__ import annotations

import re
from typing import Annotated

from annotated_types import Ge, Gt
from pydantic import AfterValidator, Field

from schema.settings import Settings

# The clusters, by the names of their sections in the config.
PLATFORMS = ("vertex", "kubeflow")


def _folder_in_a_bucket(value: str) -> str:
    if re.fullmatch(r"gs://[^/]+(/.*)?", value):
        return value
    near = value.rpartition("://")[2].strip("/")
    hint = "give gs://bucket/folder" if value.startswith("/") else f"did you mean gs://{near}?"
    raise ValueError(f"found {value!r}, which is no folder in a bucket; {hint}")


def _written_as(pattern: str, what: str) -> AfterValidator:
    """Checks that a value has the form of Google's names, so that typos are found early."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"found {value!r}; give {what}")
        return value

    return AfterValidator(check)


Folder = Annotated[str, AfterValidator(_folder_in_a_bucket)]
ProjectId = Annotated[
    str,
    _written_as(
        r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "the project's id (`gcloud projects list` shows it), not its name or its number: small "
        "letters, digits and hyphens",
    ),
]
Region = Annotated[
    str,
    _written_as(
        r"(africa|asia|australia|europe|me|northamerica|southamerica|us)-"
        r"(north|south|east|west|central|northeast|northwest|southeast|southwest)[0-9]+",
        "a region of Google Cloud, such as europe-west4",
    ),
]
ServiceAccount = Annotated[
    str,
    _written_as(
        r"[^@\s]+@[^@\s]+\.gserviceaccount\.com",
        "the account's e-mail address, NAME@PROJECT.iam.gserviceaccount.com",
    ),
]
MachineType = Annotated[
    str,
    _written_as(
        r"[a-z0-9]+-(standard|(high|mega|ultra|hyper)(mem|cpu|gpu)|(edge|max)gpu)-[0-9]+g?"
        r"(-[a-z0-9]+)*",
        "a type of machine, such as n1-standard-16",
    ),
]


Positive = Annotated[float, Gt(0)]
Count = Annotated[int, Ge(1)]


class StepResources(Settings):
    """Resources of the container of one step."""

    cpu: Positive | None = None
    """Cores; null: the platform's default."""

    memory_gib: Positive | None = None
    """Memory: on Kubeflow the limit in GiB; on Vertex AI the amount in GB by which it chooses a
    machine type. null: the platform's default."""

    accelerator: str | None = None
    """Type of accelerator; null: none."""

    accelerators: Count = 1
    """Number of accelerators, if accelerator is set."""


class ClusterSettings(Settings):
    """Settings of every cluster; a section is used only if it has root and image."""

    root: Folder | None = None
    """Folder in a bucket, gs://bucket/folder, for artifacts/, serving_model/ and the training
    state."""

    data: Folder | None = None
    """The converted data set, gs://...; null: data/ in the root."""

    image: str | None = None
    """The image that `make image` built, by the name under which the cluster pulls it."""

    resources: StepResources = StepResources(cpu=4, memory_gib=16)
    """Resources of each step."""

    resources_of: dict[str, StepResources] = Field({})
    """Resources of single steps instead: {Transform: {cpu: 8, memory_gib: 32}}."""

    @property
    def pipeline_root(self) -> str:
        """The folder of every run's artifacts."""
        return f"{str(self.root).rstrip('/')}/artifacts"


class CustomJobSettings(Settings):
    """The machines of the Trainer's custom job."""

    machine: MachineType = "n1-standard-16"
    """Machine type."""

    accelerator: str | None = "NVIDIA_TESLA_T4"
    """Type of accelerator; null: none."""

    accelerators: Count = 1
    """Accelerators of each machine; each batch is divided among all of them."""

    workers: Count = 1
    """Machines that train together; each batch is divided among them."""

    spot: bool = False
    """Use spot machines: cheaper, but they may be preempted; training is resumed from the last
    checkpoint."""

    most_hours: Positive = 24
    """The job is stopped after this many hours."""


class EndpointSettings(Settings):
    """An online endpoint to which each blessed model is deployed."""

    name: str | None = None
    """Display name of the endpoint, which is created if it does not exist. null: no endpoint."""

    image: str = "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
    """Vertex AI's prebuilt TensorFlow Serving container; GPUs need another one."""

    machine: MachineType = "n1-standard-4"
    """Machine type."""

    accelerator: str | None = None
    """Type of accelerator; null: none."""

    accelerators: Count = 1
    """Number of accelerators, if accelerator is set."""

    least_replicas: Count = 1
    """Smallest number of machines."""

    most_replicas: Count = 2
    """Largest number of machines."""


class VertexSettings(ClusterSettings):
    """Vertex AI Pipelines."""

    project: ProjectId | None = None
    """Id of the Google Cloud project."""

    region: Region | None = None
    """Region of all jobs, such as europe-west4."""

    service_account: ServiceAccount | None = None
    """Service account of the steps; null: the project's default account."""

    network: str | None = None
    """A peered network, projects/NUMBER/global/networks/NAME; null: none."""

    encryption_key: str | None = None
    """Cloud KMS key for everything that the pipeline writes; null: Google's own key."""

    experiment: str | None = None
    """Vertex Experiment in which each run is recorded; null: none."""

    tensorboard: str | None = None
    """Resource name of a Vertex TensorBoard, projects/.../locations/.../tensorboards/...; requires
    service_account. null: none."""

    custom_job: bool = True
    """Train in a custom job with its own machines; false: in the Trainer's step, with its
    resources."""

    training: CustomJobSettings = CustomJobSettings()
    """The custom job."""

    endpoint: EndpointSettings = EndpointSettings()
    """Online predictions."""


class KubeflowSettings(ClusterSettings):
    """Kubeflow Pipelines, open source, version 2."""

    resources: StepResources = StepResources(cpu=3, memory_gib=12)
    """Resources of each step, which a node must have free: less than a machine of 4 cores and 16
    GiB, because the system uses some of them."""

    host: str | None = None
    """Address of the Pipelines API; null: the cluster of kubectl's current context."""

    namespace: str | None = None
    """The user's namespace, if there are several; null: the default."""

    experiment: str = "pointnet-parts"
    """Experiment of the runs."""

    service_account: str | None = None
    """Kubernetes service account of the steps; null: the default."""
