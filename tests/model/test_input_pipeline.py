"""Epochs: each cloud once, fresh draws, resumable, and labels that stay with their points."""

import numpy as np
import pytest
import tensorflow as tf

from model.input_pipeline import (
    TransformedClouds,
    read_clouds,
    steps_per_epoch,
    training_batches,
    validation_batches,
)
from model.settings import TrainingSettings
from preprocessing.settings import AugmentationSettings

STILL = AugmentationSettings(scale_low=1, scale_high=1, shift=0, jitter_sigma=0)
COUNT, AVAILABLE, DRAW = 10, 12, 5


@pytest.fixture(scope="module")
def clouds():
    """Point p of cloud m is at (m, p, 0), labelled 100 m + p; cloud m is of category m."""
    m, p = np.meshgrid(np.arange(COUNT), np.arange(AVAILABLE), indexing="ij")
    points = np.stack([m, p, np.zeros_like(m)], axis=-1)
    return TransformedClouds(
        tf.constant(points, tf.float32),
        tf.constant(100 * m + p, tf.int32),
        tf.range(COUNT),
    )


def epochs(clouds, first=0, augmentation=STILL, **changes):
    """Every epoch's batches as (points, labels, category), stacked."""
    settings = TrainingSettings(
        **{
            "epochs": 3,
            "batch_size": 4,
            "points_per_draw": DRAW,
            "augmentation": augmentation,
            **changes,
        }
    )
    steps = steps_per_epoch(clouds, settings)
    batches = [
        (inputs["points"].numpy(), labels.numpy(), inputs["category"].numpy())
        for inputs, labels in training_batches(clouds, settings, first)
    ]
    assert len(batches) == steps * (settings.epochs - first)
    stacked = [np.stack(column) for column in zip(*batches, strict=True)]
    return [
        tuple(column[i : i + steps] for column in stacked) for i in range(0, len(batches), steps)
    ]


def same(a, b):
    return all((x == y).all() for x, y in zip(a, b, strict=True))


def test_shapes_and_types(clouds):
    (points, labels, category), *_ = epochs(clouds)
    assert (points.shape, points.dtype) == ((2, 4, DRAW, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((2, 4, DRAW), np.int32)
    assert (category.shape, category.dtype) == ((2, 4), np.int32)


def test_every_epoch_takes_a_cloud_at_most_once_in_an_order_of_its_own(clouds):
    orders = [tuple(category.ravel().tolist()) for _, _, category in epochs(clouds)]
    assert len(set(orders)) == 3
    for order in orders:
        assert len(set(order)) == 8  # two batches of four; the last two clouds are dropped
    assert {cloud for order in orders for cloud in order} == set(range(COUNT))


def test_labels_and_category_stay_with_their_points(clouds):
    for points, labels, category in epochs(clouds):
        np.testing.assert_array_equal(labels, 100 * points[..., 0] + points[..., 1])
        np.testing.assert_array_equal(points[..., 0], category[..., np.newaxis] + 0.0 * labels)


def test_a_draw_is_without_replacement_and_new_in_every_epoch(clouds):
    drawn = [
        {
            cloud: frozenset(row)
            for cloud, row in zip(category.ravel(), points[..., 1].reshape(-1, DRAW), strict=True)
        }
        for points, _, category in epochs(clouds)
    ]
    for epoch in drawn:
        assert all(len(points) == DRAW for points in epoch.values())
        assert len(set(epoch.values())) > 1
    both = drawn[0].keys() & drawn[1].keys()
    assert any(drawn[0][cloud] != drawn[1][cloud] for cloud in both)


def test_it_goes_on_from_any_epoch_with_the_same_batches(clouds):
    whole = epochs(clouds, augmentation=AugmentationSettings())
    later = epochs(clouds, first=2, augmentation=AugmentationSettings())
    assert len(later) == 1
    assert same(later[0], whole[2])
    assert not same(later[0], whole[1])


def test_the_seed_decides(clouds):
    def all_of(seed):
        found = epochs(clouds, augmentation=AugmentationSettings(), seed=seed)
        return [column for epoch in found for column in epoch]

    assert same(all_of(1), all_of(1))
    assert not same(all_of(1), all_of(2))


def test_all_points_in_their_order_where_nothing_is_drawn(clouds):
    for draw in (None, AVAILABLE):
        (points, _, _), *_ = epochs(clouds, points_per_draw=draw)
        np.testing.assert_array_equal(
            points[..., 1], np.broadcast_to(np.arange(AVAILABLE), (2, 4, AVAILABLE))
        )


def test_augmentation_differs_between_clouds_and_epochs(clouds):
    shifting = STILL.model_copy(update={"shift": 0.1})
    steps = [points[..., 0, 2].ravel() for points, _, _ in epochs(clouds, augmentation=shifting)]
    steps = np.concatenate(steps)
    assert abs(steps).max() <= np.float32(0.1)
    assert len(np.unique(steps)) == steps.size == 24


def test_a_split_smaller_than_a_batch_is_one_batch(clouds):
    (points, _, category), *_ = epochs(clouds, batch_size=32)
    assert points.shape[:2] == (1, COUNT)
    assert sorted(category[0]) == list(range(COUNT))


def test_validation_is_every_cloud_once_in_its_order(clouds):
    batches = list(validation_batches(clouds, 4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    for name, whole in (("points", clouds.points), ("category", clouds.category)):
        parts = [inputs[name] for inputs, _ in batches]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), clouds.labels)


def write(path, clouds):
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for points, labels, category in clouds:
            feature = {
                "points": tf.train.Feature(float_list=tf.train.FloatList(value=points.ravel())),
                "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
                "category": tf.train.Feature(int64_list=tf.train.Int64List(value=[category])),
            }
            features = tf.train.Features(feature=feature)
            writer.write(tf.train.Example(features=features).SerializeToString())


def test_a_split_is_read_in_the_order_of_its_files(tmp_path):
    rng = np.random.default_rng(0)
    made = [
        (rng.normal(size=(4, 3)).astype(np.float32), rng.integers(-1, 5, 4), i) for i in range(5)
    ]
    write(tmp_path / "b.gz", made[3:])
    write(tmp_path / "a.gz", made[:3])
    found = read_clouds([str(tmp_path / "b.gz"), str(tmp_path / "a.gz")], 4)
    assert len(found) == 5
    np.testing.assert_array_equal(found.points, [points for points, _, _ in made])
    np.testing.assert_array_equal(found.labels, [labels for _, labels, _ in made])
    np.testing.assert_array_equal(found.category, range(5))
    assert found.labels.dtype == found.category.dtype == tf.int32


def test_a_split_without_clouds_is_said(tmp_path):
    write(tmp_path / "empty.gz", [])
    for files in ([], [str(tmp_path / "empty.gz")]):
        with pytest.raises(ValueError, match=r"no cloud in .*empty"):
            read_clouds(files, 4)
