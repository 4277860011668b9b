"""Checks of all clouds together."""

import random

import pytest

from preprocessing.checks.cloud_checks import CloudFinding, Place, Verdict
from preprocessing.checks.set_checks import check_training, judge, too_many_refused
from preprocessing.checks.settings import ValidationSettings
from schema.categories import Category

TOOL = Category("Tool", "01", ("head", "handle"))
CUP = Category("Cup", "02", ("body",))


def cloud(split, shape_id="a1", geometry="", position=0, category="Tool", parts=(1, 1)):
    geometry = geometry or f"{split} {shape_id} {position}"
    return Verdict(Place(split, 0, position), shape_id, category, 5, geometry, parts)


def outcomes(verdicts):
    """The codes of each cloud's findings, the same for any order of the clouds."""
    found = {v.place: [f.code for f in v.findings] for v in judge(verdicts)}
    shuffled = random.Random(0).sample(verdicts, len(verdicts))
    assert {v.place: [f.code for f in v.findings] for v in judge(shuffled)} == found
    return {place.split: found[place] for place in found}


@pytest.mark.parametrize("same", [{"shape_id": "a1"}, {"geometry": "g"}])
@pytest.mark.parametrize(
    ("splits", "kept"),
    [
        (("train", "val", "test"), "test"),
        (("val", "train"), "val"),
        (("test", "train"), "test"),
        (("unlabelled", "train"), "train"),
    ],
)
def test_a_shape_in_two_splits_stays_in_the_most_held_out_one(splits, kept, same):
    code = "SHAPE_IN_TWO_SPLITS" if "shape_id" in same else "GEOMETRY_IN_TWO_SPLITS"
    clouds = [cloud(split, **{"shape_id": split, **same}) for split in splits]
    assert outcomes(clouds) == {split: [] if split == kept else [code] for split in splits}
    for verdict in judge(clouds):
        assert verdict.refused == (verdict.place.split != kept)
        assert all(kept in finding.sentence for finding in verdict.findings)


def test_a_shape_twice_in_a_split_stays_once():
    clouds = [cloud("val", geometry="1", position=2), cloud("val", geometry="0", position=9)]
    refused, kept = judge(clouds)
    assert [f.code for f in refused.findings if refused.refused] == ["SHAPE_TWICE"]
    assert kept.findings == ()


def test_a_geometry_twice_in_a_split_is_a_warning():
    first, second = judge([cloud("test", "b", "g", 0), cloud("test", "a", "g", 1)])
    assert ([f.code for f in first.findings], second.findings) == (["GEOMETRY_TWICE"], ())
    assert not first.refused and "same points as a" in first.findings[0].sentence


def test_each_check_sees_only_what_the_checks_before_it_accept():
    refused = cloud("test").with_finding("LABEL_COUNT", "quarantine", "")
    assert outcomes([refused, cloud("train")]) == {"test": ["LABEL_COUNT"], "train": []}
    # The copy in train is refused for its id; so its geometry is not compared with val.
    clouds = [cloud("test"), cloud("train", geometry="g"), cloud("val", "b", "g")]
    assert outcomes(clouds) == {"test": [], "train": ["SHAPE_IN_TWO_SPLITS"], "val": []}


@pytest.mark.parametrize(
    ("tool", "cup", "expected"),
    [
        ((20, 100, 5), (1, 1), {}),
        ((3, 100, 0), (2, 9), {"MISSING_PART": ["3 training clouds of Tool", "handle"]}),
        ((3, 9, 9), None, {"MISSING_CATEGORY": ["Cup"]}),
        ((2, 101, 5), (2, 9), {"PART_IMBALANCE": ["5 training points of Tool", "handle and 101"]}),
        ((2, 9, 9), (41, 9), {"CATEGORY_IMBALANCE": ["2 training clouds", "Tool and 41 of Cup"]}),
    ],
)
def test_what_training_lacks(tool, cup, expected):
    totals = {("category", "Tool"): tool, ("split", "train"): (9, 0)}
    totals |= {("category", "Cup"): cup} if cup else {}
    found = check_training(totals, (TOOL, CUP), ValidationSettings())
    assert {f.code for f in found} == set(expected)
    for finding in found:
        assert (finding.severity, finding.split, finding.shape_id) == ("warning", "train", "")
        assert all(fact in finding.sentence for fact in expected[finding.code])


def test_too_many_refused_clouds_of_a_split():
    totals = {("split", "train"): (20, 3), ("split", "val"): (10, 1), ("split", "test"): (0, 0)}
    findings = [
        CloudFinding("LABEL_COUNT", "quarantine", "train", "a", ""),
        CloudFinding("LABEL_COUNT", "quarantine", "train", "b", ""),
        CloudFinding("NO_SHAPE_ID", "quarantine", "train", "", ""),
        CloudFinding("DUPLICATE_POINTS", "warning", "train", "c", ""),
        CloudFinding("ZERO_RADIUS", "quarantine", "val", "d", ""),
    ]
    stop = too_many_refused(totals, iter(findings), ValidationSettings(), "out/findings.jsonl")
    facts = ["3 of 20 clouds of train", "10%", "2 LABEL_COUNT, first a", "1 NO_SHAPE_ID, first (no"]
    assert all(fact in stop for fact in [*facts, "out/findings.jsonl"])
    assert "val" not in stop.split("see")[0] and "DUPLICATE" not in stop
    allowed = ValidationSettings(quarantine_share=0.15)
    assert too_many_refused(totals, iter(findings), allowed, "") == ""
