"""Metrics against numbers by hand, scikit-learn, torchmetrics and PointNet's published loop."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

from model import metrics


def test_one_cloud_by_hand():
    truth, answer = np.array([[0, 0, 0, 0, 1, 1, -1, -1], [0, 0, 0, 1, 1, -1, 2, 0]])
    counts = metrics.confusion(truth, answer, 3)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, [[3, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    # Part 2 is absent: its one answer was given to an unannotated point.
    assert metrics.shape_iou(counts) == pytest.approx((3 / 4 + 1 / 3 + 1) / 3)
    assert metrics.shape_iou_of_present_parts(counts) == pytest.approx((3 / 4 + 1 / 3) / 2)


def test_means_by_hand():
    right = metrics.confusion(np.array([0, 1]), np.array([0, 1]), 2)
    wrong = metrics.confusion(np.array([0, 1]), np.array([1, 0]), 2)
    # Part 0 is right, part 1 absent, part 2 missed.
    three = metrics.confusion(np.array([0, 2]), np.array([0, -1]), 3)
    nothing = metrics.confusion(np.array([-1, -1]), np.array([0, 1]), 2)
    names = ["Mug", "Mug", "Mug", "Rocket", "Mug"]
    scores = metrics.evaluate([right, right, wrong, three, nothing], names)
    assert (scores.clouds, scores.points) == (4, 8)
    assert [c.instance_miou for c in scores.categories.values()] == pytest.approx([2 / 3, 2 / 3])
    assert scores.instance_miou == pytest.approx((1 + 1 + 0 + 2 / 3) / 4)
    assert scores.category_miou == pytest.approx(2 / 3)
    assert scores.instance_miou_of_present_parts == pytest.approx((1 + 1 + 0 + 1 / 2) / 4)
    assert scores.point_accuracy == pytest.approx(5 / 8)
    assert scores.mean_class_accuracy == pytest.approx((2 / 3 + 2 / 3 + 1 + 0) / 4)
    assert scores.categories["Mug"].part_points.tolist() == [3, 3]


@pytest.mark.parametrize("clouds", [0, 2])
def test_without_annotated_points_scores_are_nan(clouds):
    nothing = metrics.confusion(np.array([-1, -1]), np.array([0, 1]), 2)
    scores = metrics.evaluate([nothing] * clouds, ["Mug"] * clouds)
    assert (scores.clouds, scores.points, scores.categories) == (0, 0, {})
    floats = [value for value in vars(scores).values() if isinstance(value, float)]
    assert len(floats) == 6 and all(map(math.isnan, floats))


def random_cloud(seed):
    """Parts, truth and answer: absent parts, unannotated and unanswered points among them."""
    rng = np.random.default_rng(seed)
    parts, size = int(rng.integers(1, 7)), rng.integers(1, 300)
    truth = rng.choice(rng.integers(-1, parts, rng.integers(1, parts + 2)), size)
    answer = np.where(rng.random(size) < 0.5, truth, rng.integers(-1, parts, size))
    return parts, truth, answer


@pytest.mark.parametrize("seed", range(1000))
def test_against_scikit_learn(seed):
    num_parts, truth, answer = random_cloud(seed)
    counts = metrics.confusion(truth, answer, num_parts)
    truth, answer = truth[truth >= 0], answer[truth >= 0]
    if not truth.size:
        assert not counts.any()
        return
    parts = list(range(num_parts))
    expected = confusion_matrix(truth, answer, labels=[*parts, -1])[:num_parts]
    np.testing.assert_array_equal(counts, expected)
    assert metrics.point_accuracy(counts) == pytest.approx(accuracy_score(truth, answer))
    for ours, theirs in (
        (metrics.part_ious(counts), jaccard_score),
        (metrics.part_accuracies(counts), recall_score),
    ):
        reference = theirs(truth, answer, labels=parts, average=None, zero_division=0)
        np.testing.assert_allclose(np.nan_to_num(ours), reference)
    present = np.unique(truth)
    reference = jaccard_score(truth, answer, labels=present, average="macro", zero_division=0)
    assert metrics.shape_iou_of_present_parts(counts) == pytest.approx(reference)


def test_against_torchmetrics():
    """The metric of PyTorch Geometric; neither stack has torch, which can be installed beside."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = pytest.importorskip("torchmetrics.functional.classification")
    for parts, truth, answer in map(random_cloud, range(500)):
        parts, truth, answer = parts + 1, truth + 1, answer + 1  # it has no -1
        both = torch.from_numpy(answer), torch.from_numpy(truth)
        each = theirs.multiclass_jaccard_index(*both, num_classes=parts, average="none").numpy()
        # It gives an absent part 0, the published evaluation 1.
        each[np.setdiff1d(np.arange(parts), np.union1d(truth, answer))] = 1
        counts = metrics.confusion(truth, answer, parts)
        assert metrics.shape_iou(counts) == pytest.approx(each.mean(), rel=1e-5)


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
    confusions, ious = [], {}
    categories = [str(name) for name in rng.choice(list(parts), 15)]
    for category in categories:
        n = rng.integers(1, 60)
        # Answers may be parts of other categories; all clouds have the largest category's shape.
        truth, answer = rng.integers(0, parts[category], n), rng.integers(0, 6, n)
        confusions.append(metrics.confusion(truth, answer, 6))
        iou = published_shape_iou(truth, answer, parts[category])
        ious.setdefault(category, []).append(iou)
    scores = metrics.evaluate(confusions, categories, [parts[name] for name in categories])
    assert scores.instance_miou == pytest.approx(np.mean(np.concatenate(list(ious.values()))))
    assert scores.category_miou == pytest.approx(np.mean([np.mean(x) for x in ious.values()]))
    for category, values in ious.items():
        assert scores.categories[category].instance_miou == pytest.approx(np.mean(values))


