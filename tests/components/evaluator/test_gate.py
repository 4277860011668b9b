"""The gate in the real Evaluator, with TFMA and models of chosen errors."""

import json

import pytest
import tensorflow_model_analysis as tfma

from components.evaluator.metrics import ALL_CLOUDS
from components.evaluator.standalone import stage_clouds
from components.evaluator.verdict import VERDICT_FILE, read_verdict
from schema.categories import Category
from schema.errors import UserError
from tests.components.evaluator.conftest import cloud

GOOD = {"errors": (0.1, 0.1, 0.1)}


def blessing(evaluation):
    """The file that TFX's Pusher looks for."""
    return [path.name for path in (evaluation.folder / "blessing").iterdir()]


def states(evaluation, *fields):
    """The bounds' states by the given fields."""
    return {
        tuple(getattr(row, field) for field in fields): row.state
        for row in evaluation.verdict.bounds
    }


def test_a_first_model_is_compared_with_fixed_bounds_alone(run):
    made = run(GOOD, point_accuracy={"minimum": 0.85, "largest_drop": 0.01})
    assert made.verdict.blessed and blessing(made) == ["BLESSED"]
    minimum, drop = made.verdict.bounds
    assert (minimum.metric, minimum.slice, minimum.kind) == (
        "point_accuracy",
        "all clouds",
        "minimum",
    )
    assert (minimum.needed, minimum.measured) == (0.85, pytest.approx(0.9))
    assert minimum.missed_by == 0 and minimum.state == "met"
    assert (drop.kind, drop.state, drop.blocks) == ("largest_drop", "not applicable", False)
    assert made.verdict.baseline in drop.sentence
    assert read_verdict(str(made.folder / "evaluation")) == made.verdict
    assert json.loads((made.folder / "evaluation" / VERDICT_FILE).read_text())["blessed"] is True


def test_a_model_that_is_better_on_average_and_worse_on_one_part_is_refused(run):
    bounds = {
        "point_accuracy": {"largest_drop": 0.01, "difference": "not_worse"},
        "part_accuracy": {"largest_drop": 0.05},
    }
    made = run({"errors": (0, 0, 0.4)}, {"errors": (0.3, 0.3, 0.1)}, **bounds)
    assert blessing(made) == ["NOT_BLESSED"]
    (missed,) = (row for row in made.verdict.bounds if row.state != "met")
    assert (missed.metric, missed.kind) == ("part_accuracy/engine", "largest_drop")
    assert (missed.measured, missed.missed_by) == (pytest.approx(0.3), pytest.approx(0.25))
    assert made.verdict.reasons == [missed.sentence]
    assert all(part in missed.sentence for part in ("engine", "0.3000", "0.0500", "0.2500"))


def test_an_equal_model_is_blessed(run):
    bounds = {
        "point_accuracy": {"minimum": 0.5, "largest_drop": 0, "difference": "better"},
        "part_iou": {"largest_drop": 0},
    }
    made = run(GOOD, GOOD, **bounds)
    assert made.verdict.blessed, made.verdict.reasons
    assert {row.state for row in made.verdict.bounds} == {"met"}


def test_a_network_of_nan_is_not_blessed(run):
    made = run({"nan": True}, point_accuracy={"minimum": 0.1}, calibration_error={"maximum": 1})
    assert states(made, "metric") == {
        ("point_accuracy",): "missed",
        ("calibration_error",): "not measured",
    }
    assert len(made.verdict.reasons) == 2 and blessing(made) == ["NOT_BLESSED"]


