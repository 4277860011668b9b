"""Parses a stored record for the checks; no TensorFlow and no TFX."""

from __future__ import annotations

import numpy as np

from components.cloud_validator.checks import RawCloud
from preprocessing.conversion.records import parse_example
from schema.errors import UserError
from schema.record import CATEGORY, LABELS, POINTS, SHAPE_ID


def parse(record: bytes) -> RawCloud | None:
    """The features of a serialized tf.Example, unchecked; None: not a tf.Example."""
    try:
        features = parse_example(record)
    except UserError:
        return None

    def text(name: str) -> str:
        values = features[name]
        if values is None or not len(values) or not isinstance(values[0], bytes):
            return ""
        return values[0].decode(errors="backslashreplace")

    def numbers(name: str, kind: type) -> np.ndarray:
        values = features[name]
        return values if values is not None and values.dtype == kind else np.zeros(0, kind)

    return RawCloud(
        text(SHAPE_ID),
        text(CATEGORY),
        numbers(POINTS, np.float32),
        None if features[LABELS] is None else numbers(LABELS, np.int64),
    )
