"""The buckets of cloud sizes."""

import numpy as np
import pytest

from schema.size_buckets import SIZE_BUCKETS, size_bucket


@pytest.mark.parametrize(
    ("points", "bucket"),
    [(1, "1-511"), (511, "1-511"), (512, "512-1023"), (8191, "4096-8191"), (8192, "8192+")],
)
def test_every_number_of_points_has_its_bucket(points, bucket):
    assert size_bucket(points) == bucket
    assert len(set(SIZE_BUCKETS)) == 6
    assert {size_bucket(int(n)) for n in np.geomspace(1, 1e6, 200)} == set(SIZE_BUCKETS)
