"""The gate: what blesses, what blocks, and what is said of it. Real TFMA, pretended networks."""

import json

import pytest

from components.evaluator.metrics import ALL_CLOUDS
from components.evaluator.verdict import VERDICT_FILE, read_verdict
from schema.categories import Category
from tests.components.evaluator.conftest import PLANE, cloud

SOUND = {"errors": (0.1, 0.1, 0.1)}


def blessing(found):
    """The file that TFX's Pusher looks for."""
    return [path.name for path in (found.folder / "blessing").iterdir()]


def test_a_first_model_is_held_against_floors_alone_and_each_says_its_numbers(run):
    found = run(SOUND, point_accuracy={"minimum": 0.85, "largest_drop": 0.01})
    assert found.verdict.blessed and blessing(found) == ["BLESSED"]
    assert found.verdict.baseline == "there is no other blessed model to compare with"
    (bound,) = found.verdict.bounds
    assert (bound.metric, bound.slice, bound.kind) == ("point_accuracy", "all clouds", "minimum")
    assert (bound.needed, bound.measured) == (0.85, pytest.approx(0.9))
    assert bound.missed_by == 0 and bound.state == "met"
    assert bound.sentence == "point accuracy is 0.9000; at least 0.8500 is needed"
    assert read_verdict(str(found.folder / "evaluation")) == found.verdict
    assert json.loads((found.folder / "evaluation" / VERDICT_FILE).read_text())["blessed"] is True


def test_a_missed_floor_says_by_how_much(run):
    found = run(SOUND, part_iou={"minimum": 0.95})
    assert not found.verdict.blessed and blessing(found) == ["NOT_BLESSED"]
    # Of each part's 20 points 18 are found, and 2 of another part are claimed: 18 / 22.
    assert found.verdict.reasons[0] == (
        "part IoU of body is 0.8182; at least 0.9500 is needed (0.1318 missing)"
    )
    assert len(found.verdict.reasons) == 3


def test_better_on_average_but_worse_on_one_part_is_refused_and_the_part_named(run):
    bounds = {
        "point_accuracy": {"largest_drop": 0.01},
        "part_accuracy": {"largest_drop": 0.05},
    }
    found = run({"errors": (0, 0, 0.4)}, {"errors": (0.3, 0.3, 0.1)}, **bounds)
    accuracy = [b for b in found.verdict.bounds if b.metric == "point_accuracy"]
    assert [bound.state for bound in accuracy] == ["met"]
    assert found.verdict.reasons == [
        "part accuracy of engine fell by 0.3000 below the baseline; at most 0.0500 may be lost "
        "(0.2500 too much)"
    ]
    assert blessing(found) == ["NOT_BLESSED"]


def test_an_equal_model_is_blessed(run):
    bounds = {
        "point_accuracy": {"minimum": 0.5, "largest_drop": 0, "difference": "not_worse"},
        "part_iou": {"largest_drop": 0},
    }
    found = run(SOUND, SOUND, **bounds)
    assert found.verdict.blessed, found.verdict.reasons
    assert "the blessed model, the baseline" in found.verdict.baseline


def test_a_network_of_nan_is_not_blessed(run):
    found = run({"nan": True}, point_accuracy={"minimum": 0.1}, calibration_error={"maximum": 1})
    assert not found.verdict.blessed
    assert "point accuracy is 0.0000; at least 0.1000 is needed (0.1000 missing)" in (
        found.verdict.reasons
    )
    assert "calibration error could not be measured; at most 1.0000 is needed" in (
        found.verdict.reasons
    )


def test_a_part_that_no_cloud_has_neither_blesses_nor_blocks(run):
    clouds = [cloud(number, labels=(0, 1)) for number in range(6)]
    found = run({}, clouds=clouds, part_accuracy={"minimum": 0.9})
    states = {bound.metric: bound.state for bound in found.verdict.bounds}
    assert states == {
        "part_accuracy/body": "met",
        "part_accuracy/wing": "met",
        "part_accuracy/engine": "not measured",
    }
    assert found.verdict.blessed and blessing(found) == ["BLESSED"]
    alone = run({}, clouds=clouds, part_accuracy_of={"engine": {"minimum": 0.9}})
    assert not alone.verdict.blessed
    assert alone.verdict.reasons == ["no bound could be checked; set at least one under evaluation"]


