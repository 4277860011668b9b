"""The verdict from plain numbers."""

import math

import pytest

from components.evaluator.bounds import Bound
from components.evaluator.metrics import ALL_CLOUDS
from components.evaluator.verdict import Verdict, judge
from schema.categories import Category

PLANE = Category("Plane", "1", ("body", "wing"))
CHAIR = Category("Chair", "2", ("leg", "seat"))
BOTH = (PLANE, CHAIR)


def decided(bound, metrics, baseline=None, categories=BOTH, **others):
    """The verdict on one bound; metrics of all clouds, or by slice."""
    by_slice = metrics if ALL_CLOUDS in metrics else {ALL_CLOUDS: {"clouds": 9.0, **metrics}}
    before = None if baseline is None else {ALL_CLOUDS: baseline}
    return judge([bound], categories, by_slice, before, "no baseline", **others)


@pytest.mark.parametrize(
    ("kind", "limit", "value", "before", "state", "missed_by"),
    [
        ("minimum", 0.5, 0.5, None, "met", 0),
        ("minimum", 0.5, 0.4, None, "missed", 0.1),
        ("minimum", 0.5, math.nan, None, "not measured", None),
        ("maximum", 0.5, 0.7, None, "missed", 0.2),
        ("largest_drop", 0.1, 0.5, None, "not applicable", None),
        ("largest_drop", 0.1, 0.5, 0.9, "missed", 0.3),
        ("largest_drop", 0.1, 0.5, 0.3, "met", 0),
        ("largest_drop", 0.1, 0.5, math.nan, "not measured", None),
        ("largest_rise", 0.1, 0.5, 0.3, "missed", 0.1),
        ("largest_rise", 0.1, 0.5, 0.9, "met", 0),
    ],
)
def test_a_bound_by_hand(kind, limit, value, before, state, missed_by):
    baseline = None if before is None else {"x": before}
    verdict = decided(Bound("x", "", kind, limit), {"x": value}, baseline)
    (row,) = verdict.bounds
    assert row.state == state
    assert row.missed_by == (None if missed_by is None else pytest.approx(missed_by))
    assert row.blocks == (state in ("missed", "not measured"))
    assert verdict.blessed == (state == "met")
    assert verdict.reasons or verdict.blessed


@pytest.mark.parametrize("optional", [False, True])
def test_each_category_needs_five_clouds(optional):
    metrics = {ALL_CLOUDS: {}, (("category", "Plane"),): {"clouds": 9.0, "x": 0.9}}
    metrics |= {(("category", "Chair"),): {"clouds": 4.0, "x": 0.9}}
    verdict = decided(Bound("x", "category", "minimum", 0.5, optional), metrics)
    assert [(row.slice, row.state) for row in verdict.bounds] == [
        ("category Plane", "met"),
        ("category Chair", "not measured"),
    ]
    assert verdict.blessed == optional


def test_a_category_without_clouds_blocks_and_a_size_without_clouds_does_not():
    for where, states in (
        ("category", {"not measured"}),
        ("cloud_size", {"not applicable"}),
        ("cloud_size=8192+", {"not measured"}),
    ):
        verdict = decided(Bound("x", where, "minimum", 0.5), {"x": 0.9})
        assert {row.state for row in verdict.bounds} == states
        assert any(row.blocks for row in verdict.bounds) == ("not measured" in states)


@pytest.mark.parametrize(
    ("trivial", "value", "needed", "state"),
    [(0.5, 0.54, 0.55, "missed"), (0.5, 0.55, 0.55, "met"), (0.0, 0.2, 0.1, "met")],
)
def test_the_margin_is_a_share_of_the_gap_to_one(trivial, value, needed, state):
    metrics = {"part_iou/leg": value, "trivial_iou/leg": trivial, "part_points/leg": 9.0}
    (row,) = decided(Bound("part_iou/leg", "", "over_trivial", 0.1), metrics).bounds
    assert (row.needed, row.state) == (pytest.approx(needed), state)


def test_a_part_alone_needs_no_margin_and_a_part_without_points_blocks():
    bound = Bound("part_iou/leg", "", "over_trivial", 0.1)
    alone = {"part_iou/leg": 1.0, "trivial_iou/leg": 1.0, "trivial_accuracy/leg": 1.0}
    (row,) = decided(bound, alone).bounds
    assert (row.state, row.blocks) == ("not applicable", False)
    (row,) = decided(bound, {"part_points/leg": 0.0, "part_iou/leg": math.nan}).bounds
    assert (row.state, row.blocks, row.needed) == ("not measured", True, 0.1)


def test_a_failure_that_only_tfma_found_blocks_and_one_that_a_row_explains_does_not():
    met = Bound("x", "", "minimum", 0.5)
    verdict = decided(met, {"x": 0.9}, tfma_failures=[("all clouds", "x")])
    assert not verdict.blessed
    assert [(row.kind, row.metric) for row in verdict.bounds] == [("minimum", "x"), ("tfma", "x")]
    optional = Bound("x", "category=Chair", "minimum", 0.5, optional=True)
    failures = [("category Chair", ""), ("category Chair", "x")]
    verdict = decided(optional, {"x": 0.9}, tfma_failures=failures)
    assert [row.kind for row in verdict.bounds] == ["minimum"]
    # A bound that does not apply without a baseline explains nothing.
    drop = Bound("x", "", "largest_drop", 0.5)
    verdict = decided(drop, {"x": 0.9}, tfma_failures=[("all clouds", "x")])
    assert [row.kind for row in verdict.bounds] == ["largest_drop", "tfma"]


@pytest.mark.parametrize(
    ("blessed", "exploratory", "headline"),
    [
        (True, False, "Blessed"),
        (True, True, "Blessed with exploratory bounds"),
        (False, True, "Not blessed"),
    ],
)
def test_the_headline_names_exploratory_bounds(blessed, exploratory, headline):
    value = 0.9 if blessed else 0.1
    verdict = decided(Bound("x", "", "minimum", 0.5), {"x": value}, exploratory=exploratory)
    assert verdict.headline == headline
    assert Verdict(False, (), "").headline == "Measured"
