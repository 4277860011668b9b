"""Batches that fit into memory, and the buckets of sizes."""

import numpy as np
import pyarrow as pa
import pytest

from components.evaluator.size_buckets import SIZE_BUCKETS, size_bucket
from components.evaluator.slicing import KEY, MOST_CLOUDS, limit_batch


@pytest.mark.parametrize("rows", [1, MOST_CLOUDS, MOST_CLOUDS + 1, 3 * MOST_CLOUDS - 1])
def test_a_batch_comes_in_pieces_with_every_row_once(rows):
    ragged = [list(range(n)) for n in range(rows)]
    batch = pa.RecordBatch.from_arrays([pa.array(ragged, pa.list_(pa.int64()))], ["points"])
    pieces = [piece[KEY] for piece in limit_batch({KEY: batch, "other": 1})]
    assert all(piece.num_rows <= MOST_CLOUDS for piece in pieces)
    assert len(pieces) == -(-rows // MOST_CLOUDS)
    assert [row for piece in pieces for row in piece.column(0).to_pylist()] == ragged


@pytest.mark.parametrize(
    ("points", "bucket"),
    [(1, "1-511"), (511, "1-511"), (512, "512-1023"), (8191, "4096-8191"), (8192, "8192+")],
)
def test_every_number_of_points_has_its_bucket(points, bucket):
    assert size_bucket(points) == bucket
    assert len(set(SIZE_BUCKETS)) == 6
    assert {size_bucket(int(n)) for n in np.geomspace(1, 1e6, 200)} == set(SIZE_BUCKETS)
