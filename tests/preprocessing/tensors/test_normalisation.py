"""The one normalisation: by hand numbers, and padding that never changes a bit."""

import numpy as np
import pytest

from preprocessing.tensors.normalisation import normalise


def random_cloud(n, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 3)) * [1, 20, 0.3] + [100, -5, 0.01]).astype(np.float32)


def padded_batch(clouds, filling, padded):
    batch = np.full((len(clouds), padded, 3), filling, np.float32)
    for row, cloud in zip(batch, clouds, strict=True):
        row[: len(cloud)] = cloud
    valid = np.arange(padded) < np.array([[len(cloud)] for cloud in clouds])
    return batch, valid


def test_by_hand():
    # Centroid (2, 1, 0); the farthest point, (5, 5, 0), is 5 away from it.
    cloud = np.array([[[5, 5, 0], [0, 0, 0], [1, -2, 0]]], np.float32)
    expected = [[[0.6, 0.8, 0], [-0.4, -0.2, 0], [-0.2, -0.6, 0]]]
    np.testing.assert_array_equal(normalise(cloud), np.array(expected, np.float32))


def test_the_centroid_is_at_the_origin_and_the_farthest_point_at_one():
    normalised = normalise(random_cloud(500)[np.newaxis]).numpy()[0].astype(np.float64)
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-7)
    assert np.linalg.norm(normalised, axis=1).max() == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("n", [0, 1, 3, 7])
def test_zero_radius_stays_at_the_origin(n):
    batch, valid = padded_batch([np.full((n, 3), 0.1, np.float32)], np.nan, n + 4)
    np.testing.assert_array_equal(normalise(batch, valid), np.zeros((1, n + 4, 3)))


@pytest.mark.parametrize("filling", [0.0, np.nan, np.inf, 1e30, -3e38])
def test_alone_or_padded_beside_others_a_cloud_is_the_same_to_the_bit(filling):
    clouds = [random_cloud(n, seed=n) for n in (1, 2, 77, 700)]
    batch, valid = padded_batch(clouds, filling, 1000)
    together = normalise(batch, valid).numpy()
    for cloud, row in zip(clouds, together, strict=True):
        alone = normalise(cloud[np.newaxis]).numpy()[0]
        assert row[: len(cloud)].tobytes() == alone.tobytes()
        np.testing.assert_array_equal(row[len(cloud) :], 0)
