"""Metrics of a segmentation from confusion counts: accuracy, IoU, calibration. NumPy only.

    one cloud's truth [n], prediction [n]  -> confusion    int64 [K, K + 1]
    confusion, category, parts             -> tally_cloud  CategoryTally
    tallies, in any order and grouping     -> merge        CategoryTally
    tallies of all categories              -> score        Scores

Training, the Evaluator and the report all use these functions, so that their numbers agree.

Conventions:

- **Shape IoU** is the mean over the parts of the shape's category of |truth and prediction| /
  |truth or prediction|; a part absent from both counts 1. **Instance mIoU** is its mean over
  shapes, **category mIoU** the mean of the categories' means. Source: `part_seg/test.py` of
  PointNet's published code; the papers report these two.
- **Instance mIoU over present parts** takes only the parts in the shape's truth.
- **Pooled IoU** of a part sums its points over all shapes before dividing; **part accuracy** is
  the part's recall; **mean class accuracy** is the mean of the recalls of all parts that occur.
- A point of truth -1 (unannotated) is ignored: it is neither missed nor wrongly predicted. A
  prediction outside the category's parts, such as -1 for "no answer", is wrong: it misses the
  point's part and counts as a prediction of none. A cloud without annotated points is ignored.
- **Expected calibration error**: points are put into 15 bins of equal width by the probability of
  their answer; it is the mean over points of |share of right answers - mean probability| of their
  bin. Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2.
- A value without any measurement (the recall of a part that no shape has) is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import reduce
from operator import add

import numpy as np

from schema.record import UNANNOTATED

CALIBRATION_BINS = 15
# Probabilities are summed as integer multiples of this, so that sums do not depend on the order.
PROBABILITY_UNIT = 2.0**-20


def confusion(truth: np.ndarray, prediction: np.ndarray, num_parts: int) -> np.ndarray:
    """One cloud's points by truth (rows) and prediction (columns), int64 [K, K + 1].

    `truth`, int [n], is a part or -1, unannotated. The last column counts predictions, int [n],
    outside 0 to K - 1. ValueError: the lengths differ, or a truth is neither -1 nor a part.
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
            f"truth has labels from {truth.min()} to {truth.max()}; a category of {num_parts} "
            f"parts has labels 0 to {num_parts - 1}, and -1 for unannotated points"
        )
    answered = (prediction >= 0) & (prediction < num_parts)
    column = np.where(answered, prediction, num_parts)
    cell = truth.astype(np.int64) * (num_parts + 1) + column.astype(np.int64)
    counts = np.bincount(cell, minlength=num_parts * (num_parts + 1))
    return counts.reshape(num_parts, num_parts + 1).astype(np.int64)


def part_ious(counts: np.ndarray) -> np.ndarray:
    """IoU of each part, float64 [K], of a confusion; NaN: absent from truth and prediction."""
    hits, in_truth = np.diagonal(counts), counts.sum(axis=1)
    predicted = counts[:, :-1].sum(axis=0)
    return _ratio(hits, in_truth + predicted - hits)


def part_accuracies(counts: np.ndarray) -> np.ndarray:
    """Recall of each part, float64 [K], of a confusion; NaN: absent from the truth."""
    return _ratio(np.diagonal(counts), counts.sum(axis=1))


def point_accuracy(counts: np.ndarray) -> float:
    """Share of a confusion's points with the right part; NaN if it has none."""
    return float(_ratio(np.trace(counts), counts.sum()))


def shape_iou(counts: np.ndarray) -> float:
    """Mean part IoU of one cloud's confusion; a part absent from truth and prediction counts 1."""
    ious = part_ious(counts)
    return float(np.mean(np.where(np.isnan(ious), 1.0, ious)))


def shape_iou_of_present_parts(counts: np.ndarray) -> float:
    """Mean IoU of the parts in the truth of one cloud's confusion; NaN if there are none."""
    present = counts.sum(axis=1) > 0
    return float(np.mean(part_ious(counts)[present])) if present.any() else float("nan")


def calibration_counts(
    truth: np.ndarray, prediction: np.ndarray, probability: np.ndarray
) -> np.ndarray:
    """One cloud's points by the probability of their answer, int64 [CALIBRATION_BINS, 3].

    The columns are the bin's points, right answers, and sum of probabilities in PROBABILITY_UNIT.
    `truth` and `prediction`, int [n], are parts; a point with -1 in either is ignored.
    `probability`, float [n], is the answer's.
    """
    counted = (np.asarray(truth) != UNANNOTATED) & (np.asarray(prediction) >= 0)
    right = (np.asarray(truth) == prediction)[counted]
    confidence = np.asarray(probability, np.float32)[counted]
    scaled = (confidence * np.float32(CALIBRATION_BINS)).astype(np.int64)
    place = np.clip(scaled, 0, CALIBRATION_BINS - 1)
    units = np.rint(confidence.astype(np.float64) / PROBABILITY_UNIT).astype(np.int64)
    counts = np.zeros((CALIBRATION_BINS, 3), np.int64)
    np.add.at(counts, place, np.stack([np.ones_like(units), right.astype(np.int64), units], 1))
    return counts


