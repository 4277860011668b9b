"""Augmentation stays in its bounds, and follows from its seed."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.settings import AugmentationSettings
from preprocessing.tensors.augmentation import augment

SEED = tf.constant([3, 4], tf.int64)
OFF = {"scale_low": 1, "scale_high": 1, "shift": 0, "jitter_sigma": 0}


def cloud(batch=50, points=20):
    return tf.random.stateless_normal([batch, points, 3], [1, 2])


def change(seed=SEED, points=None, **settings):
    settings = AugmentationSettings(**{**OFF, **settings})
    return augment(cloud() if points is None else points, seed, settings).numpy()


def test_nothing_is_changed_where_all_is_off():
    np.testing.assert_array_equal(change(), cloud())


@pytest.mark.parametrize(
    ("points", "settings", "low", "high"),
    [(tf.ones, {"scale_low": 0.5, "scale_high": 2}, 0.5, 2), (tf.zeros, {"shift": 0.1}, -0.1, 0.1)],
)
def test_scale_and_shift_are_one_number_an_axis_of_each_cloud(points, settings, low, high):
    found = change(points=points([50, 20, 3]), **settings)
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], found.shape))
    found = found[:, 0]
    assert np.float32(low) <= found.min() and found.max() <= np.float32(high)
    assert np.ptp(found) > 2 / 3 * (high - low) and len(np.unique(found)) == 150


def test_jitter_is_clipped_noise_of_each_point():
    noise = change(points=tf.zeros([50, 20, 3]), jitter_sigma=0.01, jitter_clip=0.02)
    assert abs(noise).max() == np.float32(0.02)
    # A normal variable clipped at two deviations has 0.96 of its deviation.
    assert noise.std() == pytest.approx(0.0096, rel=0.05)
    assert np.mean(abs(noise) == np.float32(0.02)) == pytest.approx(0.0455, abs=0.015)


def test_the_seed_decides():
    settings = {"scale_low": 0.8, "scale_high": 1.2, "shift": 0.1, "jitter_sigma": 0.01}
    once, again = change(**settings), change(**settings)
    np.testing.assert_array_equal(once, again)
    other = change(seed=tf.constant([3, 5], tf.int64), **settings)
    assert (once != other).mean() > 0.99


def test_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"scale_low \(1.5\) is above scale_high \(1.2\)"):
        AugmentationSettings(scale_low=1.5)
