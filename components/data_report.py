"""DataReport: what TFDV knows of a run's data, as one page, before anything is trained on it."""

import json
import math
import os
from typing import Any

import numpy as np
from absl import logging
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import v1 as tfx
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics

from components.anomalies import read_anomalies, read_comparisons
from components.artifacts import DataReportPage, categories_from_json, write_file
from reports.data_page import data_page
from schema.record import CATEGORY, LABELS, POINTS, SPLITS

PAGE_FILE, FINDINGS_FILE = "data_report.html", "findings.json"
_NO_FEATURE = statistics_pb2.FeatureNameStatistics()


@tfx.dsl.components.component
def DataReport(
    statistics: tfx.dsl.components.InputArtifact[ExampleStatistics],
    anomalies: tfx.dsl.components.InputArtifact[ExampleAnomalies],
    skew: tfx.dsl.components.InputArtifact[ExampleAnomalies],
    data_report: tfx.dsl.components.OutputArtifact[DataReportPage],
    categories: tfx.dsl.components.Parameter[str],
    data: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
    drift: tfx.dsl.components.InputArtifact[ExampleAnomalies] = None,  # type: ignore[assignment]
) -> None:
    """Writes the page, and the findings for the run's summary. `data`: which shapes these are.

    `drift` is None where the platform cannot compare with the last run.
    """
    del code_fingerprint
    found = read_anomalies(anomalies)
    skews = read_comparisons("skew", skew)
    drifts = read_comparisons("drift", drift) if drift else None
    findings = {
        "anomalies": [anomaly.sentence for anomaly in found],
        "drift": [one.sentence for one in drifts or () if one.exceeded],
        "skew": [one.sentence for one in skews if one.exceeded],
    }
    for kind, sentences in findings.items():
        for sentence in sentences:
            logging.warning("%s: %s", kind, sentence)
    names = artifact_utils.decode_split_names(statistics.split_names)
    figures = {}
    for split in sorted(names, key=[*SPLITS, *names].index):
        counted = stats_artifact_utils.load_statistics(statistics, split).proto()
        figures[split] = split_figures(counted.datasets[0])
    page = data_page(data, found, figures, categories_from_json(categories), skews, drifts)
    write_file(os.path.join(data_report.uri, PAGE_FILE), page)
    write_file(os.path.join(data_report.uri, FINDINGS_FILE), json.dumps(findings, indent=2) + "\n")


def split_figures(statistics: statistics_pb2.DatasetFeatureStatistics) -> dict[str, Any]:
    """A split's figures, see reports/data_page.py; features may be missing or of another type."""
    features = {".".join(feature.path.step): feature for feature in statistics.features}
    coordinates = features.get(POINTS, _NO_FEATURE)
    numbers = coordinates.num_stats
    sizes = numbers.common_stats
    known = coordinates.HasField("num_stats") and sizes.tot_num_values > 0
    # A point has three coordinates.
    values = {
        "points": sizes.tot_num_values // 3,
        "fewest": sizes.min_num_values // 3,
        "median": _median(sizes.num_values_histogram) // 3,
        "most": sizes.max_num_values // 3,
        "lowest": numbers.min,
        "highest": numbers.max,
        "mean": numbers.mean,
        "deviation": numbers.std_dev,
    }
    labels = _counts(features.get(LABELS, _NO_FEATURE))
    return {
        "clouds": statistics.num_examples,
        **{name: value if known else math.nan for name, value in values.items()},
        "labels": {int(k): n for k, n in labels.items() if k.removeprefix("-").isdecimal()},
        "categories": _counts(features.get(CATEGORY, _NO_FEATURE)),
    }


def _median(quantiles: statistics_pb2.Histogram) -> float:
    """The median of a histogram whose buckets have equally many clouds."""
    buckets = quantiles.buckets
    edges = [bucket.low_value for bucket in buckets] + [
        bucket.high_value for bucket in buckets[-1:]
    ]
    return float(np.interp(len(buckets) / 2, range(len(edges)), edges)) if buckets else math.nan


def _counts(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, float]:
    """How often each value of a categorical feature occurs."""
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: bucket.sample_count for bucket in buckets}
