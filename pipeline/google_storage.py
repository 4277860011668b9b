"""Google Cloud Storage: one short request to a bucket, and the reason in its clients' errors."""

from __future__ import annotations

# Google answers in less than one.
LONGEST_WAIT_SECONDS = 20.0
LOG_IN = "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS"


def bucket_of(address: str) -> str:
    """The bucket's name in gs://bucket/name."""
    return address.removeprefix("gs://").partition("/")[0]


def first_line(error: Exception) -> str:
    """The first line of an exception's message, without a full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200].rstrip(".")


def why_not_reached(error: Exception) -> str:
    """The reason at the end of a failed connection's message, which is a chain of exceptions."""
    return str(error).rpartition(": ")[2].rstrip("\"')")


def is_known_missing(address: str) -> bool:
    """Whether Google says that the bucket does not exist; False where it cannot be asked."""
    from google.api_core.exceptions import NotFound

    try:
        _list_one(address)
    except Exception as error:
        return isinstance(error, NotFound)
    return False


def _list_one(address: str) -> None:
    from google.cloud.storage import Client

    wait = LONGEST_WAIT_SECONDS
    list(Client(None).list_blobs(bucket_of(address), max_results=1, timeout=wait, retry=None))
