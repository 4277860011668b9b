"""A split's figures, taken from TFDV's statistics; points are never read again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tensorflow_metadata.proto.v0 import statistics_pb2

from schema.record import CATEGORY, LABELS, POINTS

_NO_FEATURE = statistics_pb2.FeatureNameStatistics()


@dataclass(frozen=True)
class SplitFigures:
    """What a split holds. A figure that the statistics lack is NaN.

    Attributes:
      split: its name.
      clouds: number of clouds.
      points: number of points of all of them.
      fewest: points of the smallest cloud.
      median: points of the middle cloud, as TFDV estimates it.
      most: points of the largest cloud.
      lowest: smallest raw coordinate, x, y and z together.
      highest: largest raw coordinate.
      mean: mean of the raw coordinates.
      deviation: their standard deviation.
      labels: number of points by label.
      categories: number of clouds by category.
    """

    split: str
    clouds: float = 0
    points: float = math.nan
    fewest: float = math.nan
    median: float = math.nan
    most: float = math.nan
    lowest: float = math.nan
    highest: float = math.nan
    mean: float = math.nan
    deviation: float = math.nan
    labels: Mapping[int, float] = field(default_factory=dict)
    categories: Mapping[str, float] = field(default_factory=dict)


def split_figures(split: str, statistics: statistics_pb2.DatasetFeatureStatistics) -> SplitFigures:
    """Takes the figures from a split's statistics.

    Args:
      split: its name.
      statistics: of the records of schema/record.py; features may be missing or of another type.
    """
    features = {".".join(feature.path.step): feature for feature in statistics.features}
    coordinates = features.get(POINTS, _NO_FEATURE)
    numbers = coordinates.num_stats
    sizes = numbers.common_stats
    measured = coordinates.HasField("num_stats") and sizes.tot_num_values > 0
    return SplitFigures(
        split,
        clouds=statistics.num_examples,
        points=_points(sizes.tot_num_values, measured),
        fewest=_points(sizes.min_num_values, measured),
        median=_points(_median(sizes.num_values_histogram), measured),
        most=_points(sizes.max_num_values, measured),
        lowest=numbers.min if measured else math.nan,
        highest=numbers.max if measured else math.nan,
        mean=numbers.mean if measured else math.nan,
        deviation=numbers.std_dev if measured else math.nan,
        labels={
            int(value): number
            for value, number in _counts(features.get(LABELS, _NO_FEATURE)).items()
            if value.removeprefix("-").isdecimal()
        },
        categories=_counts(features.get(CATEGORY, _NO_FEATURE)),
    )


def _points(coordinates: float, measured: bool) -> float:
    return coordinates // 3 if measured else math.nan


def _median(quantiles: statistics_pb2.Histogram) -> float:
    """The middle of a histogram whose buckets hold equally many clouds."""
    buckets = quantiles.buckets
    if not buckets:
        return math.nan
    below, above = buckets[(len(buckets) - 1) // 2], buckets[len(buckets) // 2]
    if below == above:
        return (below.low_value + below.high_value) / 2
    return below.high_value


def _counts(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, float]:
    """How often each value of a categorical feature occurs, the most frequent first."""
    return {
        bucket.label: bucket.sample_count for bucket in feature.string_stats.rank_histogram.buckets
    }
