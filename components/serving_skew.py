"""Serving skew: do requested clouds look like those that trained the model? By TFDV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.anomalies import comparators
from preprocessing.checks.settings import ShiftLimits
from preprocessing.conversion.beam_options import IN_PROCESS
from schema.record import CATEGORY, LABELS, POINTS, UNKNOWN_CATEGORY


@dataclass(frozen=True)
class Skew:
    """The difference of a feature between served and training clouds, 0 to 1, and its limit."""

    feature: str
    measure: str
    value: float
    limit: float

    @property
    def exceeds(self) -> bool:
        return self.value > self.limit


@dataclass(frozen=True)
class Clouds:
    """The number of clouds and the sizes of the average and the largest one."""

    count: int
    mean_points: float
    most_points: int


def measure_skew(
    served: str, trained: str, limits: ShiftLimits
) -> tuple[list[Skew], Clouds, Clouds]:
    """Compares GZIP TFRecord files of requests and of the training split, given as patterns.

    Returns the differences in coordinates, and in categories if the requests have them, and both
    sets' sizes, served first. Labels are not compared.
    """
    import tensorflow_data_validation as tfdv
    from apache_beam.options.pipeline_options import PipelineOptions
    from tensorflow_metadata.proto.v0 import schema_pb2

    options = PipelineOptions(list(IN_PROCESS))
    requests, training = (
        tfdv.generate_statistics_from_tfrecord(files, pipeline_options=options)
        for files in (served, trained)
    )
    schema = schema_pb2.Schema()
    for name, comparator in comparators(limits).items():
        if name != LABELS and (name != CATEGORY or _has_categories(requests)):
            kind = schema_pb2.FLOAT if name == POINTS else schema_pb2.BYTES
            schema.feature.add(name=name, type=kind, skew_comparator=comparator)
    compared = tfdv.validate_statistics(training, schema, serving_statistics=requests)
    skews = []
    for info in compared.drift_skew_info:
        feature = info.path.step[0]
        measure = "Jensen-Shannon divergence" if feature == POINTS else "largest change of a share"
        skews += [Skew(feature, measure, m.value, m.threshold) for m in info.skew_measurements]
    return skews, _clouds(requests), _clouds(training)


def _feature(statistics: Any, name: str) -> Any:
    (data,) = statistics.datasets
    return next(f for f in data.features if name in (f.name, *f.path.step))


def _has_categories(statistics: Any) -> bool:
    buckets = _feature(statistics, CATEGORY).string_stats.rank_histogram.buckets
    return [bucket.label for bucket in buckets] != [UNKNOWN_CATEGORY]


def _clouds(statistics: Any) -> Clouds:
    (data,) = statistics.datasets
    common = _feature(statistics, POINTS).num_stats.common_stats
    return Clouds(int(data.num_examples), common.avg_num_values / 3, common.max_num_values // 3)
