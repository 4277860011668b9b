"""The two sparse products, in both of their forms, against loops."""

import numpy as np
import pytest

from model import row_sums


@pytest.fixture(params=[True, False], ids=["sparse product", "keras.ops"])
def form(request, monkeypatch):
    if request.param:
        pytest.importorskip("tensorflow")
    monkeypatch.setattr(row_sums, "_has_sparse_product", lambda: request.param)


def test_row_sums(form):
    rng = np.random.default_rng(0)
    rows, weights = rng.integers(0, 7, (5, 4)), rng.normal(size=(5, 4))
    inputs, kernel = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    picked, scattered = np.zeros((5, 3)), np.zeros((7, 3))
    for channel in range(5):
        for cloud in range(4):
            row, weight = rows[channel, cloud], weights[channel, cloud]
            picked[channel] += weight * inputs[row]
            scattered[row] += weight * kernel[channel]
    as_tensors = [np.asarray(rows, np.int64), weights]
    np.testing.assert_allclose(
        row_sums.picked_rows(*map(row_sums.ops.convert_to_tensor, (*as_tensors, inputs))), picked
    )
    np.testing.assert_allclose(
        row_sums.scattered_rows(
            *map(row_sums.ops.convert_to_tensor, (*as_tensors, kernel)), num_rows=7
        ),
        scattered,
    )
