"""Epochs: each cloud once, fresh draws, resumable, and labels that stay with their points."""

import numpy as np
import pytest
import tensorflow as tf

from model.training.input_pipeline import (
    TransformedClouds,
    read_clouds,
    training_batches,
    validation_batches,
)
from model.training.settings import TrainingSettings
from preprocessing.settings import AugmentationSettings
from tests.model.training.tiny import clouds as made
from tests.model.training.tiny import write_split

STILL = AugmentationSettings(scale_low=1, scale_high=1, shift=0, jitter_sigma=0)
MOVING = AugmentationSettings()
COUNT, AVAILABLE, DRAW, BATCH, EPOCHS = 10, 12, 5, 4, 4


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


def batches(clouds, first_step=0, augmentation=STILL, **changes):
    """Points [S, B, N, 3], labels [S, B, N] and categories [S, B] of all steps."""
    given = {"epochs": EPOCHS, "batch_size": BATCH, "points_per_draw": DRAW, **changes}
    settings = TrainingSettings(augmentation=augmentation, **given)
    steps = [
        (inputs["points"].numpy(), labels.numpy(), inputs["category"].numpy())
        for inputs, labels in training_batches(clouds, settings, first_step)
    ]
    return [np.stack(column) for column in zip(*steps, strict=True)]


def test_every_epoch_takes_every_cloud_once_in_an_order_of_its_own(clouds):
    """10 clouds in batches of 4: an epoch's last two share a batch with the next one's first."""
    points, labels, category = batches(clouds)
    assert (points.shape, points.dtype) == ((10, BATCH, DRAW, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((10, BATCH, DRAW), np.int32)
    orders = category.reshape(EPOCHS, COUNT)
    assert (np.sort(orders) == np.arange(COUNT)).all()
    assert len({tuple(order) for order in orders}) == EPOCHS
    # What does not fill a batch at the very end is left out.
    assert len(batches(clouds, epochs=3)[0]) == 7


def test_labels_and_category_stay_with_their_points(clouds):
    points, labels, category = batches(clouds)
    np.testing.assert_array_equal(labels, 100 * points[..., 0] + points[..., 1])
    np.testing.assert_array_equal(
        points[..., 0], np.broadcast_to(category[..., None], labels.shape)
    )


def test_a_draw_is_without_replacement_and_new_in_every_epoch(clouds):
    points, _, category = batches(clouds)
    drawn = [
        {frozenset(row) for row in points[category == cloud][..., 1]} for cloud in range(COUNT)
    ]
    assert all(len(row) == DRAW for rows in drawn for row in rows)
    assert all(len(rows) > 1 for rows in drawn)
    assert len(set().union(*drawn)) > COUNT


@pytest.mark.parametrize("first_step", [1, 2, 5, 9])
def test_it_is_resumed_at_any_step_with_the_same_batches(clouds, first_step):
    complete = batches(clouds, augmentation=MOVING)
    for later, column in zip(batches(clouds, first_step, MOVING), complete, strict=True):
        np.testing.assert_array_equal(later, column[first_step:])


def test_the_seed_decides(clouds):
    one, again, other = (batches(clouds, augmentation=MOVING, seed=seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert not any((a == b).all() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("draw", [None, AVAILABLE])
def test_all_points_in_their_order_if_nothing_is_drawn(clouds, draw):
    points, _, _ = batches(clouds, points_per_draw=draw)
    assert (points[..., 1] == np.arange(AVAILABLE)).all()


def test_augmentation_differs_between_clouds_and_epochs(clouds):
    points, _, _ = batches(clouds, augmentation=STILL.model_copy(update={"shift": 0.1}))
    shifts = points[..., 0, 2]
    assert abs(shifts).max() <= np.float32(0.1)
    assert len(np.unique(shifts)) == shifts.size == EPOCHS * COUNT


def test_validation_is_every_cloud_once_in_its_order(clouds):
    steps = list(validation_batches(clouds, 4))
    assert [len(labels) for _, labels in steps] == [4, 4, 2]
    for name in ("points", "category"):
        column = np.concatenate([inputs[name] for inputs, _ in steps])
        np.testing.assert_array_equal(column, getattr(clouds, name))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in steps]), clouds.labels)


def test_a_split_is_read_in_the_order_of_its_files(tmp_path):
    first, second = made(3, 0), made(2, 1)
    write_split(tmp_path / "b-1.gz", second, (7, 8))
    write_split(tmp_path / "a-1.gz", first, (7, 8))
    write_split(tmp_path / "beam-temp-1.gz", first)
    split = read_clouds([str(tmp_path / "b*"), str(tmp_path / "a*"), str(tmp_path / "beam*")], 32)
    np.testing.assert_array_equal(split.points, tf.concat([first.points, second.points], 0))
    np.testing.assert_array_equal(split.labels, tf.concat([first.labels, second.labels], 0))
    assert split.labels.dtype == split.category.dtype == tf.int32
    assert split.class_points.numpy().tolist() == [7, 8]


def test_a_split_without_clouds_is_refused(tmp_path):
    for patterns in ([], [str(tmp_path / "nothing*")]):
        with pytest.raises(ValueError, match="no cloud"):
            read_clouds(patterns, 4)
