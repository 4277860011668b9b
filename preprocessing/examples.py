"""CloudRecord <-> serialized tf.Example.

Encoding writes the protocol buffer's bytes itself: through the message class a cloud costs a
hundred times as much. Features stand in alphabetical order, so that the same record always gives
the same bytes. Decoding takes any tf.Example, whoever wrote it. TensorFlow, which takes many
seconds to import, is needed for neither: the message is described here to the protobuf runtime.
"""

from __future__ import annotations

import functools
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
# A field of ours that is put behind an Example, true: what reads it has read all before it.
_END_FIELD = 1000
_END = b"\xc0\x3e\x01"


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


def parse_example(serialized: bytes) -> Any:
    """Takes a serialized tf.Example apart.

    Returns:
      A message with the fields of tensorflow.Example.

    Raises:
      DecodeError: of google.protobuf; these bytes are no tf.Example.
    """
    from google.protobuf.message import DecodeError

    message = _example_class().FromString(serialized + _END)
    if not message.end:
        # Of an end-group tag where no group began, protobuf's C++ parser only warns: it stops.
        raise DecodeError("the bytes end before they should")
    return message


@functools.lru_cache(maxsize=1)
def _example_class() -> Any:
    """A message class with the fields and numbers of tensorflow/core/example/example.proto."""
    from google.protobuf import descriptor_pb2, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="pointnet_parts/example.proto", package="pointnet_parts", syntax="proto3"
    )

    def message(parent: Any, name: str, *fields: tuple[str, int, int, str]) -> Any:
        """Adds a message; each field has a name, a label, a type and the name of that type."""
        added = parent.add(name=name)
        for number, (field_name, label, kind, kind_name) in enumerate(fields, 1):
            kind_name = kind_name and f".{file.package}.{kind_name}"
            added.field.add(
                name=field_name, number=number, label=label, type=kind, type_name=kind_name or None
            )
        return added

    one, many, nested = field.LABEL_OPTIONAL, field.LABEL_REPEATED, field.TYPE_MESSAGE
    message(file.message_type, "BytesList", ("value", many, field.TYPE_BYTES, ""))
    message(file.message_type, "FloatList", ("value", many, field.TYPE_FLOAT, ""))
    message(file.message_type, "Int64List", ("value", many, field.TYPE_INT64, ""))
    feature = message(
        file.message_type,
        "Feature",
        ("bytes_list", one, nested, "BytesList"),
        ("float_list", one, nested, "FloatList"),
        ("int64_list", one, nested, "Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for kind in feature.field:
        kind.oneof_index = 0
    features = message(
        file.message_type, "Features", ("feature", many, nested, "Features.FeatureEntry")
    )
    entry = message(
        features.nested_type,
        "FeatureEntry",
        ("key", one, field.TYPE_STRING, ""),
        ("value", one, nested, "Feature"),
    )
    entry.options.map_entry = True
    example = message(file.message_type, "Example", ("features", one, nested, "Features"))
    example.field.add(name="end", number=_END_FIELD, label=one, type=field.TYPE_BOOL)
    return message_factory.GetMessages([file])[f"{file.package}.Example"]


def _parsed(serialized: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return parse_example(serialized)
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
