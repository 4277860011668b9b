"""How good a segmentation is: confusion counts -> accuracy, IoU and their means. NumPy only.

    one cloud's truth [n], prediction [n]  -> confusion    int64 [K, K + 1]
    confusion, category, parts             -> tally_cloud  CategoryTally
    tallies, in any order and grouping     -> merge        CategoryTally
    tallies of all categories              -> score        Scores

Training's callback, the Evaluator's metrics and the report all count with these functions, so that
their numbers agree. `evaluate` does the four steps at once for clouds that are all at hand.

Conventions:

- **Shape IoU** is the mean over the parts of the shape's category of |truth and prediction| /
  |truth or prediction|; a part that neither holds counts 1. **Instance mIoU** is its mean over
  shapes, **category mIoU** the mean of the categories' means. That is what `part_seg/test.py` of
  PointNet's published code computes, and what the papers report.
- **Instance mIoU over present parts** takes only the parts that the shape's truth holds: a part
  that is not there earns nothing.
- **Pooled IoU** of a part sums its points over all shapes before dividing; **part accuracy**
  (recall) is the share of the part's points that were found.
- A point whose truth is -1 (nobody annotated it) counts nowhere, neither as missed nor as wrongly
  claimed. A prediction outside the category's parts, such as -1 for "no answer", is wrong: it
  misses the point's part, and claims it for none. A cloud without any annotated point counts
  nowhere.
- **Mean class accuracy** is the mean of the part accuracies of all parts that occur.
- **Expected calibration error** (Guo et al., "On Calibration of Modern Neural Networks", 2017,
  section 2, with 15 bins): points are put into bins of equal width by the probability of their
  answer; it is the mean over points of |share of right answers - mean probability| of their bin.
- What cannot be measured (the recall of a part that no shape has) is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from schema.record import UNANNOTATED

CALIBRATION_BINS = 15
# Probabilities are summed as whole numbers of this part, so that sums do not depend on the order.
PROBABILITY_UNIT = 2.0**-20


def confusion(truth: np.ndarray, prediction: np.ndarray, num_parts: int) -> np.ndarray:
    """Count one cloud's points by truth (rows) and prediction (columns).

    Args:
      truth: int [n], index into the category's parts; -1 counts nowhere.
      prediction: int [n]; anything outside 0 .. num_parts - 1 is no answer.
      num_parts: K.

    Returns:
      int64 [K, K + 1]; the last column counts points without an answer.

    Raises:
      ValueError: the lengths differ, or a truth is neither -1 nor a part.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.ndim != 1 or truth.shape != prediction.shape:
        raise ValueError(
            f"truth has shape {truth.shape} and prediction {prediction.shape}; both must be [n]"
        )
    annotated = truth != UNANNOTATED
    truth, prediction = truth[annotated], prediction[annotated]
    if truth.size and (truth.min() < 0 or truth.max() >= num_parts):
        raise ValueError(
            f"truth holds labels from {truth.min()} to {truth.max()}; a category of {num_parts} "
            f"parts has labels 0 to {num_parts - 1}, and -1 for unannotated points"
        )
    answered = (prediction >= 0) & (prediction < num_parts)
    column = np.where(answered, prediction, num_parts)
    cell = truth.astype(np.int64) * (num_parts + 1) + column.astype(np.int64)
    counts = np.bincount(cell, minlength=num_parts * (num_parts + 1))
    return counts.reshape(num_parts, num_parts + 1).astype(np.int64)


def part_ious(counts: np.ndarray) -> np.ndarray:
    """IoU of each part, float64 [K]; NaN where neither truth nor prediction holds the part.

    Args:
      counts: int64 [K, K + 1], see `confusion`.
    """
    hits, in_truth, predicted = _margins(counts)
    return _ratio(hits, in_truth + predicted - hits)


def part_accuracies(counts: np.ndarray) -> np.ndarray:
    """Recall of each part, float64 [K]; NaN where the truth does not hold the part.

    Args:
      counts: int64 [K, K + 1], see `confusion`.
    """
    hits, in_truth, _ = _margins(counts)
    return _ratio(hits, in_truth)


def point_accuracy(counts: np.ndarray) -> float:
    """Share of the annotated points that were given their part; NaN without any.

    Args:
      counts: int64 [K, K + 1], see `confusion`.
    """
    return float(_ratio(np.trace(counts), counts.sum()))


def shape_iou(counts: np.ndarray) -> float:
    """Mean IoU over the category's parts, one that is absent from truth and prediction counting 1.

    Args:
      counts: int64 [K, K + 1] of one cloud, see `confusion`.
    """
    ious = part_ious(counts)
    return float(np.mean(np.where(np.isnan(ious), 1.0, ious)))


def shape_iou_of_present_parts(counts: np.ndarray) -> float:
    """Mean IoU over the parts that the truth holds; NaN if it holds none.

    Args:
      counts: int64 [K, K + 1] of one cloud, see `confusion`.
    """
    present = counts.sum(axis=1) > 0
    return float(np.mean(part_ious(counts)[present])) if present.any() else float("nan")


