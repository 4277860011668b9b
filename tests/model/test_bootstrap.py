"""Bootstrap intervals against NumPy's own resampling."""

import math

import numpy as np
import pytest

from model import bootstrap
from model.metrics import confusion, shape_iou, tally_cloud


def made(count):
    """Confusions of clouds of three parts, 50 points each."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        truth = rng.integers(0, 3, 50)
        answer = np.where(rng.random(50) < rng.uniform(0.3, 1), truth, rng.integers(0, 3, 50))
        yield confusion(truth, answer, 3)


def summed(confusions):
    tallies = map(tally_cloud, confusions)
    return sum(bootstrap.replicate_tally(f"shape {i}", tally) for i, tally in enumerate(tallies))


def scores_of(confusions):
    return bootstrap.replicate_scores({"Tool": summed(confusions)})


def test_weights_are_poisson_of_mean_one_and_follow_from_the_id():
    weights = np.stack([bootstrap.replicate_weights(f"shape {i}") for i in range(400)])
    assert weights.shape == (400, bootstrap.REPLICATES)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert (weights == 0).mean() == pytest.approx(math.exp(-1), abs=0.005)
    np.testing.assert_array_equal(weights[7], bootstrap.replicate_weights("shape 7"))
    # Clouds are drawn independently.
    assert abs(np.corrcoef(weights[:50]) - np.eye(50)).max() < 0.15


def test_one_resampled_set_by_hand():
    confusions = np.stack(list(made(6)))
    scores = scores_of(confusions)
    times = np.array([bootstrap.replicate_weights(f"shape {i}")[11] for i in range(6)])
    ious = [shape_iou(counts) for counts in confusions]
    assert scores["instance_miou"][11] == pytest.approx(np.average(ious, weights=times))
    accuracies = np.trace(confusions, axis1=1, axis2=2) / 50
    assert scores["point_accuracy"][11] == pytest.approx(np.average(accuracies, weights=times))


def test_intervals_are_those_of_drawing_with_replacement():
    ious = np.array([shape_iou(counts) for counts in made(80)])
    drawn = ious[np.random.default_rng(1).integers(0, 80, (20_000, 80))].mean(axis=1)
    tail = (1 - bootstrap.CONFIDENCE) / 2
    expected = np.quantile(drawn, [tail, 1 - tail])
    ends = bootstrap.interval(scores_of(made(80))["instance_miou"], 80)
    assert ends == pytest.approx(expected, abs=0.12 * (expected[1] - expected[0]))


def test_two_models_are_compared_on_the_same_sets():
    worse = list(made(30))
    for counts in worse:  # each cloud loses one point of its first part to no answer
        counts[0, 0] -= 1
        counts[0, 3] += 1
    one, other = scores_of(made(30))["point_accuracy"], scores_of(worse)["point_accuracy"]
    # The difference is the same in every set, however much the clouds differ among themselves.
    assert bootstrap.interval(one - other, 30) == pytest.approx((1 / 50, 1 / 50))
    assert bootstrap.interval(one, 30)[0] < np.median(one) - 1 / 50


def test_category_miou_leaves_out_categories_that_a_set_lacks():
    rare = bootstrap.replicate_tally("rare", tally_cloud(next(made(1))))
    common = summed(made(20))
    scores = bootstrap.replicate_scores({"Common": common, "Rare": rare})
    absent = rare[:, 0] == 0
    assert absent.any()
    expected = (common[:, 3] / common[:, 0])[absent]
    np.testing.assert_allclose(scores["category_miou"][absent], expected)


@pytest.mark.parametrize("clouds", [0, bootstrap.FEWEST_CLOUDS - 1])
def test_few_clouds_have_no_interval(clouds):
    for scores in (bootstrap.replicate_scores({}), scores_of(made(bootstrap.FEWEST_CLOUDS))):
        assert np.isnan(bootstrap.interval(scores["instance_miou"], clouds)).all()
