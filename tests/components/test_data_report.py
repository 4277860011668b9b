"""From hand-made statistics, through TFX's own DistributionValidator, to the page and findings."""

import itertools
import json
import math
import re

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.distribution_validator.executor import Executor as DistributionValidator
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils

from components.anomalies import DRIFT_PAIRS, SKEW_PAIRS, distribution_config, read_comparisons
from components.artifacts import DataReportPage, categories_json
from components.data_report import DataReport_Executor, split_figures
from preprocessing.checks.settings import ShiftLimits
from schema.categories import Category

TOOL = Category("Tool", "01", ("head", "<handle>"))


KINDS = statistics_pb2.FeatureNameStatistics


def feature(name, kind, values, clouds, counts=()):
    """A feature's statistics; `counts`: how often each value occurs."""
    made = statistics_pb2.FeatureNameStatistics(type=kind)
    made.path.step.append(name)
    common = (made.num_stats if kind == KINDS.FLOAT else made.string_stats).common_stats
    common.num_non_missing, common.tot_num_values = clouds, values
    common.avg_num_values = common.min_num_values = common.max_num_values = values // clouds
    common.num_values_histogram.buckets.add(low_value=values // clouds, high_value=values // clouds)
    for value in counts:
        made.string_stats.unique = len(counts)
        made.string_stats.top_values.add(value=value, frequency=counts[value])
        made.string_stats.rank_histogram.buckets.add(label=value, sample_count=counts[value])
    return made


def split_statistics(labels, categories, low=-1.0, high=1.0, points=True):
    """Statistics of a split with coordinates spread evenly between low and high."""
    clouds, number = sum(categories.values()), sum(labels.values())
    made = statistics_pb2.DatasetFeatureStatistics(num_examples=clouds)
    made.features.append(feature("labels", KINDS.INT, number, clouds, labels))
    made.features.append(feature("category", KINDS.STRING, clouds, clouds, categories))
    if points:
        coordinates = feature("points", KINDS.FLOAT, 3 * number, clouds)
        coordinates.num_stats.min, coordinates.num_stats.max = low, high
        coordinates.num_stats.mean, coordinates.num_stats.std_dev = (low + high) / 2, 0.5
        coordinates.num_stats.histograms.add().buckets.add(
            low_value=low, high_value=high, sample_count=3 * number
        )
        made.features.append(coordinates)
    return made


def statistics_artifact(folder, **splits):
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    # Newer than the change of the statistics' file format.
    artifact.mlmd_artifact.state = 2
    artifact.set_string_custom_property("tfx_version", "1.16.0")
    for split, statistics in splits.items():
        path = folder / f"Split-{split}" / "FeatureStats.pb"
        path.parent.mkdir(parents=True)
        listed = statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics])
        path.write_bytes(listed.SerializeToString())
    return artifact


def validate(folder, statistics, baseline, pairs, limits=None):
    """The result of TFX's DistributionValidator; baseline None: there is none."""
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(folder)
    DistributionValidator().Do(
        {
            "statistics": [statistics],
            "baseline_statistics": [] if baseline is None else [baseline],
        },
        {"anomalies": [anomalies]},
        {
            "include_split_pairs": json_utils.dumps(pairs),
            "distribution_validator_config": distribution_config(limits or ShiftLimits()),
        },
    )
    return anomalies


LABELS, CATEGORIES = {"0": 600, "1": 300, "-1": 100}, {"Tool": 8, "Cup": 2}
ALIKE = split_statistics(LABELS, CATEGORIES)


# Label 0 falls from 60 % to 35 %, 1 rises from 30 % to 45 %; cups from 20 % to 30 %. Coordinates:
# P is even on [-1, 1], Q on [0, 2]; compared with their mean M each has half of its mass where M
# has half as much (1 bit), and half where M has as much (0 bits).
@pytest.mark.parametrize(
    ("new", "measured", "exceeded"),
    [
        (ALIKE, {"points": 0, "labels": 0, "category": 0}, {}),
        (
            split_statistics({"0": 350, "1": 450, "-1": 200}, {"Tool": 7, "Cup": 3}),
            {"points": 0, "labels": 0.25, "category": 0.1},
            {"labels": "0"},
        ),
        (
            split_statistics(LABELS, CATEGORIES, low=0.0, high=2.0),
            {"points": 0.5, "labels": 0, "category": 0},
            {"points": ""},
        ),
        (
            split_statistics(LABELS, CATEGORIES, points=False),
            {"points": None, "labels": 0, "category": 0},
            {"points": ""},
        ),
    ],
)
def test_differences_by_hand(tmp_path, new, measured, exceeded):
    artifacts = (
        statistics_artifact(tmp_path / "new", train=new),
        statistics_artifact(tmp_path / "old", train=ALIKE),
    )
    limits = ShiftLimits(labels=0.24, category=0.11)
    drift = read_comparisons("drift", validate(tmp_path / "drift", *artifacts, DRIFT_PAIRS, limits))
    found = {one.feature: one.measured for one in drift}
    known = {name: value for name, value in measured.items() if value is not None}
    assert {name: found[name] for name in known} == pytest.approx(known, abs=1e-6)
    assert {name for name, value in found.items() if value is None} == measured.keys() - known
    assert {one.feature: one.value for one in drift if one.exceeded} == exceeded
    for one in drift:
        facts = (one.feature, "train of the last run", f"{one.limit:g}" if one.limit else "")
        assert all(fact in one.sentence for fact in facts)


def schema_anomalies(folder, **splits):
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for split, found in splits.items():
        path = folder / f"Split-{split}" / "SchemaDiff.pb"
        path.parent.mkdir(parents=True)
        path.write_bytes(found.SerializeToString())
    return artifact