def calibration_counts(
    truth: np.ndarray, prediction: np.ndarray, probability: np.ndarray
) -> np.ndarray:
    """Count one cloud's points by the probability of their answer.

    Args:
      truth: int [n], index into the category's parts; -1 counts nowhere.
      prediction: int [n]; -1, no answer, counts nowhere.
      probability: float [n], of the answer.

    Returns:
      int64 [CALIBRATION_BINS, 3]: of each bin the points, those answered rightly, and the sum of
      their probabilities in units of PROBABILITY_UNIT.
    """
    counted = (np.asarray(truth) != UNANNOTATED) & (np.asarray(prediction) >= 0)
    right = (np.asarray(truth) == prediction)[counted]
    sure = np.asarray(probability, np.float32)[counted]
    place = np.clip((sure * np.float32(CALIBRATION_BINS)).astype(np.int64), 0, CALIBRATION_BINS - 1)
    units = np.rint(sure.astype(np.float64) / PROBABILITY_UNIT).astype(np.int64)
    counts = np.zeros((CALIBRATION_BINS, 3), np.int64)
    for column, values in enumerate((np.ones_like(units), right.astype(np.int64), units)):
        np.add.at(counts[:, column], place, values)
    return counts


def expected_calibration_error(counts: np.ndarray) -> float:
    """How far the answers' probabilities are from the share that is right; NaN without any answer.

    Args:
      counts: int64 [CALIBRATION_BINS, 3], see `calibration_counts`.
    """
    points, right, sure = counts.astype(np.float64).T
    gap = np.abs(right - sure * PROBABILITY_UNIT).sum()
    return float(_ratio(gap, points.sum()))


def no_calibration() -> np.ndarray:
    """The calibration counts of no point."""
    return np.zeros((CALIBRATION_BINS, 3), np.int64)


@dataclass(frozen=True)
class CategoryTally:
    """What has been counted of a category's clouds; tallies add up in any order.

    Attributes:
      clouds: how many clouds with at least one annotated point.
      counts: int64 [K, K + 1], their confusions' sum.
      shape_iou_sum: sum of their shape IoUs.
      present_iou_sum: sum of their shape IoUs over present parts.
      calibration: int64 [CALIBRATION_BINS, 3], their calibration counts' sum; all 0 where the
        probabilities are not known.
    """

    clouds: int
    counts: np.ndarray
    shape_iou_sum: float
    present_iou_sum: float
    calibration: np.ndarray = field(default_factory=no_calibration)


def tally_cloud(
    counts: np.ndarray, num_parts: int | None = None, calibration: np.ndarray | None = None
) -> CategoryTally:
    """The tally of one cloud.

    Args:
      counts: int64 [K, K + 1], see `confusion`. Where clouds of several categories are kept in one
        array, K is the largest number of parts.
      num_parts: how many parts the cloud's category has, if fewer than K. What was predicted
        beyond them counts as no answer.
      calibration: int64 [CALIBRATION_BINS, 3], see `calibration_counts`; None: not known.

    Raises:
      ValueError: counts is not [K, K + 1], or holds truth beyond num_parts.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[1] != counts.shape[0] + 1:
        raise ValueError(f"a confusion has shape [K, K + 1]; this one has {counts.shape}")
    if num_parts is not None:
        counts = _limit_to_parts(counts, num_parts)
    known = no_calibration() if calibration is None else np.asarray(calibration, np.int64)
    if not counts.any():
        return CategoryTally(0, counts, 0.0, 0.0, known)
    return CategoryTally(1, counts, shape_iou(counts), shape_iou_of_present_parts(counts), known)


def merge(tallies: Iterable[CategoryTally]) -> CategoryTally:
    """The sum of one category's tallies.

    Raises:
      ValueError: there is none, or they differ in their number of parts.
    """
    tallies = list(tallies)
    if not tallies:
        raise ValueError("there is no tally to merge")
    if len({tally.counts.shape for tally in tallies}) > 1:
        raise ValueError("the tallies are of categories with different numbers of parts")
    return reduce(_add, tallies)


@dataclass(frozen=True)
class CategoryScores:
    """How well one category's shapes were segmented; see the module for the conventions.

    Attributes:
      clouds: how many shapes were measured.
      part_points: int64 [K], annotated points of each part.
      point_accuracy: over all annotated points of the category.
      mean_class_accuracy: mean of part_accuracies over the parts that occur.
      part_accuracies: float64 [K].
      part_ious: float64 [K], pooled over shapes.
      instance_miou: mean shape IoU.
      instance_miou_of_present_parts: mean shape IoU over the parts in each shape's truth.
    """

    clouds: int
    part_points: np.ndarray
    point_accuracy: float
    mean_class_accuracy: float
    part_accuracies: np.ndarray
    part_ious: np.ndarray
    instance_miou: float
    instance_miou_of_present_parts: float


@dataclass(frozen=True)
class Scores:
    """How well all shapes were segmented; see the module for the conventions.

    Attributes:
      clouds: how many shapes were measured.
      points: their annotated points.
      point_accuracy: over all annotated points.
      mean_class_accuracy: mean part accuracy over all parts of all categories that occur.
      calibration_error: expected calibration error; NaN where no probabilities were counted.
      instance_miou: mean shape IoU over all shapes.
      category_miou: mean of the categories' instance mIoUs.
      instance_miou_of_present_parts: mean shape IoU over the parts in each shape's truth.
      categories: the same by category, for those with a measured shape.
    """

    clouds: int
    points: int
    point_accuracy: float
    mean_class_accuracy: float
    calibration_error: float
    instance_miou: float
    category_miou: float
    instance_miou_of_present_parts: float
    categories: dict[str, CategoryScores]


def score(tallies: Mapping[str, CategoryTally]) -> Scores:
    """Scores from each category's tally; NaN throughout if no cloud was measured."""
    measured = {name: tally for name, tally in tallies.items() if tally.clouds}
    categories = {name: _score_category(tally) for name, tally in measured.items()}
    clouds = sum(tally.clouds for tally in measured.values())
    hits = sum(int(np.trace(tally.counts)) for tally in measured.values())
    points = sum(int(tally.counts.sum()) for tally in measured.values())
    shape_ious = sum(tally.shape_iou_sum for tally in measured.values())
    present_ious = sum(tally.present_iou_sum for tally in measured.values())
    category_mious = sum(scores.instance_miou for scores in categories.values())
    accuracies = [found.part_accuracies for found in categories.values()]
    return Scores(
        clouds=clouds,
        points=points,
        point_accuracy=float(_ratio(hits, points)),
        mean_class_accuracy=_mean_of_measured(np.concatenate(accuracies or [np.zeros(0)])),
        calibration_error=expected_calibration_error(
            sum((tally.calibration for tally in measured.values()), no_calibration())
        ),
        instance_miou=float(_ratio(shape_ious, clouds)),
        category_miou=float(_ratio(category_mious, len(categories))),
        instance_miou_of_present_parts=float(_ratio(present_ious, clouds)),
        categories=categories,
    )


