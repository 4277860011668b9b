"""Every measured value by its key, from the tallies of a set of clouds.

Beside the metrics of `model/metric_table.py` and the intervals of their headlines:

    clouds, points, part_points/<part>, confusion/<true part>/<predicted part or NO_ANSWER>
    trivial_accuracy/<part>, trivial_iou/<part>    see `trivial_scores`
    replicates/<headline>                          an array, see model/bootstrap.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from model.bootstrap import interval, replicate_scores
from model.metric_table import (
    DIFFERENCE_HIGH,
    DIFFERENCE_LOW,
    HEADLINES,
    INTERVAL_HIGH,
    INTERVAL_LOW,
    METRICS,
    NO_ANSWER,
)
from model.metrics import CategoryTally, score
from schema.categories import Category, part_names

Replicates = Mapping[str, np.ndarray]


def metric_names(categories: tuple[Category, ...]) -> list[str]:
    """The keys that `measurements` gives, in its order."""
    return list(measurements({}, categories, {}))


def measurements(
    tallies: Mapping[str, CategoryTally], categories: tuple[Category, ...], replicates: Replicates
) -> dict[str, Any]:
    """Every value by its key; NaN for what cannot be measured.

    `tallies` and `replicates` (of resampled sets, see model/bootstrap.py) are by category name;
    `categories` are all that the model knows.
    """
    scores = score(tallies)
    values: dict[str, Any] = {"clouds": float(scores.clouds), "points": float(scores.points)}
    values |= {m.key: getattr(scores, m.key) for m in METRICS if m.kind != "part"}
    resampled = replicate_scores(replicates)
    for name in HEADLINES:
        low, high = interval(resampled[name], scores.clouds)
        values[f"{INTERVAL_LOW}/{name}"], values[f"{INTERVAL_HIGH}/{name}"] = low, high
        values[f"replicates/{name}"] = resampled[name]
    names = iter(part_names(categories))
    for category in categories:
        labels = [next(names) for _ in category.parts]
        own = scores.categories.get(category.name)
        count = len(category.parts)
        counts = tallies[category.name].counts if own else np.zeros((count, count + 1))
        points, unknown = counts.sum(axis=1), np.full(count, math.nan)
        accuracy, iou = trivial_scores(points)
        for key, of_parts in (
            ("part_accuracy", own.part_accuracies if own else unknown),
            ("part_iou", own.part_ious if own else unknown),
            ("part_points", points),
            ("trivial_accuracy", accuracy),
            ("trivial_iou", iou),
        ):
            values |= {f"{key}/{p}": float(v) for p, v in zip(labels, of_parts, strict=True)}
        for part, row in zip(labels, counts, strict=True):
            for predicted, number in zip([*labels, NO_ANSWER], row, strict=True):
                values[f"confusion/{part}/{predicted}"] = float(number)
    return values


def trivial_scores(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What answers that ignore the cloud reach on each part of a category, float64 [K] each.

    Accuracy of answering at random by the parts' shares of `points` [K]; IoU of answering every
    point with the most frequent part. NaN without points.
    """
    total = points.sum()
    if not total:
        return np.full(len(points), math.nan), np.full(len(points), math.nan)
    share = points / total
    return share, np.where(points == points.max(), share, 0.0)


def differences(mine: Replicates, others: Replicates, clouds: float) -> dict[str, float]:
    """Ends of the intervals of a model's headlines less another's, by key."""
    one, other = replicate_scores(mine), replicate_scores(others)
    values = {}
    for name in HEADLINES:
        low, high = interval(one[name] - other[name], clouds)
        values[f"{DIFFERENCE_LOW}/{name}"], values[f"{DIFFERENCE_HIGH}/{name}"] = low, high
    return values