def test_the_grouping_of_tallies_does_not_matter():
    clouds = []
    for _, truth, answer in map(random_cloud, range(9)):
        calibration = metrics.calibration_counts(truth, answer, np.linspace(0, 1, len(truth)))
        clouds.append(metrics.tally_cloud(metrics.confusion(truth, answer, 6), None, calibration))
    at_once = vars(metrics.merge(clouds))
    in_groups = vars(metrics.merge([metrics.merge(clouds[6:]), metrics.merge(clouds[:6])]))
    for name, value in at_once.items():
        np.testing.assert_allclose(in_groups[name], value, rtol=1e-12)


def test_invalid_counts_are_refused():
    ones = [np.ones((k, k + 1), np.int64) for k in range(4)]
    for truth, answer in (([0, 5], [0, 1]), ([-2], [0]), ([0], [0, 1])):
        with pytest.raises(ValueError):
            metrics.confusion(np.array(truth), np.array(answer), 2)
    for counts, num_parts in ((ones[2][:, 1:], None), (ones[2], 1), (ones[2], 3)):
        with pytest.raises(ValueError):
            metrics.tally_cloud(counts, num_parts)
    for confusions in ([], ones[2:]):
        with pytest.raises(ValueError):
            metrics.merge(map(metrics.tally_cloud, confusions))


@pytest.mark.parametrize("seed", range(30))
def test_calibration_against_its_definition(seed):
    """Guo et al. (2017), equation 3, bin by bin."""
    rng = np.random.default_rng(seed)
    truth, answer = rng.integers(-1, 3, (2, 200))
    confidence = rng.random(200).astype(np.float32)
    confidence[:3] = 0.0, 1.0, 1 / 3
    counts = sum(
        metrics.calibration_counts(truth[part], answer[part], confidence[part])
        for part in (slice(0, 70), slice(70, 200))
    )
    kept = (truth >= 0) & (answer >= 0)
    right, confidence = (truth == answer)[kept], confidence[kept].astype(float)
    edges = np.arange(metrics.CALIBRATION_BINS + 1) / metrics.CALIBRATION_BINS
    error = 0.0
    for low, high in zip(edges, [*edges[1:-1], np.inf], strict=False):
        inside = (low <= confidence) & (confidence < high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics.expected_calibration_error(counts) == pytest.approx(error, abs=1e-6)