def evaluate(
    confusions: Iterable[np.ndarray],
    categories: Sequence[str],
    num_parts: Sequence[int] | None = None,
) -> Scores:
    """Scores of clouds that are all at hand.

    Args:
      confusions: each cloud's int64 [K, K + 1]; K may differ by category, or be the largest.
      categories: each cloud's category.
      num_parts: each cloud's number of parts, where K is larger.

    Raises:
      ValueError: the arguments differ in length, or a confusion is not one.
    """
    confusions = list(confusions)
    parts: Sequence[int | None] = [None] * len(confusions) if num_parts is None else num_parts
    by_category: dict[str, list[CategoryTally]] = {}
    for counts, category, count in zip(confusions, categories, parts, strict=True):
        by_category.setdefault(category, []).append(tally_cloud(counts, count))
    return score({category: merge(tallies) for category, tallies in by_category.items()})


def _margins(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each part [K]: points found, points in the truth, points predicted."""
    num_parts = counts.shape[0]
    return np.diagonal(counts), counts.sum(axis=1), counts[:, :num_parts].sum(axis=0)


def _ratio(above: np.ndarray | float, below: np.ndarray | float) -> np.ndarray:
    """The quotient in float64, NaN where below is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below != 0)


def _mean_of_measured(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN if all of it is."""
    measured = values[~np.isnan(values)]
    return float(_ratio(measured.sum(), measured.size))


def _limit_to_parts(counts: np.ndarray, num_parts: int) -> np.ndarray:
    if not 1 <= num_parts <= counts.shape[0]:
        raise ValueError(f"num_parts is {num_parts}; the confusion has {counts.shape[0]} parts")
    if counts[num_parts:].any():
        raise ValueError(f"the confusion holds truth beyond the category's {num_parts} parts")
    unanswered = counts[:num_parts, num_parts:].sum(axis=1, keepdims=True)
    return np.concatenate([counts[:num_parts, :num_parts], unanswered], axis=1)


def _add(a: CategoryTally, b: CategoryTally) -> CategoryTally:
    return CategoryTally(
        a.clouds + b.clouds,
        a.counts + b.counts,
        a.shape_iou_sum + b.shape_iou_sum,
        a.present_iou_sum + b.present_iou_sum,
        a.calibration + b.calibration,
    )


def _score_category(tally: CategoryTally) -> CategoryScores:
    accuracies = part_accuracies(tally.counts)
    return CategoryScores(
        clouds=tally.clouds,
        part_points=tally.counts.sum(axis=1),
        point_accuracy=point_accuracy(tally.counts),
        mean_class_accuracy=_mean_of_measured(accuracies),
        part_accuracies=accuracies,
        part_ious=part_ious(tally.counts),
        instance_miou=tally.shape_iou_sum / tally.clouds,
        instance_miou_of_present_parts=tally.present_iou_sum / tally.clouds,
    )
