"""Asks Google Cloud Storage once, briefly, before Beam asks for minutes without a word."""

from __future__ import annotations

import os

from preprocessing.findings import BadInput

_SECONDS = 20.0


def check_bucket(address: str) -> None:
    """Lists one object of a bucket.

    Args:
      address: gs://bucket/name.

    Raises:
      BadInput: there are no credentials, the bucket may not be listed or is not there, or Google
        cannot be reached.
    """
    import google.auth
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage  # type: ignore[attr-defined]

    bucket = address.removeprefix("gs://").partition("/")[0]
    try:
        # The emulator's variable is Google's own; it asks for no credentials.
        emulated = os.environ.get("STORAGE_EMULATOR_HOST")
        credentials = AnonymousCredentials() if emulated else google.auth.default()[0]
        # To list a bucket no project is needed, but the client wants one.
        client = storage.Client(project="none", credentials=credentials)
        list(client.list_blobs(bucket, max_results=1, timeout=_SECONDS, retry=None))
    except GoogleAuthError as error:
        raise BadInput(
            "bad_address",
            f"{address}: no credentials to ask Google with ({_first_line(error)}). Run `gcloud "
            "auth application-default login`, or name a key file in "
            "GOOGLE_APPLICATION_CREDENTIALS.",
        ) from None
    except requests.exceptions.RequestException as error:
        # Its text is a chain of exceptions, the reason last.
        reason = str(error).rpartition(": ")[2].rstrip("\"')")
        raise BadInput(
            "bad_address", f"{address}: Google cannot be reached ({reason}). See to the way there."
        ) from None
    except (GoogleAPICallError, OSError) as error:
        raise BadInput(
            "bad_address",
            f"the bucket gs://{bucket} cannot be listed ({_first_line(error)}). Correct its name, "
            "or see to your rights on it (roles/storage.objectAdmin).",
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
