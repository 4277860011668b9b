"""Counting and scoring, against hand-worked numbers, scikit-learn and PointNet's own loop."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

from model import metrics

# Truth and answers of one cloud of three parts; the last two points are unannotated.
TRUTH = np.array([0, 0, 0, 0, 1, 1, -1, -1])
ANSWER = np.array([0, 0, 0, 1, 1, -1, 2, 0])
COUNTS = np.array([[3, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])


def test_confusion_by_hand():
    counts = metrics.confusion(TRUTH, ANSWER, 3)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, COUNTS)


def test_scores_of_one_cloud_by_hand():
    # part 0: 3 of 4 in truth or answer; part 1: 1 of 3; part 2: nowhere, as its one answer was
    # given to an unannotated point
    np.testing.assert_allclose(metrics.part_ious(COUNTS), [3 / 4, 1 / 3, np.nan])
    np.testing.assert_allclose(metrics.part_accuracies(COUNTS), [3 / 4, 1 / 2, np.nan])
    assert metrics.point_accuracy(COUNTS) == pytest.approx(4 / 6)
    assert metrics.shape_iou(COUNTS) == pytest.approx((3 / 4 + 1 / 3 + 1) / 3)
    assert metrics.shape_iou_of_present_parts(COUNTS) == pytest.approx((3 / 4 + 1 / 3) / 2)


def test_a_part_claimed_but_absent_scores_zero():
    counts = metrics.confusion(np.array([0, 0]), np.array([0, 1]), 2)
    assert metrics.shape_iou(counts) == pytest.approx((1 / 2 + 0) / 2)
    assert metrics.shape_iou_of_present_parts(counts) == pytest.approx(1 / 2)


def test_categories_weigh_alike_in_category_miou_and_shapes_in_instance_miou():
    right = metrics.confusion(np.array([0, 1]), np.array([0, 1]), 2)
    wrong = metrics.confusion(np.array([0, 1]), np.array([1, 0]), 2)
    three = metrics.confusion(np.array([0, 2]), np.array([0, -1]), 3)
    scores = metrics.evaluate([right, right, wrong, three], ["Mug", "Mug", "Mug", "Rocket"])
    assert scores.clouds == 4
    assert scores.categories["Mug"].instance_miou == pytest.approx(2 / 3)
    # Rocket: part 0 found, part 1 nowhere, part 2 missed
    assert scores.categories["Rocket"].instance_miou == pytest.approx(2 / 3)
    assert scores.instance_miou == pytest.approx((1 + 1 + 0 + 2 / 3) / 4)
    assert scores.category_miou == pytest.approx(2 / 3)
    assert scores.instance_miou_of_present_parts == pytest.approx((1 + 1 + 0 + 1 / 2) / 4)
    assert scores.point_accuracy == pytest.approx(5 / 8)
    np.testing.assert_array_equal(scores.categories["Mug"].part_points, [3, 3])


def test_nothing_annotated_counts_nowhere():
    nothing = metrics.confusion(np.array([-1, -1]), np.array([0, 1]), 2)
    half = metrics.confusion(np.array([0, 0]), np.array([0, -1]), 2)
    assert metrics.evaluate([half, nothing], ["Mug", "Mug"]).instance_miou == pytest.approx(3 / 4)
    scores = metrics.evaluate([nothing], ["Mug"])
    assert scores.clouds == 0 and not scores.categories
    assert all(
        math.isnan(value)
        for value in (
            scores.point_accuracy,
            scores.instance_miou,
            scores.category_miou,
            scores.instance_miou_of_present_parts,
        )
    )


def test_an_empty_evaluation_is_nan():
    assert math.isnan(metrics.evaluate([], []).instance_miou)


@pytest.mark.parametrize("seed", range(40))
def test_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        one_random_cloud(rng)


def one_random_cloud(rng):
    """Of any parts and size, absent parts, unannotated and unanswered points among them."""
    num_parts = int(rng.integers(1, 7))
    truth = rng.integers(-1, num_parts, size=rng.integers(1, 200))
    answer = rng.integers(-1, num_parts, size=truth.size)
    counts = metrics.confusion(truth, answer, num_parts)
    truth, answer = truth[truth >= 0], answer[truth >= 0]
    if not truth.size:
        assert not counts.any()
        return
    everything = [*range(num_parts), -1]
    expected = confusion_matrix(truth, answer, labels=everything)[:num_parts]
    np.testing.assert_array_equal(counts, expected)
    assert metrics.point_accuracy(counts) == pytest.approx(accuracy_score(truth, answer))
    parts = list(range(num_parts))
    for ours, theirs in (
        (metrics.part_ious(counts), jaccard_score),
        (metrics.part_accuracies(counts), recall_score),
    ):
        reference = theirs(truth, answer, labels=parts, average=None, zero_division=0)
        np.testing.assert_allclose(np.nan_to_num(ours), reference)
    present = np.unique(truth)
    assert metrics.shape_iou_of_present_parts(counts) == pytest.approx(
        jaccard_score(truth, answer, labels=present, average="macro", zero_division=0)
    )


def published_shape_iou(truth, answer, num_parts):
    """The loop of PointNet's part_seg/test.py, in our words."""
    total = 0.0
    for part in range(num_parts):
        both = np.sum((truth == part) & (answer == part))
        either = np.sum((truth == part) | (answer == part))
        total += 1.0 if either == 0 else both / either
    return total / num_parts


