"""Taking a stored record apart."""

import numpy as np
import tensorflow as tf

from components.cloud_validator.stored_record import parse


def test_parse_takes_any_feature_apart_without_judging_it():
    feature = {
        "shape_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"caf\xc3\xa9 \xff"])),
        "category": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
        "points": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, np.nan])),
        "labels": tf.train.Feature(),
    }
    features = tf.train.Features(feature=feature)
    cloud = parse(tf.train.Example(features=features).SerializeToString())
    assert (cloud.shape_id, cloud.category) == ("café \\xff", "")
    assert (cloud.coordinates.dtype, cloud.labels.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(cloud.coordinates, np.array([0.5, np.nan], np.float32))
    assert cloud.labels.shape == (0,)


def test_bytes_that_are_no_example_are_no_cloud():
    assert parse(b"\xff\xff") is None