@pytest.mark.parametrize("optional", [False, True])
def test_every_bound_is_in_the_verdict_and_what_cannot_be_measured_blocks(run, optional):
    clouds = [cloud(number, labels=(0, 1)) for number in range(6)]
    lenient = {"optional": optional}
    made = run(
        {},
        clouds=clouds,
        part_accuracy={"minimum": 0.9, **lenient},
        slices={
            "cloud_size": {"point_accuracy": {"minimum": 0.5}},
            "cloud_size=512-1023": {"instance_miou": {"minimum": 0.5, **lenient}},
            "category": {"point_accuracy": {"minimum": 0.6}},
            "category=Plane": {"mean_class_accuracy": {"minimum": 0.7}},
        },
    )
    unmeasured = [row for row in made.verdict.bounds if row.state == "not measured"]
    assert [(row.metric, row.slice, row.blocks) for row in unmeasured] == [
        ("part_accuracy/engine", "all clouds", not optional),
        ("instance_miou", "cloud_size 512-1023", not optional),
    ]
    # With a single category its bounds are on all clouds.
    met = {(row.metric, row.slice, row.needed) for row in made.verdict.bounds if row.state == "met"}
    assert met == {
        ("part_accuracy/body", "all clouds", 0.9),
        ("part_accuracy/wing", "all clouds", 0.9),
        ("point_accuracy", "cloud_size 1-511", 0.5),
        ("point_accuracy", "all clouds", 0.6),
        ("mean_class_accuracy", "all clouds", 0.7),
    }
    empty = [row for row in made.verdict.bounds if row.state == "not applicable"]
    assert len(empty) == 5 and {row.metric for row in empty} == {"point_accuracy"}
    assert made.verdict.blessed == optional
    assert blessing(made) == (["BLESSED"] if optional else ["NOT_BLESSED"])
    # TFMA's own file says no in both cases, which the rows explain.
    validation = tfma.load_validation_result(str(made.folder / "evaluation"))
    assert not validation.validation_ok
    assert not [row for row in made.verdict.bounds if row.kind == "tfma"]


def test_a_part_that_is_no_better_than_a_trivial_answer_is_not_blessed(run):
    # Half of the points are body: by its share 0.5 is right, and 0.25 of the others.
    clouds = [cloud(number, labels=(0, 1, 0, 2)) for number in range(6)]
    made = run({"errors": (0.0, 0.0, 0.7)}, clouds=clouds, margin_over_trivial=0.2)
    needed = {row.metric: row.needed for row in made.verdict.bounds}
    assert needed == pytest.approx(
        {
            "part_accuracy/body": 0.5 + 0.2 * 0.5,
            "part_accuracy/wing": 0.25 + 0.2 * 0.75,
            "part_accuracy/engine": 0.25 + 0.2 * 0.75,
            "part_iou/body": 0.5 + 0.2 * 0.5,
            "part_iou/wing": 0.2,
            "part_iou/engine": 0.2,
        }
    )
    missed = {row.metric for row in made.verdict.bounds if row.state == "missed"}
    assert missed == {"part_accuracy/engine"}
    assert made.metrics[ALL_CLOUDS]["trivial_accuracy/wing"] == pytest.approx(0.25)
    assert not made.verdict.blessed


OTHER_PARTS = {"categories": (Category("Plane", "1", ("body", "wing", "tail")),)}


@pytest.mark.parametrize("old", [OTHER_PARTS, {"version": 0}])
def test_a_baseline_that_cannot_be_compared_is_left_out_with_its_reason(run, old):
    made = run(GOOD, old, point_accuracy={"minimum": 0.5, "largest_drop": 0})
    assert made.verdict.blessed
    assert states(made, "kind") == {("minimum",): "met", ("largest_drop",): "not applicable"}
    assert ("tail" in made.verdict.baseline) == ("categories" in old)


def test_a_candidate_of_another_version_of_the_evaluation_is_refused(run):
    with pytest.raises(UserError) as error:
        run({"version": 0}, point_accuracy={"minimum": 0.5})
    assert error.value.code == "other_version"


def test_a_baseline_without_files_stops_the_run(run, tmp_path, monkeypatch):
    lost, _ = stage_clouds([], tmp_path / "lost")
    monkeypatch.setattr("tests.components.evaluator.conftest.stage_model", stage_or_lose(lost))
    with pytest.raises(UserError) as error:
        run(GOOD, GOOD, point_accuracy={"minimum": 0.5})
    assert error.value.code == "lost_baseline"


def stage_or_lose(lost):
    from components.evaluator.standalone import stage_model

    return lambda model, folder: lost if folder.name == "baseline" else stage_model(model, folder)


def test_numbers_by_hand(run):
    made = run({"errors": (0.5, 0, 0)}, point_accuracy={"minimum": 0})
    values = made.metrics[ALL_CLOUDS]
    assert values["clouds"] == 8 and values["points"] == 480
    assert values["point_accuracy"] == pytest.approx(50 / 60)
    assert values["mean_class_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    # body 10 of 20; wing 20 found and 10 claimed; engine all.
    assert values["instance_miou"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert values["calibration_error"] == pytest.approx(0.9 - 50 / 60, abs=1e-6)
    # All clouds are alike, so that every resampled set scores the same.
    assert values["interval_low/instance_miou"] == pytest.approx(values["instance_miou"])
    assert values["confusion/body/wing"] == 80
