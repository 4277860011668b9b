"""What can be set of Vertex AI and of Kubeflow Pipelines."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from preprocessing.settings import Settings

# The clusters, as their sections of the config are called.
PLATFORMS = ("vertex", "kubeflow")
_ACCELERATOR = "Kind of accelerator; null: none."


def _folder_in_a_bucket(value: str) -> str:
    if re.fullmatch(r"gs://[^/]+(/.*)?", value):
        return value
    near = value.rpartition("://")[2].strip("/")
    hint = "give gs://bucket/folder" if value.startswith("/") else f"did you mean gs://{near}?"
    raise ValueError(f"found {value!r}, which is no folder in a bucket; {hint}")


def _written_as(pattern: str, what: str) -> AfterValidator:
    """Holds a value against how Google writes such names: a slip of the pen is found at once."""

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


class StepResources(Settings):
    """What the container of one step gets."""

    cpu: float | None = Field(None, gt=0, description="Cores; null: the platform's default.")
    memory_gib: float | None = Field(
        None,
        gt=0,
        description="Memory: on Kubeflow the limit in GiB; on Vertex AI what it calls GB, by which "
        "it chooses a type of machine. null: the platform's default.",
    )
    accelerator: str | None = Field(None, description=_ACCELERATOR)
    accelerators: int = Field(1, ge=1, description="How many of them, where there is a kind.")


class ClusterSettings(Settings):
    """What every cluster needs to know; root and image are there or the section is not used."""

    root: Folder | None = Field(
        None,
        description="Folder in a bucket, gs://bucket/folder: artifacts/, serving_model/ and the "
        "training state go below it.",
    )
    data: Folder | None = Field(
        None, description="The converted data set, gs://...; null: data/ below the root."
    )
    image: str | None = Field(
        None, description="The image that `make image` built, as the cluster pulls it."
    )
    resources: StepResources = Field(
        StepResources(cpu=4, memory_gib=16), description="What each step gets."
    )
    resources_of: dict[str, StepResources] = Field(
        {}, description="What one step gets instead: {Transform: {cpu: 8, memory_gib: 32}}."
    )

    @property
    def pipeline_root(self) -> str:
        """The folder of every run's artifacts."""
        return f"{str(self.root).rstrip('/')}/artifacts"


class CustomJobSettings(Settings):
    """The machines of the Trainer's custom job."""

    machine: MachineType = Field("n1-standard-16", description="Type of machine.")
    accelerator: str | None = Field("NVIDIA_TESLA_T4", description=_ACCELERATOR)
    accelerators: int = Field(
        1, ge=1, description="Accelerators of each machine; all of them share each batch."
    )
    workers: int = Field(
        1, ge=1, description="Machines that train together; each batch is shared among them."
    )
    spot: bool = Field(
        False,
        description="Take machines that may be taken away: cheaper, and training goes on from its "
        "last checkpoint.",
    )
    most_hours: float = Field(24, gt=0, description="After so many hours the job is stopped.")


class EndpointSettings(Settings):
    """An online endpoint that each blessed model is deployed to."""

    name: str | None = Field(
        None, description="The endpoint's display name; made where it is not there. null: none."
    )
    image: str = Field(
        "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest",
        description="Vertex AI's prebuilt TensorFlow Serving container; another for GPUs.",
    )
    machine: MachineType = Field("n1-standard-4", description="Type of machine.")
    accelerator: str | None = Field(None, description=_ACCELERATOR)
    accelerators: int = Field(1, ge=1, description="How many of them, where there is a kind.")
    least_replicas: int = Field(1, ge=1, description="Machines at least.")
    most_replicas: int = Field(2, ge=1, description="Machines at most.")


class VertexSettings(ClusterSettings):
    """Vertex AI Pipelines."""

    project: ProjectId | None = Field(None, description="The Google Cloud project's id.")
    region: Region | None = Field(None, description="Where everything runs, such as europe-west4.")
    service_account: ServiceAccount | None = Field(
        None, description="Whom the steps run as; null: the project's default account."
    )
    network: str | None = Field(
        None, description="A peered network, projects/NUMBER/global/networks/NAME; null: none."
    )
    encryption_key: str | None = Field(
        None, description="A key of Cloud KMS for what the pipeline writes; null: Google's own."
    )
    experiment: str | None = Field(
        None, description="A Vertex Experiment that each run is entered in; null: none."
    )
    tensorboard: str | None = Field(
        None,
        description="A Vertex TensorBoard's resource name, "
        "projects/.../locations/.../tensorboards/...; it needs service_account. null: none.",
    )
    custom_job: bool = Field(
        True,
        description="Train in a custom job, on machines of its own; false: in the Trainer's own "
        "step, with its resources.",
    )
    training: CustomJobSettings = Field(CustomJobSettings(), description="The custom job.")
    endpoint: EndpointSettings = Field(EndpointSettings(), description="Online predictions.")


class KubeflowSettings(ClusterSettings):
    """Kubeflow Pipelines, open source, version 2."""

    resources: StepResources = Field(
        StepResources(cpu=3, memory_gib=12),
        description="What each step gets, and what a node must have free for it: less than a "
        "machine of 4 cores and 16 GiB, some of which is the system's.",
    )
    host: str | None = Field(
        None, description="Address of the Pipelines API; null: the cluster of kubectl's context."
    )
    namespace: str | None = Field(
        None, description="The user's namespace, where there are several; null: the default."
    )
    experiment: str = Field("pointnet-parts", description="The experiment that runs are part of.")
    service_account: str | None = Field(
        None, description="The Kubernetes service account of the steps; null: the default."
    )
