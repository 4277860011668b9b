import numpy as np
import pytest

from schema.record import Cloud, to_float32


def chair(offset, extent=1.0, count=500, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, extent, (count, 3)) + offset


def test_ordinary_coordinates_are_rounded_and_stay_where_they_are():
    for points in (chair((3, -2, 5)), *(chair((0, 0, 0), extent) for extent in (1, 1e-6, 1e6))):
        rounded, offset = to_float32(points)
        assert offset is None
        assert rounded.dtype == np.float32
        np.testing.assert_array_equal(rounded, points.astype(np.float32))


@pytest.mark.parametrize("scale", [1.0, 1000.0, 0.001])
def test_surveyed_coordinates_keep_their_shape(scale):
    """A chair of 1 m in UTM coordinates: in float32 alone, y has three values left."""
    points = chair((500_000, 4_649_776, 100)) * scale
    assert len(np.unique(points[:, 1].astype(np.float32))) <= 4
    rounded, offset = to_float32(points)
    assert rounded.dtype == offset.dtype == np.float32
    assert len(np.unique(rounded[:, 1])) == 500
    cloud = Cloud("a", "Chair", rounded, offset=offset)
    assert cloud.coordinates.dtype == np.float64
    np.testing.assert_allclose(cloud.coordinates, points, rtol=0, atol=1e-7 * scale)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((1, 3), 5e6), np.full((4, 3), 5e6)])
def test_a_cloud_without_extent_is_not_centred(points):
    rounded, offset = to_float32(points)
    assert offset is None
    np.testing.assert_array_equal(rounded, points)


@pytest.mark.parametrize(
    ("points", "labels"), [((4, 2), None), ((4,), None), ((4, 3), (3,)), ((4, 3), (4, 1))]
)
def test_a_cloud_has_three_coordinates_and_a_label_for_each_point(points, labels):
    with pytest.raises(ValueError, match="shape a"):
        Cloud("a", "b", np.zeros(points), None if labels is None else np.zeros(labels, np.int64))
