"""Serving skew: do the clouds that a server is asked for look like those that trained its model?

TFDV's own comparison, with the limits of the config's validation.skew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.distribution_limits import comparators
from components.settings import ShiftLimits
from preprocessing.conversion.beam_options import IN_PROCESS
from schema.record import CATEGORY, LABELS, POINTS, UNKNOWN_CATEGORY


@dataclass(frozen=True)
class Skew:
    """How far one feature of the served clouds is from that of the training clouds.

    Attributes:
      feature: its name.
      measure: what was measured, in words.
      value: the measured difference, 0 to 1.
      limit: the largest that is allowed.
    """

    feature: str
    measure: str
    value: float
    limit: float

    @property
    def exceeds(self) -> bool:
        """Whether it is beyond the limit."""
        return self.value > self.limit


@dataclass(frozen=True)
class Clouds:
    """How many clouds there are, and how large.

    Attributes:
      count: of clouds.
      mean_points: of a cloud.
      most_points: of the largest.
    """

    count: int
    mean_points: float
    most_points: int


def measure_skew(
    served: str, trained: str, limits: ShiftLimits
) -> tuple[list[Skew], Clouds, Clouds]:
    """Compares two sets of records, GZIP TFRecord files of tf.Examples.

    Args:
      served: a pattern of the requests' files; labels in them are not looked at.
      trained: a pattern of the training split's.
      limits: of the differences; the labels' does not count.

    Returns:
      The difference in coordinates, and in categories where the requests have them; and what both
      sets hold, served first.
    """
    import tensorflow_data_validation as tfdv
    from apache_beam.options.pipeline_options import PipelineOptions
    from tensorflow_metadata.proto.v0 import schema_pb2

    statistics = [
        tfdv.generate_statistics_from_tfrecord(
            files, pipeline_options=PipelineOptions(list(IN_PROCESS))
        )
        for files in (served, trained)
    ]
    schema = schema_pb2.Schema()
    for name, comparator in comparators(limits).items():
        if name == LABELS or (name == CATEGORY and _only_unknown(statistics[0])):
            continue
        kind = schema_pb2.FLOAT if name == POINTS else schema_pb2.BYTES
        schema.feature.add(name=name, type=kind, skew_comparator=comparator)
    found = tfdv.validate_statistics(statistics[1], schema, serving_statistics=statistics[0])
    skews = [
        Skew(info.path.step[0], _MEASURES[measured.type], measured.value, measured.threshold)
        for info in found.drift_skew_info
        for measured in info.skew_measurements
    ]
    return skews, _clouds(statistics[0]), _clouds(statistics[1])


# By the number of tensorflow_metadata's DriftSkewInfo.Measurement.Type.
_MEASURES = {
    1: "largest change of a value's share",
    2: "Jensen-Shannon divergence",
    3: "largest change of a value's share",
}


def _feature(statistics: Any, name: str) -> Any:
    (data,) = statistics.datasets
    return next(f for f in data.features if name in (f.name, *f.path.step))


def _only_unknown(statistics: Any) -> bool:
    values = _feature(statistics, CATEGORY).string_stats.rank_histogram.buckets
    return [value.label for value in values] == [UNKNOWN_CATEGORY]


def _clouds(statistics: Any) -> Clouds:
    (data,) = statistics.datasets
    common = _feature(statistics, POINTS).num_stats.common_stats
    return Clouds(int(data.num_examples), common.avg_num_values / 3, common.max_num_values // 3)
