"""CloudRecord <-> serialized tf.Example.

Encoding writes the protocol buffer's bytes itself: through the message class a cloud costs a
hundred times as much, and TensorFlow would have to be imported. Features stand in alphabetical
order, so that the same record always gives the same bytes. Decoding takes any tf.Example, whoever
wrote it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocessing.findings import BadInput
from schema.record import CATEGORY, LABELS, POINTS, SHAPE_ID, CloudRecord

# Wire format: (field number << 3) | 2, "length-delimited". In tf.Example: Example.features and
# Features.feature are field 1; a map entry has key 1 and value 2; Feature has bytes_list 1,
# float_list 2, int64_list 3; each list has value 1, packed.
_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"
# A negative int64 takes ten bytes; this is -1.
_MINUS_ONE = b"\xff" * 9 + b"\x01"


def to_example(record: CloudRecord) -> bytes:
    """Serializes a record; see schema.pbtxt for the features."""
    features = [_feature(CATEGORY, _FIELD_1, record.category.encode())]
    if record.labels is not None:
        features.append(_feature(LABELS, _FIELD_3, _packed_labels(record.labels)))
    points = np.ascontiguousarray(record.points, dtype="<f4").tobytes()
    features.append(_feature(POINTS, _FIELD_2, points))
    features.append(_feature(SHAPE_ID, _FIELD_1, record.shape_id.encode()))
    return _field(_FIELD_1, b"".join(features))


def from_example(example: bytes | Any) -> CloudRecord:
    """Reads a record from a tf.Example, serialized or not.

    Raises:
      BadInput: it is no tf.Example, or a feature is missing or of another size.
    """
    if isinstance(example, bytes):
        example = _parsed(example)
    feature = example.features.feature
    shape_id = _text(feature, SHAPE_ID)
    points = np.array(_values(feature, POINTS, "float_list", shape_id), np.float32)
    if points.size == 0 or points.size % 3:
        raise BadInput(
            "bad_record",
            f"shape {shape_id}: found {points.size} coordinates, expected x y z for each of one "
            "or more points. Convert the source again.",
        )
    labels = None
    if LABELS in feature:
        labels = np.array(_values(feature, LABELS, "int64_list", shape_id), np.int64)
        if labels.size != points.size // 3:
            raise BadInput(
                "bad_record",
                f"shape {shape_id}: found {labels.size} labels, expected {points.size // 3}, one "
                "for each point. Convert the source again.",
            )
    return CloudRecord(shape_id, _text(feature, CATEGORY), points.reshape(-1, 3), labels)


def _parsed(serialized: bytes) -> Any:
    # Here, not above: conversion never decodes, and TensorFlow takes seconds to import.
    from google.protobuf.message import DecodeError
    from tensorflow.core.example.example_pb2 import Example  # type: ignore[import-untyped]

    try:
        return Example.FromString(serialized)
    except DecodeError:
        raise BadInput(
            "bad_record", "found a record that is no tf.Example. Convert the source again."
        ) from None


def _values(feature: Any, name: str, kind: str, shape_id: str) -> Any:
    if name not in feature or feature[name].WhichOneof("kind") != kind:
        raise BadInput(
            "bad_record",
            f"shape {shape_id}: feature {name!r} is missing or not a {kind}. Convert the source "
            "again.",
        )
    return getattr(feature[name], kind).value


def _text(feature: Any, name: str) -> str:
    values = _values(feature, name, "bytes_list", "?")
    if len(values) != 1:
        raise BadInput(
            "bad_record",
            f"found {len(values)} values of {name!r}, expected 1. Convert the source again.",
        )
    return values[0].decode(errors="replace")


def _feature(name: str, kind: bytes, values: bytes) -> bytes:
    feature = _field(_FIELD_2, _field(kind, _field(_FIELD_1, values)))
    return _field(_FIELD_1, _field(_FIELD_1, name.encode()) + feature)


def _field(tag: bytes, content: bytes) -> bytes:
    return b"".join((tag, _varint(len(content)), content))


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _packed_labels(labels: np.ndarray) -> bytes:
    """Packed varints of labels -1 to 127."""
    if labels.size and (labels.min() < -1 or labels.max() > 127):
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}, expected -1 to 127")
    packed = labels.astype(np.int8).tobytes()
    # As int8, -1 is the byte 0xff, which no other label is.
    return packed.replace(b"\xff", _MINUS_ONE)
