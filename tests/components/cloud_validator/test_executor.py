"""Reading and judging one file of records."""

import tensorflow as tf

from components.cloud_validator.executor import Shard, examine_shard
from components.settings import ValidationSettings
from schema.categories import Category


def test_bytes_that_are_no_example_are_refused_and_the_next_record_is_read(tmp_path):
    path = str(tmp_path / "clouds.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        writer.write(b"\xff\xff")
        writer.write(b"")  # an Example without features
    shard = Shard("val", 3, 4, path)
    categories = (Category("Tool", "01", ("head",)),)
    broken, empty = examine_shard(shard, ValidationSettings(), categories)
    assert broken.place == ("val", 3, 0)
    assert [(f.code, f.sentence) for f in broken.findings] == [
        ("UNREADABLE", "record 0 of file 3 in val is no tf.Example; convert the data again")
    ]
    assert empty.place == ("val", 3, 1)
    assert [f.code for f in empty.findings] == ["NO_SHAPE_ID", "UNKNOWN_CATEGORY", "TOO_FEW_POINTS"]
