"""Looks whether a config can be compiled for a cluster; what both clusters' checks share.

Nothing here imports TensorFlow or TFX, so that a mistake is said at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.beam_settings import CONVERSION, BeamSettings, beam_args
from pipeline.cluster_settings import PLATFORMS, ClusterSettings, StepResources
from pipeline.config import PipelineConfig
from preprocessing.conversion.manifest import Manifest
from preprocessing.datasets.base import chosen_categories
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.errors import UserError

# A step has no Java, and Beam's workers elsewhere do not find it.
_ONLY_HERE = ("--flink_job_server_jar", "--spark_job_server_jar")
_LOOPBACK = "--environment_type=LOOPBACK"
NEEDED_BY_ALL = {
    "root": "give a folder in a bucket that the cluster can write, such as gs://bucket/pointnet",
    "image": "give the image that `make image` built and pushed, with its tag or digest",
}


def used_platforms(config: PipelineConfig) -> list[str]:
    """Which clusters a config has a root for."""
    return [section for section in PLATFORMS if getattr(config, section).root]


def check_cluster(
    config: PipelineConfig,
    section: str,
    needed: Mapping[str, str],
    check_accelerator: Callable[[str, str], None],
) -> None:
    """Looks whether a config can be compiled for a platform.

    Args:
      config: the config.
      section: the platform's section of it, such as "vertex".
      needed: the section's keys that must be set, and what to set each to.
      check_accelerator: given a key of the config and the kind of accelerator found there, raises a
        UserError where it is none of the platform's.

    Raises:
      UserError: naming every key that is missing, or what cannot run there.
    """
    cluster: ClusterSettings = getattr(config, section)
    others = [other for other in used_platforms(config) if other != section]
    if others and not cluster.root:
        raise UserError(
            "bad_config",
            f"this config is for {others[0]} and not for {section}, whose root it lacks: compile "
            f"with --platform {others[0]}, or `pointnet-parts submit {others[0]}`; for {section}, "
            f"set {section}.root, a folder in a bucket",
        )
    missing = [key for key in needed if not getattr(cluster, key)]
    if missing:
        raise UserError(
            "bad_config", "; ".join(f"{section}.{key} is missing: {needed[key]}" for key in missing)
        )
    if config.infra_validation == "docker":
        raise UserError(
            "bad_config",
            f"infra_validation is docker, and no step of {section} has a Docker daemon; set it to "
            "auto or probe: ModelServerProbe asks the model without one",
        )
    if config.notify.webhook_variable and not config.notify.webhook_file:
        raise UserError(
            "bad_config",
            f"notify.webhook_variable is given, and a step of {section} has no such variable; put "
            "the address into a file that the step can read, and give notify.webhook_file: gs://...",
        )
    _check_beam_of_steps(config.beam, section)
    for key, wanted in (
        ("resources", cluster.resources),
        *((f"resources_of.{name}", own) for name, own in cluster.resources_of.items()),
    ):
        if wanted.accelerator:
            check_accelerator(f"{section}.{key}.accelerator", wanted.accelerator)


def _check_beam_of_steps(beam: BeamSettings, section: str) -> None:
    """Raises a UserError where Beam's settings for the steps hold for this machine alone."""
    # Conversion runs where it is started, and not in a step.
    steps = ["", *(name for name in beam.components if name != CONVERSION)]
    for step in steps:
        runner = (beam.components[step].runner if step else None) or beam.runner
        if runner in ("flink", "spark") and getattr(beam, runner).job_server_jar:
            raise _holds_here_alone(step, f"beam.{runner}.job_server_jar", section)
    # Looked at afterwards, as Beam's options ask for a Java of this machine.
    for step in steps:
        for arg in beam_args(beam, step):
            if arg.partition("=")[0] in _ONLY_HERE or arg == _LOOPBACK:
                raise _holds_here_alone(step, arg, section)


def _holds_here_alone(step: str, found: str, section: str) -> UserError:
    return UserError(
        "bad_config",
        f"{f'beam.components.{step}' if step else 'beam'} has Beam started with {found}, which "
        f"holds for this machine and not inside a step of {section}: give the job_endpoint of a "
        "job server that runs already, and environment_type DOCKER with the image",
    )


def check_batch(config: PipelineConfig, replicas: int, where: str) -> None:
    """Raises a UserError where devices cannot share a batch evenly.

    Args:
      config: the config.
      replicas: devices that train together.
      where: the keys of the config that say so.
    """
    size = config.training.batch_size
    if size % replicas:
        lower = size // replicas * replicas
        fitting = " or ".join(str(one) for one in (lower, lower + replicas) if one)
        raise UserError(
            "bad_config",
            f"training.batch_size is {size}; it must be a multiple of the {replicas} devices that "
            f"share each batch ({where}): give {fitting}, or another number of devices",
        )


def check_drift(config: PipelineConfig, section: str) -> None:
    """Raises a UserError if drift would have to stop a run of a platform.

    Only ML Metadata of this machine knows which run's statistics passed: Vertex AI compares with
    the last run's, even if it was stopped, and Kubeflow has no Resolver.
    """
    if config.validation.drift.action == "stop":
        raise UserError(
            "bad_config",
            f"validation.drift.action is stop, which {section} cannot do: a second run on the same "
            "data would pass. Set it to warn, or run on one machine.",
        )


def trainer_resources(cluster: ClusterSettings) -> StepResources:
    """What the Trainer's own step gets."""
    return cluster.resources_of.get("Trainer", cluster.resources)


def check_batch_of_step(config: PipelineConfig, section: str) -> None:
    """`check_batch` for a Trainer that trains in its own step."""
    wanted = trainer_resources(getattr(config, section))
    if wanted.accelerator:
        where = f"{section}.resources_of.Trainer.accelerators: {wanted.accelerators}"
        check_batch(config, wanted.accelerators, where)


def read_manifest(file: str) -> Manifest | None:
    """A manifest.json by its path; "" is none.

    Raises:
      UserError: it cannot be read.
      UserError: it is no manifest.
    """
    if not file:
        return None
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "bad_config",
            f"the manifest {file} cannot be read ({getattr(error, 'strerror', None) or error}); "
            "give the manifest.json that conversion wrote (of one in a bucket, a copy)",
        ) from None
    return Manifest.from_text(text, file)


def categories_of(data: DataSettings, manifest: Manifest | None) -> tuple[Category, ...]:
    """The categories of the data set that will be read; without a manifest they are ShapeNet's.

    Raises:
      UserError: without a manifest, a category that is not ShapeNet's.
    """
    if manifest:
        return manifest.categories
    known = {category.name: category for category in SHAPENET_CATEGORIES}
    try:
        chosen = chosen_categories(known, data.category)
    except UserError:
        raise UserError(
            "bad_config",
            f"data.category is {data.category}, whose parts only the data set defines: give the "
            "manifest.json of the converted data set (--manifest); without it, all or one of "
            f"{', '.join(known)}",
        ) from None
    return tuple(known[name].with_unannotated(data.unannotated) for name in chosen)


def assumptions(config: PipelineConfig, manifest_file: str) -> list[str]:
    """What compiling takes for granted and a person should know, a line each."""
    lines = []
    if not manifest_file:
        whose = "all its categories" if config.data.category == "all" else config.data.category
        lines.append(
            f"no manifest: ShapeNet's parts for {whose} are assumed (--manifest gives others)"
        )
    if config.notify.command:
        lines.append(f"notify.command: {config.notify.command[0]} must be in the image")
    return lines
