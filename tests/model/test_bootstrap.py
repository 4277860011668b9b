"""Bootstrap intervals: against NumPy's own resampling, and what they must not depend on."""

import math

import numpy as np
import pytest

from model.bootstrap import (
    CONFIDENCE,
    FEWEST_CLOUDS,
    REPLICATES,
    interval,
    replicate_scores,
    replicate_tally,
    replicate_weights,
)
from model.metrics import confusion, shape_iou, tally_cloud


def made(count, seed=0):
    """Confusions of `count` clouds of three parts."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        truth = rng.integers(0, 3, 50)
        prediction = np.where(rng.random(50) < rng.uniform(0.3, 1), truth, rng.integers(0, 3, 50))
        found.append(confusion(truth, prediction, 3))
    return found


def scores_of(confusions, category="Tool"):
    sums = sum(
        replicate_tally(f"shape {i}", tally_cloud(counts)) for i, counts in enumerate(confusions)
    )
    return replicate_scores({category: sums})


def test_weights_are_poisson_of_mean_one_and_follow_from_the_id():
    weights = np.stack([replicate_weights(f"shape {i}") for i in range(400)])
    assert weights.shape == (400, REPLICATES)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert (weights == 0).mean() == pytest.approx(math.exp(-1), abs=0.005)
    np.testing.assert_array_equal(weights[7], replicate_weights("shape 7"))
    # Clouds are drawn independently.
    assert abs(np.corrcoef(weights[:50]) - np.eye(50)).max() < 0.15


def test_one_resampled_set_by_hand():
    confusions = made(6)
    found = scores_of(confusions)
    times = np.array([replicate_weights(f"shape {i}")[11] for i in range(6)])
    ious = np.array([shape_iou(counts) for counts in confusions])
    assert found["instance_miou"][11] == pytest.approx((times * ious).sum() / times.sum())
    hits = sum(int(t * np.trace(counts)) for t, counts in zip(times, confusions, strict=True))
    points = sum(int(t * counts.sum()) for t, counts in zip(times, confusions, strict=True))
    assert found["point_accuracy"][11] == pytest.approx(hits / points)


def test_intervals_are_those_of_drawing_with_replacement():
    confusions = made(80)
    ious = np.array([shape_iou(counts) for counts in confusions])
    rng = np.random.default_rng(1)
    drawn = ious[rng.integers(0, 80, (20_000, 80))].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    expected = np.quantile(drawn, [tail, 1 - tail])
    low, high = interval(scores_of(confusions)["instance_miou"], 80)
    width = expected[1] - expected[0]
    assert low == pytest.approx(expected[0], abs=0.12 * width)
    assert high == pytest.approx(expected[1], abs=0.12 * width)


def test_two_models_are_held_on_the_same_sets():
    better = made(30)
    worse = [counts.copy() for counts in better]
    for counts in worse:  # each cloud loses one point of its first part to no answer
        counts[0, 0] -= 1
        counts[0, 3] += 1
    one, other = scores_of(better)["point_accuracy"], scores_of(worse)["point_accuracy"]
    alone, _ = interval(one, 30)
    low, high = interval(one - other, 30)
    # The difference is the same in every set, however much the clouds differ among themselves.
    assert low == pytest.approx(1 / 50) and high == pytest.approx(1 / 50)
    assert alone < np.median(one) - 1 / 50


def test_category_miou_leaves_out_what_a_set_does_not_hold():
    (only,) = made(1)
    rare = replicate_tally("rare", tally_cloud(only))
    common = sum(
        replicate_tally(f"shape {i}", tally_cloud(counts)) for i, counts in enumerate(made(20))
    )
    found = replicate_scores({"Common": common, "Rare": rare})
    absent = rare[:, 0] == 0
    np.testing.assert_allclose(
        found["category_miou"][absent], (common[:, 3] / common[:, 0])[absent]
    )


def test_few_clouds_have_no_interval():
    found = scores_of(made(FEWEST_CLOUDS))["instance_miou"]
    assert not math.isnan(interval(found, FEWEST_CLOUDS)[0])
    assert math.isnan(interval(found, FEWEST_CLOUDS - 1)[0])
    assert all(math.isnan(end) for end in interval(replicate_scores({})["instance_miou"], 0))
