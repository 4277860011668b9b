"""Compiles a config for the clusters that it names: the work of `pointnet-parts compile`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import kubeflow_checks, vertex_checks
from pipeline.cluster_checks import categories_of, read_manifest, used_platforms
from pipeline.cluster_settings import PLATFORMS
from pipeline.config import PipelineConfig
from schema.errors import UserError

_CHECKS = {"vertex": vertex_checks, "kubeflow": kubeflow_checks}


def check_specs(config: PipelineConfig, manifest_file: str, platforms: Sequence[str]) -> list[str]:
    """Says what can be said before TensorFlow and TFX, which take long, are loaded.

    Args:
      config: what to do, and where.
      manifest_file: manifest.json of the data set; "" where its parts are ShapeNet's.
      platforms: of PLATFORMS; none: all that the config has a root for.

    Returns:
      The platforms to compile for.

    Raises:
      UserError: what is missing or cannot work.
      UserError: the manifest is none.
    """
    chosen = list(platforms) or used_platforms(config)
    if not chosen:
        raise UserError(
            "bad_config",
            f"the config says of no cluster where its root is ({', '.join(PLATFORMS)}); "
            "`pointnet-parts config cluster_example` shows what such a config looks like",
        )
    categories_of(config.data, read_manifest(manifest_file))
    for name in chosen:
        _CHECKS[name].check(config)
    return chosen


def compile_specs(
    config: PipelineConfig, manifest_file: str, platforms: Sequence[str], folder: Path
) -> Iterator[Path]:
    """Writes a file for each cluster; all are checked before the first is written.

    Args:
      config: what to do, and where.
      manifest_file: manifest.json of the data set; "" where its parts are ShapeNet's.
      platforms: of PLATFORMS; none: all that the config has a root for.
      folder: where to write.

    Yields:
      Each file written.

    Raises:
      UserError: what is missing or cannot work.
      UserError: the manifest is none.
    """
    chosen = check_specs(config, manifest_file, platforms)
    from pipeline import kubeflow_runner, vertex_runner
    from pipeline.compilation import cluster_places

    runners = {"vertex": vertex_runner, "kubeflow": kubeflow_runner}
    manifest = read_manifest(manifest_file)
    for name in chosen:
        runner = runners[name]
        places = cluster_places(config, getattr(config, name), manifest)
        file = folder / runner.SPEC_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            runner.compile_pipeline(config, places, file)
        except OSError as error:
            raise UserError(
                "bad_config",
                f"{file} cannot be written ({error.strerror or error}); give another --output",
            ) from None
        yield file