@pytest.mark.parametrize("seed", range(20))
def test_a_data_set_against_the_published_loop(seed):
    rng = np.random.default_rng(seed)
    parts = {"Mug": 2, "Airplane": 4, "Motorbike": 6}
    confusions, categories, counts, ious = [], [], [], {}
    for _ in range(15):
        category = str(rng.choice(list(parts)))
        num_parts = parts[category]
        n = int(rng.integers(1, 60))
        truth, answer = rng.integers(0, num_parts, n), rng.integers(0, num_parts, n)
        # As training keeps them: all clouds in the largest category's shape.
        small = metrics.confusion(truth, answer, num_parts)
        large = np.zeros((6, 7), np.int64)
        large[:num_parts, :num_parts] = small[:, :-1]
        confusions.append(large)
        categories.append(category)
        counts.append(num_parts)
        ious.setdefault(category, []).append(published_shape_iou(truth, answer, num_parts))
    scores = metrics.evaluate(confusions, categories, counts)
    assert scores.instance_miou == pytest.approx(np.mean(np.concatenate(list(ious.values()))))
    assert scores.category_miou == pytest.approx(np.mean([np.mean(x) for x in ious.values()]))
    for category, values in ious.items():
        assert scores.categories[category].instance_miou == pytest.approx(np.mean(values))


def test_the_grouping_of_tallies_does_not_matter():
    rng = np.random.default_rng(0)
    clouds = [
        metrics.tally_cloud(metrics.confusion(rng.integers(-1, 3, 40), rng.integers(-1, 3, 40), 3))
        for _ in range(9)
    ]
    at_once = metrics.merge(clouds)
    in_groups = metrics.merge([metrics.merge(clouds[6:]), metrics.merge(clouds[:6])])
    np.testing.assert_array_equal(at_once.counts, in_groups.counts)
    assert at_once.clouds == in_groups.clouds == 9
    assert at_once.shape_iou_sum == pytest.approx(in_groups.shape_iou_sum)
    assert at_once.present_iou_sum == pytest.approx(in_groups.present_iou_sum)


def test_a_prediction_of_another_category_is_no_answer():
    large = np.zeros((3, 4), np.int64)
    large[0] = [5, 1, 3, 2]
    np.testing.assert_array_equal(metrics.tally_cloud(large, 2).counts, [[5, 1, 5], [0, 0, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.confusion(np.array([0, 5]), np.array([0, 1]), 2), "labels from 0 to 5"),
        (lambda: metrics.confusion(np.array([-2]), np.array([0]), 2), "labels from -2"),
        (lambda: metrics.confusion(np.array([0]), np.array([0, 1]), 2), "must be"),
        (lambda: metrics.tally_cloud(np.zeros((2, 2), int)), r"\[K, K \+ 1\]"),
        (lambda: metrics.tally_cloud(np.ones((2, 3), int), 1), "beyond"),
        (lambda: metrics.tally_cloud(np.ones((2, 3), int), 3), "has 2 parts"),
        (lambda: metrics.merge([]), "no tally"),
        (
            lambda: metrics.merge([metrics.tally_cloud(np.ones((k, k + 1), int)) for k in (2, 3)]),
            "different numbers",
        ),
    ],
)
def test_what_cannot_be_counted_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("seed", range(30))
def test_calibration_against_its_definition(seed):
    """Guo et al. (2017), equation 3, with a loop over bins and over points."""
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(-1, 3, 200), rng.integers(-1, 3, 200)
    sure = rng.random(200).astype(np.float32)
    sure[:3] = 0.0, 1.0, 1 / 3
    counts = sum(
        metrics.calibration_counts(truth[part], prediction[part], sure[part])
        for part in (slice(0, 70), slice(70, 200))
    )
    kept = (truth >= 0) & (prediction >= 0)
    truth, prediction, sure = truth[kept], prediction[kept], sure[kept]
    error = 0.0
    for bin_number in range(metrics.CALIBRATION_BINS):
        low, high = (
            bin_number / metrics.CALIBRATION_BINS,
            (bin_number + 1) / metrics.CALIBRATION_BINS,
        )
        last = bin_number == metrics.CALIBRATION_BINS - 1
        inside = [low <= float(p) and (float(p) < high or last) for p in sure]
        if any(inside):
            right = np.mean(
                [t == p for t, p, i in zip(truth, prediction, inside, strict=True) if i]
            )
            mean = np.mean([float(p) for p, i in zip(sure, inside, strict=True) if i])
            error += sum(inside) / len(truth) * abs(right - mean)
    assert metrics.expected_calibration_error(counts) == pytest.approx(error, abs=1e-6)


def test_perfect_and_hopeless_calibration():
    truth = np.array([0, 0, 1, 1])
    sure = np.ones(4, np.float32)
    assert metrics.expected_calibration_error(metrics.calibration_counts(truth, truth, sure)) == 0
    assert (
        metrics.expected_calibration_error(metrics.calibration_counts(truth, 1 - truth, sure)) == 1
    )
    nobody = metrics.calibration_counts(truth, np.full(4, -1), sure)
    assert np.isnan(metrics.expected_calibration_error(nobody))
