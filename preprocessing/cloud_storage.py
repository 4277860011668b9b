"""Asks Google Cloud Storage once, briefly, before Beam asks for minutes without a word."""

from __future__ import annotations

import os

from preprocessing.findings import BadInput

# An answer from Google takes less than one.
LONGEST_WAIT_SECONDS = 20.0
# What to do where Google's libraries find no credentials.
LOG_IN = (
    "run `gcloud auth application-default login`, or name a key file in "
    "GOOGLE_APPLICATION_CREDENTIALS"
)


def bucket_of(address: str) -> str:
    """The bucket's name in gs://bucket/name."""
    return address.removeprefix("gs://").partition("/")[0]


def first_line(error: Exception) -> str:
    """What an exception says, without what follows it, and without its full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")


def why_not_reached(error: Exception) -> str:
    """The reason in the text of a failed connection, a chain of exceptions with it at the end."""
    return str(error).rpartition(": ")[2].rstrip("\"')")


def _list_one(bucket: str) -> None:
    """Lists one object of a bucket; Google's and requests' own exceptions."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage  # type: ignore[attr-defined]

    # The emulator's variable is Google's own; it asks for no credentials.
    emulated = os.environ.get("STORAGE_EMULATOR_HOST")
    credentials = AnonymousCredentials() if emulated else google.auth.default()[0]
    # To list a bucket no project is needed, but the client wants one.
    client = storage.Client(project="none", credentials=credentials)
    list(client.list_blobs(bucket, max_results=1, timeout=LONGEST_WAIT_SECONDS, retry=None))


def is_known_missing(address: str) -> bool:
    """Whether Google says that there is no such bucket; not where it cannot or may not be asked.

    Args:
      address: gs://bucket/name.
    """
    from google.api_core.exceptions import GoogleAPICallError, NotFound
    from google.auth.exceptions import GoogleAuthError

    try:
        _list_one(bucket_of(address))
    except NotFound:
        return True
    except (GoogleAPICallError, GoogleAuthError, OSError):
        return False
    return False


def check_bucket(address: str) -> None:
    """Lists one object of a bucket.

    Args:
      address: gs://bucket/name.

    Raises:
      BadInput: there are no credentials, the bucket may not be listed or is not there, or Google
        cannot be reached.
    """
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError, TransportError

    bucket = bucket_of(address)
    try:
        _list_one(bucket)
    except (requests.exceptions.RequestException, TransportError) as error:
        raise BadInput(
            "bad_address",
            f"{address}: Google cannot be reached ({why_not_reached(error)}). "
            "See to the way there.",
        ) from None
    except GoogleAuthError as error:
        raise BadInput(
            "bad_address",
            f"{address}: no credentials to ask Google with ({first_line(error)}); {LOG_IN}.",
        ) from None
    except (GoogleAPICallError, OSError) as error:
        raise BadInput(
            "bad_address",
            f"the bucket gs://{bucket} cannot be listed ({first_line(error)}). Correct its name, "
            "or see to your rights on it (roles/storage.objectAdmin).",
        ) from None
