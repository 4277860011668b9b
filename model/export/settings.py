"""Settings of the exported model; they load without TensorFlow."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from schema.settings import Settings

Count = Annotated[int, Ge(1)]


class ServingSettings(Settings):
    """Limits of the exported model and of the versions that are kept."""

    most_points: Count = 400_000
    """Most points of one request (clouds times the points of the longest one). A larger request is
    refused with a clear error before it fills the server's memory."""

    keep_versions: Count | None = 5
    """Number of pushed versions to keep, the newest ones; null: all."""
