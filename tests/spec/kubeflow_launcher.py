"""What Kubeflow's launcher does with a step's inputs before it starts the step's command.

After backend/src/v2 of Kubeflow Pipelines 2 (component/launcher_v2.go: downloadArtifacts and
LocalPathForURI; objectstore/object_store.go: DownloadBlob and downloadFile).
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from tests.google_storage import GoogleStorage


class DownloadFailed(AssertionError):
    """The launcher would end here, and the step with it."""


def download(storage: GoogleStorage, address: str, disk: Path) -> int:
    """Copies what an input's address begins, as the launcher does without being asked to.

    Args:
      storage: where the input lies.
      address: the input's, gs://bucket/name.
      disk: the step's own; everything goes below its gcs/.

    Returns:
      How many bytes it copied.

    Raises:
      DownloadFailed: an object finds no place on a disk.
    """
    bucket, _, name = address.removeprefix("gs://").partition("/")
    folder = disk / "gcs" / bucket / name
    size = 0
    # Every object whose name begins so, in the order of their names.
    for found in storage.names(bucket, name):
        file = Path(posixpath.normpath(folder / posixpath.relpath(found, name)))
        content = storage.read(bucket, found) or b""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        except OSError as error:
            raise DownloadFailed(f"gs://{bucket}/{found}: {error}") from None
        size += len(content)
    return size
