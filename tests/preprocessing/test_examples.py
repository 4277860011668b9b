import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.examples import from_example, to_example
from preprocessing.findings import BadInput
from schema.record import CloudRecord

POINTS = np.array([[0.25, -1.5, 3.0], [1e-30, 0.0, -0.5]], np.float32)


def test_tensorflow_reads_what_was_written():
    record = CloudRecord("abc", "Airplane", POINTS, np.array([2, -1]))
    feature = tf.train.Example.FromString(to_example(record)).features.feature
    assert sorted(feature) == ["category", "labels", "points", "shape_id"]
    assert feature["shape_id"].bytes_list.value[:] == [b"abc"]
    assert feature["category"].bytes_list.value[:] == [b"Airplane"]
    assert feature["labels"].int64_list.value[:] == [2, -1]
    np.testing.assert_array_equal(feature["points"].float_list.value[:], POINTS.ravel())


def test_unlabelled_cloud_has_no_labels_feature():
    example = tf.train.Example.FromString(to_example(CloudRecord("a", "B", POINTS)))
    assert "labels" not in example.features.feature


@given(
    st.text(max_size=300),
    st.text(max_size=9),
    st.lists(st.integers(-1, 127), min_size=1, max_size=700),
    st.booleans(),
)
def test_there_and_back(shape_id, category, labels, labelled):
    points = np.linspace(-1, 1, 3 * len(labels), dtype=np.float32).reshape(-1, 3)
    record = CloudRecord(shape_id, category, points, np.array(labels) if labelled else None)
    back = from_example(to_example(record))
    assert (back.shape_id, back.category) == (shape_id, category)
    np.testing.assert_array_equal(back.points, points)
    if labelled:
        assert back.labels.tolist() == labels
    else:
        assert back.labels is None


def test_same_bytes_as_tensorflow_with_sorted_features():
    record = CloudRecord("abc", "Airplane", POINTS, np.array([2, 1]))
    example = tf.train.Example.FromString(to_example(record))
    assert example.SerializeToString(deterministic=True) == to_example(record)


def test_label_that_no_category_can_have():
    with pytest.raises(ValueError, match="go from 0 to 128"):
        to_example(CloudRecord("a", "B", POINTS, np.array([0, 128])))


def _example(**features):
    example = tf.train.Example()
    for name, value in features.items():
        if isinstance(value, bytes):
            example.features.feature[name].bytes_list.value.append(value)
        elif value and isinstance(value[0], float):
            example.features.feature[name].float_list.value.extend(value)
        else:
            example.features.feature[name].int64_list.value.extend(value)
    return example.SerializeToString()


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag:RuntimeWarning")
@pytest.mark.parametrize(
    ("example", "words"),
    [
        (b"\xff\xff", "no tf.Example"),
        # A tag that ends a group which never began.
        (b"\x0c" + _example(shape_id=b"a", category=b"A", points=[0.0] * 3), "no tf.Example"),
        (_example(category=b"A", points=[0.0] * 3), "'shape_id' is missing"),
        (_example(shape_id=b"a", category=b"A"), "shape a: feature 'points' is missing"),
        (_example(shape_id=b"a", category=b"A", points=[1, 2, 3]), "not a float_list"),
        (_example(shape_id=b"a", category=b"A", points=[0.0] * 4), "found 4 coordinates"),
        (
            _example(shape_id=b"a", category=b"A", points=[0.0] * 6, labels=[1]),
            "found 1 labels, expected 2",
        ),
    ],
    # Not the record's bytes, which differ from process to process: pytest-xdist compares ids.
    ids=lambda value: "record" if isinstance(value, bytes) else value,
)
def test_bad_records(example, words):
    with pytest.raises(BadInput) as error:
        from_example(example)
    assert words in str(error.value)
