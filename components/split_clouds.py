"""The labelled clouds of a split, and a sample of them."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterable, Iterator

import tensorflow as tf
from tfx.dsl.io import fileio

from preprocessing.conversion.records import from_example
from schema.record import UNANNOTATED, Cloud


def read_clouds(folder: str) -> Iterator[Cloud]:
    """The clouds of a split's folder that have at least one annotated point."""
    paths = sorted(str(path) for path in fileio.glob(os.path.join(folder, "*")))
    for example in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator():
        record = from_example(example)
        if record.labels is not None and (record.labels != UNANNOTATED).any():
            yield record


def sample_clouds(clouds: Iterable[Cloud], most: int) -> list[Cloud]:
    """At most `most` clouds, the same ones in whatever order the records are."""
    return heapq.nsmallest(
        most, clouds, key=lambda cloud: hashlib.sha256(cloud.shape_id.encode()).digest()
    )
