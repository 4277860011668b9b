"""Buckets of the number of a cloud's points, to slice an evaluation by."""

from __future__ import annotations

from itertools import pairwise

CLOUD_SIZE = "cloud_size"
# First number of points of each bucket but the first.
_EDGES = (512, 1024, 2048, 4096, 8192)
SIZE_BUCKETS = (
    f"1-{_EDGES[0] - 1}",
    *(f"{low}-{high - 1}" for low, high in pairwise(_EDGES)),
    f"{_EDGES[-1]}+",
)


def size_bucket(points: int) -> str:
    """The bucket of a cloud with so many points, one of SIZE_BUCKETS."""
    return SIZE_BUCKETS[sum(points >= edge for edge in _EDGES)]
