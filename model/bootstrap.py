"""Confidence intervals of scores: Poisson bootstrap over clouds, in constant memory and any order.

    shape id -> replicate_weights -> count of the cloud in each of REPLICATES resampled sets
    tallies times weights, summed -> replicate_scores -> interval of a score or a difference

A set of n clouds drawn with replacement contains each of them about Poisson(1) times (Chamandy et
al., "Estimating Uncertainty for Massive Data Streams", 2012). The weights depend on the shape's id
alone, so that two models are measured on the same resampled sets, wherever they are evaluated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from model.metrics import CategoryTally

REPLICATES = 1000
# Between the quantiles 2.5 % and 97.5 % of the replicates' scores.
CONFIDENCE = 0.95
# With fewer clouds there is no interval: resampling them says nothing about other clouds.
FEWEST_CLOUDS = 5


def replicate_weights(shape_id: str) -> np.ndarray:
    """How often each resampled set contains a cloud, int64 [REPLICATES]."""
    digest = hashlib.sha256(shape_id.encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    return generator.poisson(1.0, REPLICATES)


def replicate_tally(shape_id: str, tally: CategoryTally) -> np.ndarray:
    """One cloud's contribution to each resampled set, float64 [REPLICATES, 5]; these add up.

    The columns are clouds, right points, points, shape IoU and shape IoU over present parts, each
    times the cloud's weight in the set.
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
    """Each headline metric in each resampled set, float64 [REPLICATES]; NaN in an empty set.

    Takes, by category name, the sum of `replicate_tally` over the category's clouds.
    """
    by_category = list(tallies.values())
    total = sum(by_category, np.zeros((REPLICATES, 5)))
    with np.errstate(invalid="ignore", divide="ignore"):
        category_mious = np.stack(
            [sums[:, 3] / sums[:, 0] for sums in by_category] or [np.full(REPLICATES, np.nan)]
        )
        drawn = ~np.isnan(category_mious)  # a set may lack a category
        return {
            "point_accuracy": total[:, 1] / total[:, 2],
            "instance_miou": total[:, 3] / total[:, 0],
            "category_miou": np.where(drawn, category_mious, 0).sum(axis=0) / drawn.sum(axis=0),
            "instance_miou_of_present_parts": total[:, 4] / total[:, 0],
        }


def interval(scores: np.ndarray, clouds: float) -> tuple[float, float]:
    """The CONFIDENCE interval (low, high) of a score, or of a difference, float64 [REPLICATES].

    NaN if fewer than FEWEST_CLOUDS `clouds` were measured.
    """
    known = scores[np.isfinite(scores)]
    if clouds < FEWEST_CLOUDS or not known.size:
        return float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