def report(tmp_path, statistics, anomalies, previous=None, drift=True):
    """The page and the findings that DataReport makes of them."""
    page = DataReportPage()
    page.uri = str(tmp_path / "report")
    inputs = {
        "statistics": statistics,
        "anomalies": anomalies,
        "skew": validate(tmp_path / "skew", statistics, statistics, SKEW_PAIRS),
    }
    if drift:
        inputs["drift"] = validate(tmp_path / "drift", statistics, previous, DRIFT_PAIRS)
    DataReport_Executor().Do(
        {name: [one] for name, one in inputs.items()},
        {"data_report": [page]},
        {"categories": categories_json([TOOL]), "data": "<b>made up</b>", "code_fingerprint": ""},
    )
    folder = tmp_path / "report"
    html = (folder / "data_report.html").read_text("utf-8")
    return html, json.loads((folder / "findings.json").read_text("utf-8"))


def cells(html, name):
    """The cells of each row of that name."""
    rows = re.findall(rf'<th scope="row"[^>]*>{re.escape(name)}</th>(.*?)</tr>', html)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]


NONE = anomalies_pb2.Anomalies()


@pytest.mark.parametrize(
    ("drift", "shown", "hidden"),
    [(True, "earlier run", "platform"), (False, "platform", "earlier run")],
)
def test_a_first_run_on_sound_data_has_no_findings(tmp_path, drift, shown, hidden):
    statistics = statistics_artifact(tmp_path / "s", train=ALIKE, val=ALIKE, test=ALIKE)
    anomalies = schema_anomalies(tmp_path / "a", train=NONE, val=NONE, test=NONE)
    html, findings = report(tmp_path, statistics, anomalies, drift=drift)
    assert findings == {"anomalies": [], "drift": [], "skew": []}
    assert shown in html and hidden not in html
    # Ten clouds of a hundred points each.
    row = ["10", "1,000", "100", "100", "100", "-1", "1", "0", "0.5"]
    assert [cells(html, split) for split in ("train", "val", "test")] == [[row]] * 3
    for name, share in (("0: head", 60), ("1: &lt;handle&gt;", 30), ("unannotated", 10)):
        assert cells(html, name) == [[f"{share}.0%"] * 3]
    assert cells(html, "Cup") == [["20.0%"] * 3]
    assert "<b>" not in html and "<handle>" not in html
    assert not any(word in html for word in ("http://", "https://", "<link", "<script", "@import"))


def test_findings_have_split_feature_value_and_limit(tmp_path):
    val = split_statistics({"0": 300, "1": 600, "-1": 100}, CATEGORIES)
    before = split_statistics(LABELS, CATEGORIES, low=-100.0, high=100.0)
    statistics = statistics_artifact(tmp_path / "s", train=ALIKE, val=val, test=ALIKE)
    broken = anomalies_pb2.Anomalies()
    info = broken.anomaly_info["<i>colour"]
    info.severity = anomalies_pb2.AnomalyInfo.ERROR
    info.reason.add(type=anomalies_pb2.AnomalyInfo.SCHEMA_NEW_COLUMN, description="New column.")
    html, findings = report(
        tmp_path,
        statistics,
        schema_anomalies(tmp_path / "a", train=NONE, val=NONE, test=broken),
        statistics_artifact(tmp_path / "before", train=before),
    )
    for kind, facts in (
        ("anomalies", ("split test", "<i>colour", "New column")),
        ("drift", ("train of the last run", "feature points", "validation.drift.points")),
        ("skew", ("val compared with train", "feature labels", "0.3000", "0.2")),
    ):
        (sentence,) = findings[kind]
        assert all(fact in sentence for fact in facts)
    assert html.count('class="beyond"') == 2
    assert "<i>" not in html and cells(html, "test, feature &lt;i&gt;colour")[0][2] == "yes"


def test_a_page_is_made_of_data_without_clouds(tmp_path):
    empty = statistics_pb2.DatasetFeatureStatistics()
    statistics = statistics_artifact(tmp_path / "s", train=ALIKE, val=empty, test=ALIKE)
    missing = anomalies_pb2.Anomalies(data_missing=True)
    anomalies = schema_anomalies(tmp_path / "a", train=NONE, val=missing, test=NONE)
    html, findings = report(tmp_path, statistics, anomalies)
    assert "val, the data set" in findings["anomalies"][0]
    assert len(findings["skew"]) == 3
    assert cells(html, "val") == [["0"] + ["-"] * 8]


@pytest.mark.parametrize(
    ("kind", "edges", "median", "points"),
    [
        (KINDS.FLOAT, [3, 9, 12], 3, 10),
        (KINDS.FLOAT, [3, 9], 2, 10),
        (KINDS.FLOAT, [], math.nan, 10),
        (KINDS.STRING, [3, 9], math.nan, math.nan),
    ],
)
def test_the_median_is_the_middle_of_equally_full_buckets(kind, edges, median, points):
    statistics = statistics_pb2.DatasetFeatureStatistics(num_examples=4)
    statistics.features.append(feature("points", kind, 30, 4))
    one = statistics.features[0]
    common = (one.num_stats if kind == KINDS.FLOAT else one.string_stats).common_stats
    common.num_values_histogram.Clear()
    for low, high in itertools.pairwise(edges):
        common.num_values_histogram.buckets.add(low_value=low, high_value=high)
    figures = split_figures(statistics)
    assert [figures["median"], figures["points"]] == pytest.approx([median, points], nan_ok=True)
    assert (figures["clouds"], figures["labels"], figures["categories"]) == (4, {}, {})