def test_a_slice_has_bounds_of_its_own_unless_it_has_too_few_clouds(run):
    sizes = [(60, 6), (600, 6), (1500, 2)]
    clouds = [
        cloud(100 * size + i, size, labels=(2,) if size == 600 else (0, 1))
        for size, count in sizes
        for i in range(count)
    ]
    bounds = {"slices": {"cloud_size": {"point_accuracy": {"minimum": 0.9}}}}
    found = run({"errors": (0, 0, 0.5)}, clouds=clouds, **bounds)
    states = {bound.slice: bound.state for bound in found.verdict.bounds}
    assert states == {
        "cloud_size 1-511": "met",
        "cloud_size 512-1023": "missed",
        "cloud_size 1024-2047": "not measured",
    }
    assert found.verdict.reasons == [
        "point accuracy (cloud_size 512-1023) is 0.5000; at least 0.9000 is needed (0.4000 missing)"
    ]
    assert found.metrics[("cloud_size", "1024-2047"),]["clouds"] == 2


def test_a_difference_must_be_beyond_chance_where_the_config_asks_for_it(run):
    better = {"point_accuracy": {"difference": "better"}}
    assert run({}, SOUND, **better).verdict.blessed
    # As good: no interval of the difference lies above 0.
    equal = run(SOUND, SOUND, point_accuracy={"difference": "better"})
    assert equal.verdict.blessed, "a difference of exactly 0 in every resampled set is not below 0"
    mixed = [cloud(i, labels=(0, 1)) if i % 2 else cloud(i, labels=(0, 2)) for i in range(8)]
    unsure = run({"errors": (0, 0, 0.2)}, {"errors": (0, 0.2, 0)}, clouds=mixed, **better)
    assert not unsure.verdict.blessed
    (bound,) = unsure.verdict.bounds
    assert bound.kind == "difference" and bound.measured < 0
    assert "lower end of the 95 % interval of point accuracy less the baseline's is -" in (
        bound.sentence
    )
    calm = run(
        {"errors": (0, 0, 0.2)},
        {"errors": (0, 0.2, 0)},
        clouds=mixed,
        point_accuracy={"difference": "not_worse"},
    )
    assert calm.verdict.blessed


@pytest.mark.parametrize(
    ("old", "said"),
    [
        (
            {"categories": (Category("Plane", "1", ("body", "wing", "tail")),)},
            "which names other parts: Plane (body, wing, tail)",
        ),
        ({"version": 0}, "which was exported by another version of this software"),
    ],
)
def test_a_model_that_cannot_be_compared_is_left_out_and_it_is_said(run, old, said):
    found = run(SOUND, old, point_accuracy={"minimum": 0.5, "largest_drop": 0})
    assert found.verdict.blessed
    assert found.verdict.baseline == f"not held against the blessed model, {said}"
    assert {bound.kind for bound in found.verdict.bounds} == {"minimum"}


def test_numbers_by_hand(run):
    found = run({"errors": (0.5, 0, 0)}, point_accuracy={"minimum": 0})
    values = found.metrics[ALL_CLOUDS]
    assert values["clouds"] == 8 and values["points"] == 480
    assert values["point_accuracy"] == pytest.approx(50 / 60)
    assert values["mean_class_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    # body 10 of 20; wing 20 found and 10 claimed; engine all.
    assert values["instance_miou"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert values["calibration_error"] == pytest.approx(0.9 - 50 / 60, abs=1e-6)
    # All clouds are alike, so that every resampled set scores the same.
    assert values["interval_low/instance_miou"] == pytest.approx(values["instance_miou"])
    assert values["confusion/body/wing"] == 80
    assert PLANE.parts[0] == "body"
