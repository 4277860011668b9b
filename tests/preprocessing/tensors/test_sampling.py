"""The draw: without replacement, of the shape's id and the seed alone, and fair."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.tensors.sampling import draw_indices, seeds_from_shape_ids


def draw(shape_ids, sizes, count, seed=0, padded=None):
    seeds = seeds_from_shape_ids(tf.constant(shape_ids), seed)
    padded = max(sizes) if padded is None else padded
    return draw_indices(seeds, tf.constant(sizes, tf.int64), padded, count).numpy()


@pytest.mark.parametrize("n", [1, 2, 7, 63, 64, 65, 1000])
def test_points_are_drawn_without_replacement_and_all_of_a_small_cloud_repeat(n):
    drawn = draw(["a"], [n], 64, padded=1000)[0]
    assert len(set(drawn[:n].tolist())) == min(n, 64)
    assert drawn.min() >= 0 and drawn.max() < n
    np.testing.assert_array_equal(drawn, np.resize(drawn[:n], 64))


def test_batch_order_and_padding_change_nothing():
    sizes = [5, 300, 40]
    together = draw(["a", "b", "c"], sizes, 32, padded=500)
    turned = draw(["c", "b", "a"], sizes[::-1], 32)
    np.testing.assert_array_equal(together, turned[::-1])
    for name, size, row in zip("abc", sizes, together, strict=True):
        np.testing.assert_array_equal(draw([name], [size], 32)[0], row)


def test_shape_id_and_seed_change_the_draw():
    draws = [draw([name], [300], 32, seed) for name in ("a", "b") for seed in (0, 1, -1)]
    assert len({row.tobytes() for row in draws}) == 6


def test_the_seed_of_a_shape_is_the_same_on_every_machine():
    seeds = seeds_from_shape_ids(tf.constant(["1021a0914a7207aff927ed529ad90a11", "plane"]), 0)
    flipped = seeds_from_shape_ids(tf.constant(["1021a0914a7207aff927ed529ad90a11", "plane"]), 5)
    np.testing.assert_array_equal(seeds.numpy() ^ 5, flipped.numpy())
    # Written down once; a change here changes every stored sample.
    assert seeds.numpy().tolist() == [8_938_563_090_351_456_992, 6_997_014_450_759_155_414]


def test_every_point_and_every_pair_is_about_equally_likely():
    # 2,000 shapes of 40 points, 10 drawn: each point 500 times in expectation, each pair of
    # neighbours 2000 * (10 * 9) / (40 * 39) = 115 times. Standard deviations 19 and 10.
    names = [f"shape {i}" for i in range(2000)]
    drawn = draw(names, [40] * 2000, 10)
    chosen = np.zeros((2000, 40), int)
    np.put_along_axis(chosen, drawn, 1, axis=1)
    counts = chosen.sum(axis=0)
    assert abs(counts - 500).max() < 100
    neighbours = (chosen[:, :-1] & chosen[:, 1:]).sum(axis=0)
    assert abs(neighbours - 115).max() < 55
    # The first place of the draw is as fair as the whole.
    assert abs(np.bincount(drawn[:, 0], minlength=40) - 50).max() < 40
