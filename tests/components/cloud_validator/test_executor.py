"""Reading and judging one file of records."""

import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components.cloud_validator.executor import Shard, examine_shard, list_shards
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


def test_what_a_lost_machine_left_beside_the_files_is_passed_over(tmp_path):
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path)
    examples.split_names = artifact_utils.encode_split_names(["val"])
    (tmp_path / "Split-val" / "beam-temp-data_tfrecord-ee17161e").mkdir(parents=True)
    path = tmp_path / "Split-val" / "data_tfrecord-00000-of-00001.gz"
    path.touch()
    assert list_shards(examples) == [Shard("val", 0, 1, str(path))]
