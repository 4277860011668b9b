"""preprocessing_fn on ragged batches, without TFX: shapes, classes, determinism."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from preprocessing.tensors.normalisation import normalise
from preprocessing.tensors.transform import labels_to_classes, preprocessing_fn
from schema.categories import Category

MUG = Category("Mug", "1", ("handle", "body"))
ROCKET = Category("Rocket", "2", ("body", "fin", "nose"))
BOTH = (MUG, ROCKET)
SIZES = {"a": 5, "b": 40, "c": 17}


def make_cloud(name):
    rng = np.random.default_rng(ord(name))
    points = rng.normal(size=(SIZES[name], 3)).astype(np.float32) + 10
    return points, rng.integers(-1, 2, SIZES[name])


def transform(names, categories=None, known=BOTH, count=16, seed=0, **others):
    clouds = [make_cloud(name) for name in names]
    lengths = [len(points) for points, _ in clouds]
    points, labels = (np.concatenate(rows) for rows in zip(*clouds, strict=True))
    inputs = {
        "shape_id": tf.constant([[name] for name in names]),
        "category": tf.constant([[name] for name in categories or ["Mug"] * len(names)]),
        "points": tf.RaggedTensor.from_row_lengths(points, lengths),
        "labels": tf.RaggedTensor.from_row_lengths(labels, lengths),
    }
    config = {
        "transform": {"points_per_cloud": count, "seed": seed},
        "categories": [category.to_json() for category in known],
        "code_fingerprint": "any",
        **others,
    }
    return preprocessing_fn(inputs, config)


def test_shapes_and_types():
    outputs = transform("abc")
    found = {name: (value.dtype.name, value.shape.as_list()) for name, value in outputs.items()}
    assert found == {
        "shape_id": ("string", [3, 1]),
        "category": ("int64", [3, 1]),
        "points": ("float32", [3, 16, 3]),
        "labels": ("int64", [3, 16]),
    }
    assert outputs["shape_id"].numpy().ravel().tolist() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("name", ["a", "b"])
def test_points_are_of_the_whole_normalised_cloud_and_keep_their_labels(name):
    outputs = transform(name)
    points, labels = make_cloud(name)
    whole = normalise(points[np.newaxis]).numpy()[0]
    label_of = {point.tobytes(): label for point, label in zip(whole, labels, strict=True)}
    drawn = outputs["points"].numpy()[0]
    assert [label_of[point.tobytes()] for point in drawn] == outputs["labels"].numpy()[0].tolist()
    assert len({point.tobytes() for point in drawn}) == min(16, SIZES[name])


def test_a_cloud_is_the_same_to_the_bit_in_any_batch_and_differs_by_seed():
    together = transform("abc")
    for i, name in enumerate("abc"):
        alone = transform(name)
        for key in ("points", "labels"):
            assert together[key].numpy()[i].tobytes() == alone[key].numpy()[0].tobytes()
    assert (transform("b", seed=1)["points"].numpy() != transform("b")["points"].numpy()).any()


def test_the_classes_of_categories_follow_each_other_and_unknown_ones_have_none():
    outputs = transform("bbbb", ["Mug", "Rocket", "mug", ""])
    assert outputs["category"].numpy().tolist() == [[0], [1], [-1], [-1]]
    mug, rocket, *unknown = outputs["labels"].numpy()
    assert set(mug.tolist()) == {-1, 0, 1}
    np.testing.assert_array_equal(rocket, np.where(mug >= 0, mug + 2, -1))
    assert np.unique(unknown).tolist() == [-1]


def test_labels_to_classes_by_hand():
    labels = tf.constant([[-1, 0, 1, 2, 7], [-1, 0, 1, 2, 3], [0, 1, 2, -1, 0]], tf.int64)
    classes = labels_to_classes(labels, tf.constant([0, 1, -1], tf.int64), BOTH)
    assert classes.dtype == tf.int64
    assert classes.numpy().tolist() == [[-1, 0, 1, -1, -1], [-1, 2, 3, 4, -1], [-1] * 5]


def test_points_of_each_class_are_counted_where_asked_for(monkeypatch):
    # What the analysis adds up over the batches of train; here there is one.
    monkeypatch.setattr(tft, "sum", lambda x, reduce_instance_dims: tf.reduce_sum(x, axis=0))
    outputs = transform("abc", ["Mug", "Rocket", "Mug"], count_class_points=True)
    labels = outputs["labels"].numpy()
    expected = np.bincount(labels[labels >= 0], minlength=5)
    assert (labels == -1).any()
    assert expected[4] == 0  # no label 2 was made, so no point is a nose
    assert outputs["class_points"].dtype == tf.int64
    np.testing.assert_array_equal(outputs["class_points"], [expected] * 3)
    assert "class_points" not in transform("abc")
