"""Figures from statistics, and names of labels."""

import itertools
import math

import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.data_report.figures import split_figures
from components.data_report.page import label_name
from schema.categories import Category

TOOL, CUP = Category("Tool", "01", ("head", "handle")), Category("Cup", "02", ("body",))


@pytest.mark.parametrize(
    ("label", "one", "two"),
    [
        (0, "0: head", "0: Tool head, Cup body"),
        (1, "1: handle", "1: Tool handle"),
        (-1, "unannotated", "unannotated"),
        (2, "2: no part", "2: no part"),
        (-2, "-2: no part", "-2: no part"),
    ],
)
def test_a_label_is_named_by_its_part(label, one, two):
    assert label_name(label, (TOOL,)) == one
    assert label_name(label, (TOOL, CUP)) == two


@pytest.mark.parametrize(("edges", "median"), [([3, 9, 12], 3), ([3, 9], 2), ([], math.nan)])
def test_the_median_is_the_middle_of_equally_full_buckets(edges, median):
    statistics = statistics_pb2.DatasetFeatureStatistics(num_examples=4)
    feature = statistics.features.add()
    feature.path.step.append("points")
    feature.num_stats.common_stats.tot_num_values = 30
    buckets = feature.num_stats.common_stats.num_values_histogram.buckets
    for low, high in itertools.pairwise(edges):
        buckets.add(low_value=low, high_value=high)
    figures = split_figures("train", statistics)
    assert figures.median == pytest.approx(median, nan_ok=True)
    assert figures.points == 10


def test_features_that_are_missing_or_of_another_type_give_no_figures():
    statistics = statistics_pb2.DatasetFeatureStatistics(num_examples=4)
    points = statistics.features.add()
    points.path.step.append("points")
    points.string_stats.common_stats.tot_num_values = 30
    figures = split_figures("train", statistics)
    assert figures.clouds == 4
    assert math.isnan(figures.points) and math.isnan(figures.mean)
    assert (figures.labels, figures.categories) == ({}, {})
