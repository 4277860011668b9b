import gzip
import io
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.conversion.records import (
    Writer,
    from_example,
    parse_example,
    read_records,
    to_example,
)
from schema.errors import UserError
from schema.record import Cloud

POINTS = np.array([[0.25, -1.5, 3.0], [1e-30, 0.0, -0.5]], np.float32)
RECORDS = [b"first", b"", b"\x00" * 100_000, bytes(range(256)) * 40]


def example(**features):
    message = tf.train.Example()
    for name, value in features.items():
        if isinstance(value, bytes):
            message.features.feature[name].bytes_list.value.append(value)
        elif value and isinstance(value[0], float):
            message.features.feature[name].float_list.value.extend(value)
        else:
            message.features.feature[name].int64_list.value.extend(value)
    return message.SerializeToString()


def written(records):
    file = io.BytesIO()
    writer = Writer(file)
    for record in records:
        writer.write(record)
    writer.close()
    return file.getvalue()


@given(st.text(), st.lists(st.integers(-1, 255), min_size=1, max_size=700), st.booleans())
def test_there_and_back(name, labels, labelled):
    points = np.linspace(-1, 1, 3 * len(labels), dtype=np.float32).reshape(-1, 3)
    back = from_example(
        to_example(Cloud(name, name, points, np.array(labels) if labelled else None))
    )
    assert (back.shape_id, back.category, back.offset) == (name, name, None)
    np.testing.assert_array_equal(back.points, points)
    assert back.points.dtype == np.float32
    assert back.labels.tolist() == labels if labelled else back.labels is None


def test_a_centred_cloud_comes_back_as_it_is_stored():
    cloud = Cloud("a", "b", POINTS.astype(np.float64) + 4649776)
    back = from_example(to_example(cloud))
    assert back.points.dtype == back.offset.dtype == np.float32
    np.testing.assert_allclose(back.coordinates, cloud.points, rtol=0, atol=1e-6)
    assert to_example(back) == to_example(cloud)


@pytest.mark.parametrize("labels", [[2, 1], [127, 128], [255, -1], None])
@pytest.mark.parametrize("far", [0, 4649776.0])
def test_the_bytes_of_tensorflow_with_sorted_features(labels, far):
    cloud = Cloud("abc", "Chair", POINTS + far, labels and np.array(labels))
    message = tf.train.Example.FromString(to_example(cloud))
    assert message.SerializeToString(deterministic=True) == to_example(cloud)
    feature = message.features.feature
    assert feature["shape_id"].bytes_list.value[:] == [b"abc"]
    assert ("offset" in feature) == bool(far)
    assert ("labels" in feature) == bool(labels)
    if labels:
        assert feature["labels"].int64_list.value[:] == labels


@pytest.mark.parametrize("label", [-2, 256])
def test_a_label_that_no_category_can_have(label):
    with pytest.raises(ValueError, match=str(label)):
        to_example(Cloud("a", "B", POINTS, np.array([0, label])))


@pytest.mark.parametrize(
    ("record", "feature"),
    [
        (b"\xff\xff", "tf.Example"),
        # A tag that ends a group which never began.
        (b"\x0c" + example(shape_id=b"a", category=b"A", points=[0.0] * 3), "tf.Example"),
        (b"", "shape_id"),
        (example(category=b"A", points=[0.0] * 3), "shape_id"),
        (example(shape_id=[1], category=b"A", points=[0.0] * 3), "shape_id"),
        (example(shape_id=b"a", category=b"A"), "points"),
        (example(shape_id=b"a", category=b"A", points=[1, 2, 3]), "points"),
        (example(shape_id=b"a", category=b"A", points=[0.0] * 4), "points"),
        (example(shape_id=b"a", category=b"A", points=[0.0] * 6, labels=[1]), "labels"),
        (example(shape_id=b"a", category=b"A", points=[0.0] * 3, labels=[1.0]), "labels"),
        (example(shape_id=b"a", category=b"A", points=[0.0] * 3, offset=[1.0]), "offset"),
    ],
)
def test_bad_records(record, feature):
    with pytest.raises(UserError) as error:
        from_example(record)
    assert error.value.code == "bad_record"
    assert feature in error.value.message


def test_features_are_parsed_as_they_are():
    message = tf.train.Example.FromString(example(shape_id=b"a", points=[1.0], labels=[7, 8, 9]))
    message.features.feature["category"].SetInParent()
    features = parse_example(message.SerializeToString())
    assert features.pop("shape_id").tolist() == [b"a"]
    assert features.pop("points").tolist() == [1.0]
    assert features.pop("labels").tolist() == [7, 8, 9]
    assert features.pop("category").size == 0
    assert features == {"offset": None}


def test_tensorflow_reads_and_writes_the_same_files(tmp_path):
    ours, theirs = tmp_path / "ours.gz", str(tmp_path / "theirs.gz")
    ours.write_bytes(written(RECORDS))
    dataset = tf.data.TFRecordDataset(str(ours), compression_type="GZIP")
    assert list(dataset.as_numpy_iterator()) == RECORDS
    with tf.io.TFRecordWriter(theirs, "GZIP") as writer:
        for record in RECORDS:
            writer.write(record)
    with open(theirs, "rb") as file:
        assert list(read_records(file, theirs)) == RECORDS


def test_the_same_records_give_the_same_bytes_at_any_time():
    content = written(RECORDS)
    assert content == written(RECORDS)
    # RFC 1952: bytes 4 to 7 are the time.
    assert content[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


WRITTEN = written([b"abcdef"])


def flipped(content, place):
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    "content",
    [
        *(WRITTEN[:end] for end in range(len(WRITTEN))),
        # The header's flags and system say nothing about the content.
        *(flipped(WRITTEN, place) for place in range(10, len(WRITTEN))),
        *(gzip.compress(flipped(gzip.decompress(WRITTEN), place)) for place in (0, 13, -1)),
        WRITTEN + b"x",
    ],
)
def test_a_damaged_file(content):
    with pytest.raises(UserError) as error:
        list(read_records(io.BytesIO(content), "a.gz"))
    assert (error.value.code, error.value.file) == ("damaged_record_file", "a.gz")


def test_neither_beam_nor_tensorflow_is_imported():
    code = (
        "import sys; from preprocessing.conversion import manifest, plan, records;"
        "import numpy, schema.record as r;"
        "records.from_example(records.to_example(r.Cloud('a', 'b', numpy.ones((1, 3)))));"
        "print({'apache_beam', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
