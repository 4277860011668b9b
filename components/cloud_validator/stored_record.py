"""Takes a stored record apart for the checks; no TensorFlow and no TFX."""

from __future__ import annotations

import numpy as np
from google.protobuf.message import DecodeError

from components.cloud_validator.checks import RawCloud
from preprocessing.examples import parse_example
from schema.record import CATEGORY, LABELS, POINTS, SHAPE_ID


def parse(record: bytes) -> RawCloud | None:
    """Takes a serialized tf.Example apart, without judging it; None: these bytes are none."""
    try:
        feature = parse_example(record).features.feature
    except DecodeError:
        return None

    def text(name: str) -> str:
        values = feature[name].bytes_list.value if name in feature else ()
        return values[0].decode(errors="backslashreplace") if values else ""

    coordinates = feature[POINTS].float_list.value if POINTS in feature else ()
    labels = feature[LABELS].int64_list.value if LABELS in feature else None
    return RawCloud(
        text(SHAPE_ID),
        text(CATEGORY),
        np.array(coordinates, np.float32),
        None if labels is None else np.array(labels, np.int64),
    )
