"""How sure a score is: Poisson bootstrap over clouds, in constant memory and any order.

    shape id -> replicate_weights -> how often the cloud is in each of REPLICATES resampled sets
    tallies weighted so, added up -> replicate_scores -> interval; difference of two models' scores

A set of n clouds drawn with replacement holds each of them about Poisson(1) times (Chamandy et al.,
"Estimating Uncertainty for Massive Data Streams", 2012). The weights follow from the shape's id, so
that two models are measured on the same resampled sets, wherever their clouds are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from model.metrics import CategoryTally

REPLICATES = 1000
# Between the quantiles 2.5 % and 97.5 % of the replicates' scores.
CONFIDENCE = 0.95
# Resampling fewer clouds says nothing about other clouds.
FEWEST_CLOUDS = 5
HEADLINES = (
    "point_accuracy",
    "instance_miou",
    "category_miou",
    "instance_miou_of_present_parts",
)


def replicate_weights(shape_id: str) -> np.ndarray:
    """How often each resampled set holds a cloud, int64 [REPLICATES]."""
    digest = hashlib.sha256(shape_id.encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    return generator.poisson(1.0, REPLICATES)


def replicate_tally(shape_id: str, tally: CategoryTally) -> np.ndarray:
    """What one cloud adds to each resampled set; these add up.

    Args:
      shape_id: the cloud's.
      tally: the cloud's.

    Returns:
      float64 [REPLICATES, 5]: clouds, points found, points, shape IoU, shape IoU over present
      parts, each as often as the set holds the cloud.
    """
    values = (
        tally.clouds,
        np.trace(tally.counts),
        tally.counts.sum(),
        tally.shape_iou_sum,
        tally.present_iou_sum,
    )
    return np.outer(replicate_weights(shape_id), np.asarray(values, np.float64))


def replicate_scores(tallies: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each headline score in each resampled set, float64 [REPLICATES]; NaN in an empty set.

    Args:
      tallies: the sum over each category's clouds, by its name, see `replicate_tally`.
    """
    by_category = list(tallies.values())
    total = sum(by_category, np.zeros((REPLICATES, 5)))
    with np.errstate(invalid="ignore", divide="ignore"):
        category_mious = np.stack(
            [sums[:, 3] / sums[:, 0] for sums in by_category] or [np.full(REPLICATES, np.nan)]
        )
        drawn = ~np.isnan(category_mious)  # a set may hold no cloud of a category
        return {
            "point_accuracy": total[:, 1] / total[:, 2],
            "instance_miou": total[:, 3] / total[:, 0],
            "category_miou": np.where(drawn, category_mious, 0).sum(axis=0) / drawn.sum(axis=0),
            "instance_miou_of_present_parts": total[:, 4] / total[:, 0],
        }


def interval(scores: np.ndarray, clouds: float) -> tuple[float, float]:
    """Where a score, or a difference of two, lies in CONFIDENCE of the resampled sets.

    Args:
      scores: float64 [REPLICATES].
      clouds: how many clouds were measured.

    Returns:
      The lower and the upper end; NaN of fewer than FEWEST_CLOUDS clouds.
    """
    known = scores[np.isfinite(scores)]
    if clouds < FEWEST_CLOUDS or not known.size:
        return float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