def expected_calibration_error(counts: np.ndarray) -> float:
    """The error, 0 to 1, from the counts of `calibration_counts`; NaN without any answer."""
    points, right, confidence = counts.astype(np.float64).T
    gap = np.abs(right - confidence * PROBABILITY_UNIT).sum()
    return float(_ratio(gap, points.sum()))


def no_calibration() -> np.ndarray:
    """The calibration counts of no points."""
    return np.zeros((CALIBRATION_BINS, 3), np.int64)


@dataclass(frozen=True)
class CategoryTally:
    """Sums over the clouds of one category; tallies can be added in any order.

    Attributes:
      clouds: number of clouds with at least one annotated point.
      counts: int64 [K, K + 1], sum of their confusions.
      shape_iou_sum: sum of their shape IoUs.
      present_iou_sum: sum of their shape IoUs over present parts.
      calibration: int64 [CALIBRATION_BINS, 3], sum of their calibration counts; all 0 if the
        probabilities are unknown.
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

    `counts` is a confusion [K, K + 1]. If the cloud's category has fewer than K parts, because
    clouds of several categories share one array, `num_parts` is their number; predictions beyond
    them count as no answer. `calibration` is from `calibration_counts`; None: unknown. ValueError:
    `counts` is not [K, K + 1], or has truth beyond `num_parts`.
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
    """The sum of one category's tallies. ValueError: none, or their numbers of parts differ."""
    tallies = list(tallies)
    if not tallies:
        raise ValueError("there is no tally to merge")
    if len({tally.counts.shape for tally in tallies}) > 1:
        raise ValueError("the tallies are of categories with different numbers of parts")
    names = [one.name for one in fields(CategoryTally)]
    return CategoryTally(*(reduce(add, (getattr(t, name) for t in tallies)) for name in names))


@dataclass(frozen=True)
class CategoryScores:
    """Scores of one category; `part_points` int64 [K] are the annotated points of each part."""

    clouds: int
    part_points: np.ndarray
    point_accuracy: float
    mean_class_accuracy: float
    part_accuracies: np.ndarray  # float64 [K]
    part_ious: np.ndarray  # float64 [K], pooled over shapes
    instance_miou: float
    instance_miou_of_present_parts: float


@dataclass(frozen=True)
class Scores:
    """Scores of all shapes in the conventions of this module; `points` are the annotated ones.

    `calibration_error` is NaN without probabilities. `categories` has the categories with at least
    one measured shape.
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
    """Scores from the tally of each category, by its name; all NaN if no cloud was measured."""
    measured = {name: tally for name, tally in tallies.items() if tally.clouds}
    categories = {name: _score_category(tally) for name, tally in measured.items()}
    clouds = sum(tally.clouds for tally in measured.values())
    hits = sum(int(np.trace(tally.counts)) for tally in measured.values())
    points = sum(int(tally.counts.sum()) for tally in measured.values())
    shape_ious = sum(tally.shape_iou_sum for tally in measured.values())
    present_ious = sum(tally.present_iou_sum for tally in measured.values())
    category_mious = sum(scores.instance_miou for scores in categories.values())
    accuracies = [scores.part_accuracies for scores in categories.values()]
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
    """Scores from each cloud's confusion, category and, where K is larger, number of parts.

    ValueError: the arguments differ in length, or see `tally_cloud`.
    """
    confusions = list(confusions)
    parts: Sequence[int | None] = [None] * len(confusions) if num_parts is None else num_parts
    by_category: dict[str, list[CategoryTally]] = {}
    for counts, category, count in zip(confusions, categories, parts, strict=True):
        by_category.setdefault(category, []).append(tally_cloud(counts, count))
    return score({category: merge(tallies) for category, tallies in by_category.items()})


def _ratio(above: np.ndarray | float, below: np.ndarray | float) -> np.ndarray:
    """The quotient in float64, NaN where `below` is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below != 0)


def _mean_of_measured(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN if all are."""
    measured = values[~np.isnan(values)]
    return float(_ratio(measured.sum(), measured.size))


def _limit_to_parts(counts: np.ndarray, num_parts: int) -> np.ndarray:
    if not 1 <= num_parts <= counts.shape[0]:
        raise ValueError(f"num_parts is {num_parts}; the confusion has {counts.shape[0]} parts")
    if counts[num_parts:].any():
        raise ValueError(f"the confusion has truth beyond the category's {num_parts} parts")
    unanswered = counts[:num_parts, num_parts:].sum(axis=1, keepdims=True)
    return np.concatenate([counts[:num_parts, :num_parts], unanswered], axis=1)


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
