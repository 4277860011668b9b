"""Removes the objects that stand for folders in a bucket, which Kubeflow's launcher trips over.

TensorFlow makes an object "schema/", without content, for the folder that "schema/schema.pbtxt" is
to go into. Before the next step starts, Kubeflow's launcher copies each input to that step's disk,
object by object: "schema/" becomes a file, and in a file there is no room for schema.pbtxt
(kubeflow/pipelines issue 13476, where that happened to TFX on a cluster). A bucket needs neither: a
name may have any slashes in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.google_storage import bucket_of

SCHEME = "gs://"


def remove_folder_markers(addresses: Iterable[str]) -> int:
    """Removes those of folders in a bucket and of all that is below them.

    Args:
      addresses: the folders, gs://bucket/name; others are left alone.

    Returns:
      How many there were.

    Raises:
      google.auth.exceptions.GoogleAuthError, google.api_core.exceptions.GoogleAPIError,
      OSError: Google refuses, or cannot be reached.
    """
    folders = [address.rstrip("/") for address in addresses if address.startswith(SCHEME)]
    if not folders:
        return 0
    from google.api_core.exceptions import NotFound
    from google.cloud.storage import Client

    removed = 0
    client = Client(project="none")  # objects need none, but the client wants one
    for folder in folders:
        bucket = bucket_of(folder)
        prefix = folder.removeprefix(f"{SCHEME}{bucket}/") + "/"
        for found in client.list_blobs(bucket, prefix=prefix, fields="items(name),nextPageToken"):
            if found.name.endswith("/"):
                try:
                    found.delete()
                    removed += 1
                except NotFound:
                    pass  # Google's client asks again where an answer got lost.
    return removed
