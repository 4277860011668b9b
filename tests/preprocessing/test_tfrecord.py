import gzip
import io

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.findings import BadInput
from preprocessing.tfrecord import Writer, read_records

RECORDS = [b"first", b"", b"\x00" * 100_000, bytes(range(256)) * 40]


def written(records):
    file = io.BytesIO()
    writer = Writer(file)
    for record in records:
        writer.write(record)
    writer.close()
    return file.getvalue()


def test_tensorflow_reads_what_was_written(tmp_path):
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(written(RECORDS))
    dataset = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    assert list(dataset.as_numpy_iterator()) == RECORDS


def test_reads_what_tensorflow_wrote(tmp_path):
    path = str(tmp_path / "a.tfrecord.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for record in RECORDS:
            writer.write(record)
    with open(path, "rb") as file:
        assert list(read_records(file, path)) == RECORDS


def test_the_same_records_give_the_same_bytes_whatever_the_time():
    content = written(RECORDS)
    assert content == written(RECORDS)
    # RFC 1952: bytes 4 to 7 are the time; 0 says that there is none.
    assert content[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


@given(st.integers(1, 200))
def test_a_truncated_file_is_found(missing):
    content = written([bytes(range(256))])
    with pytest.raises(BadInput, match=r"a.gz: is damaged"):
        list(read_records(io.BytesIO(content[:-missing]), "a.gz"))


def test_a_wrong_checksum_inside_whole_gzip_is_found():
    content = bytearray(gzip.decompress(written([b"abcdef"])))
    content[13] ^= 1
    with pytest.raises(BadInput, match=r"a record's checksum is wrong"):
        list(read_records(io.BytesIO(gzip.compress(bytes(content))), "a"))
    content[0] ^= 1
    with pytest.raises(BadInput, match=r"checksum of a record's length is wrong"):
        list(read_records(io.BytesIO(gzip.compress(bytes(content))), "a"))


def test_something_behind_the_end_is_found():
    with pytest.raises(BadInput, match=r"something follows its end"):
        list(read_records(io.BytesIO(written([b"abc"]) + b"x"), "a"))
