"""From hand-made statistics, through TFX's own DistributionValidator, to the page and findings."""

import json

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.distribution_validator.executor import Executor as DistributionValidator
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils

from components.anomalies import read_comparisons
from components.data_report.component import DataReportPage
from components.data_report.executor import Executor
from components.distribution_limits import DRIFT_PAIRS, SKEW_PAIRS, distribution_config
from components.settings import ShiftLimits
from schema.categories import Category

TOOL = Category("Tool", "01", ("head", "<handle>"))


def feature(name, kind, values, clouds):
    """A feature's statistics without its values' own."""
    made = statistics_pb2.FeatureNameStatistics(type=kind)
    made.path.step.append(name)
    field = made.num_stats if kind == statistics_pb2.FeatureNameStatistics.FLOAT else None
    common = (field if field is not None else made.string_stats).common_stats
    common.num_non_missing = clouds
    common.min_num_values = common.max_num_values = values // clouds
    common.avg_num_values = values / clouds
    common.tot_num_values = values
    common.num_values_histogram.buckets.add(low_value=values // clouds, high_value=values // clouds)
    return made


def counted(name, kind, counts, clouds):
    """A categorical feature's statistics: {value: how often}."""
    made = feature(name, kind, sum(counts.values()), clouds)
    made.string_stats.unique = len(counts)
    for value, number in counts.items():
        made.string_stats.top_values.add(value=value, frequency=number)
        made.string_stats.rank_histogram.buckets.add(label=value, sample_count=number)
    return made


def split_statistics(labels, categories, low=-1.0, high=1.0, points=True):
    """Statistics of a split whose coordinates lie evenly between low and high."""
    kinds = statistics_pb2.FeatureNameStatistics
    clouds, number = sum(categories.values()), sum(labels.values())
    made = statistics_pb2.DatasetFeatureStatistics(num_examples=clouds)
    made.features.append(counted("labels", kinds.INT, labels, clouds))
    made.features.append(counted("category", kinds.STRING, categories, clouds))
    if points:
        coordinates = feature("points", kinds.FLOAT, 3 * number, clouds)
        coordinates.num_stats.min, coordinates.num_stats.max = low, high
        coordinates.num_stats.mean = (low + high) / 2
        coordinates.num_stats.std_dev = 0.5
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
    """What TFX's DistributionValidator makes of two statistics; baseline None: there is none."""
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


def comparisons(tmp_path, new, old, **limits):
    artifacts = (
        statistics_artifact(tmp_path / "new", train=new),
        statistics_artifact(tmp_path / "old", train=old),
    )
    drift = validate(tmp_path / "drift", *artifacts, DRIFT_PAIRS, ShiftLimits(**limits))
    return {found.feature: found for found in read_comparisons("drift", drift)}


def test_what_is_alike_is_measured_and_is_no_drift(tmp_path):
    found = comparisons(tmp_path, ALIKE, ALIKE)
    assert {name: (c.found, c.exceeded) for name, c in found.items()} == {
        "points": (0.0, False),
        "labels": (0.0, False),
        "category": (0.0, False),
    }
    assert found["points"].limit == 0.1


def test_the_largest_change_of_a_share_by_hand(tmp_path):
    # Label 0 falls from 60 % to 35 %, 1 rises from 30 % to 45 %; cups from 20 % to 30 %.
    new = split_statistics({"0": 350, "1": 450, "-1": 200}, {"Tool": 7, "Cup": 3})
    found = comparisons(tmp_path, new, ALIKE, labels=0.24, category=0.11)
    labels, category = found["labels"], found["category"]
    assert labels.found == pytest.approx(0.25)
    assert (labels.exceeded, labels.value) == (True, "0")
    assert labels.sentence == (
        "drift of train against train of the last run, feature labels: largest change of a share "
        "0.2500 (of value 0), at most 0.24 is expected; see whether the parts were labelled by the "
        "same rule, with the same numbers; if it is as it should be, raise validation.drift.labels"
    )
    assert category.found == pytest.approx(0.1)
    assert not category.exceeded


def test_coordinates_that_overlap_by_half_differ_by_half(tmp_path):
    # P is even on [-1, 1], Q on [0, 2]. Against their mean M each has a half of its mass where
    # M holds half as much as it does (1 bit) and a half where M holds as much (0 bits).
    new = split_statistics(LABELS, CATEGORIES, low=0.0, high=2.0)
    points = comparisons(tmp_path, new, ALIKE)["points"]
    assert points.found == pytest.approx(0.5, abs=1e-6)
    assert points.exceeded


def test_a_feature_that_is_missing_cannot_be_compared_and_that_is_said(tmp_path):
    new = split_statistics(LABELS, CATEGORIES, points=False)
    points = comparisons(tmp_path, new, ALIKE)["points"]
    assert (points.found, points.exceeded) == (None, True)
    assert "feature points: they could not be compared" in points.sentence


def schema_anomalies(folder, **splits):
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for split, found in splits.items():
        path = folder / f"Split-{split}" / "SchemaDiff.pb"
        path.parent.mkdir(parents=True)
        path.write_bytes(found.SerializeToString())
    return artifact


def report(tmp_path, statistics, anomalies, previous=None, data=""):
    """The page and the findings that DataReport makes of them."""
    made = DataReportPage()
    made.uri = str(tmp_path / "report")
    skew = validate(tmp_path / "skew", statistics, statistics, SKEW_PAIRS)
    drift = validate(tmp_path / "drift", statistics, previous, DRIFT_PAIRS)
    Executor().Do(
        {
            "statistics": [statistics],
            "anomalies": [anomalies],
            "skew": [skew],
            "drift": [drift],
        },
        {"data_report": [made]},
        {"categories": json.dumps([TOOL.to_json()]), "data": data, "code_fingerprint": ""},
    )
    folder = tmp_path / "report"
    return (
        (folder / "data_report.html").read_text("utf-8"),
        json.loads((folder / "findings.json").read_text("utf-8")),
    )


NONE = anomalies_pb2.Anomalies()


def test_a_first_run_on_sound_data_has_no_findings(tmp_path):
    statistics = statistics_artifact(tmp_path / "s", train=ALIKE, val=ALIKE, test=ALIKE)
    anomalies = schema_anomalies(tmp_path / "a", train=NONE, val=NONE, test=NONE)
    html, findings = report(tmp_path, statistics, anomalies, data="<b>made up</b>")
    assert findings == {"anomalies": [], "drift": [], "skew": []}
    assert "<h1>Nothing unusual</h1>" in html
    assert "No drift was looked for" in html
    # Ten clouds of a hundred points each.
    row = "<td>10</td><td>1,000</td><td>100</td><td>100</td><td>100</td><td>-1</td><td>1</td>"
    assert html.count(f"{row}<td>0</td><td>0.5</td>") == 3
    for name, share in (("0: head", 60), ("1: &lt;handle&gt;", 30), ("unannotated", 10)):
        (line,) = (line for line in html.splitlines() if f">{name}</th>" in line)
        assert line.count(f">{share}.0 %</td>") == 3
    assert "<b>" not in html and "<handle>" not in html
    assert not any(word in html for word in ("http://", "https://", "<link", "<script", "@import"))


def test_skew_drift_and_anomalies_are_named_with_split_feature_and_remedy(tmp_path):
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
    (anomaly,), (drift,), (skew,) = findings["anomalies"], findings["drift"], findings["skew"]
    assert anomaly.startswith("split test, feature <i>colour: New column; remove this feature")
    assert drift.startswith("drift of train against train of the last run, feature points: Jensen")
    assert skew.startswith("skew of val against train, feature labels: largest change of a share")
    assert "0.3000" in skew and skew.endswith("raise validation.skew.labels")
    assert "<h1>Does not fit the schema</h1>" in html
    assert "Findings: 1 against the schema, 1 of drift, 1 of skew." in html
    assert html.count('class="beyond"') == 2
    assert "<i>" not in html and "test, feature &lt;i&gt;colour" in html


def test_a_page_is_made_even_of_data_without_clouds(tmp_path):
    empty = statistics_pb2.DatasetFeatureStatistics()
    statistics = statistics_artifact(tmp_path / "s", train=ALIKE, val=empty, test=ALIKE)
    missing = anomalies_pb2.Anomalies(data_missing=True)
    anomalies = schema_anomalies(tmp_path / "a", train=NONE, val=missing, test=NONE)
    html, findings = report(tmp_path, statistics, anomalies)
    assert "val, the data set: it holds no record" in findings["anomalies"][0]
    assert len(findings["skew"]) == 3
    assert '<th scope="row">val</th><td>0</td><td>-</td>' in html
