"""Batches that fit into memory."""

import pyarrow as pa
import pytest

from components.evaluator.component import BATCH, MOST_CLOUDS, limit_batch


@pytest.mark.parametrize("rows", [1, MOST_CLOUDS, MOST_CLOUDS + 1, 3 * MOST_CLOUDS - 1])
def test_a_batch_comes_in_pieces_with_every_row_once(rows):
    ragged = [list(range(n)) for n in range(rows)]
    batch = pa.RecordBatch.from_arrays([pa.array(ragged, pa.list_(pa.int64()))], ["points"])
    pieces = [piece[BATCH] for piece in limit_batch({BATCH: batch, "other": 1})]
    assert all(piece.num_rows <= MOST_CLOUDS for piece in pieces)
    assert len(pieces) == -(-rows // MOST_CLOUDS)
    assert [row for piece in pieces for row in piece.column(0).to_pylist()] == ragged
