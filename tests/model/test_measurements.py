"""Measured values by key, by hand."""

import math

import numpy as np
import pytest

from model.measurements import measurements, metric_names, trivial_scores
from model.metric_table import METRICS
from model.metrics import CALIBRATION_BINS, PROBABILITY_UNIT, merge, tally_cloud
from schema.categories import Category

MUG = Category("Mug", "1", ("handle", "body"))
ROCKET = Category("Rocket", "2", ("body", "fin", "nose"))

# Rows: truth; columns: answer, the last one "no answer". Each in the largest category's shape.
MUG_CLOUD = np.array([[3, 1, 0, 0], [0, 4, 0, 2], [0, 0, 0, 0]])
ROCKET_CLOUD = np.array([[5, 0, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0]])


def calibration(points, right, sure):
    """All points in the bin of the probability `sure`."""
    counts = np.zeros((CALIBRATION_BINS, 3), np.int64)
    counts[int(sure * CALIBRATION_BINS)] = points, right, points * round(sure / PROBABILITY_UNIT)
    return counts


def by_category():
    return {"Mug": tally_cloud(MUG_CLOUD, 2), "Rocket": tally_cloud(ROCKET_CLOUD, 3)}


def test_measurements_by_hand():
    values = measurements(by_category(), (MUG, ROCKET), {})
    assert values["clouds"] == 2
    assert values["point_accuracy"] == pytest.approx(15 / 19)
    mug = (3 / 4 + 4 / 7) / 2
    rocket = (5 / 6 + 3 / 4 + 1) / 3
    assert values["instance_miou"] == pytest.approx((mug + rocket) / 2)
    assert values["category_miou"] == pytest.approx((mug + rocket) / 2)
    present = (5 / 6 + 3 / 4) / 2
    assert values["instance_miou_of_present_parts"] == pytest.approx((mug + present) / 2)
    assert values["part_accuracy/Mug handle"] == pytest.approx(3 / 4)
    assert values["part_accuracy/Mug body"] == pytest.approx(4 / 6)
    assert values["part_iou/Mug handle"] == pytest.approx(3 / 4)
    assert values["part_iou/Mug body"] == pytest.approx(4 / 7)
    assert values["part_points/Rocket fin"] == 4
    assert values["confusion/Rocket fin/Rocket body"] == 1
    assert values["confusion/Mug body/no answer"] == 2


def test_an_absent_part_is_not_a_number():
    values = measurements(by_category(), (MUG, ROCKET), {})
    assert math.isnan(values["part_accuracy/Rocket nose"])
    assert math.isnan(values["part_iou/Rocket nose"])
    assert values["part_points/Rocket nose"] == 0


def test_a_category_without_clouds_is_not_a_number():
    values = measurements({"Mug": tally_cloud(MUG_CLOUD, 2)}, (MUG, ROCKET), {})
    assert math.isnan(values["part_iou/Rocket body"])
    assert values["confusion/Rocket body/Rocket fin"] == 0
    assert values["clouds"] == 1
    assert list(values) == metric_names((MUG, ROCKET))


def test_one_category_names_its_parts_alone():
    values = measurements({"Mug": merge([tally_cloud(MUG_CLOUD, 2)] * 2)}, (MUG,), {})
    assert values["part_iou/body"] == pytest.approx(4 / 7)
    assert values["part_points/body"] == 12
    assert values["clouds"] == 2


def test_mean_class_accuracy_and_calibration_by_hand():
    tallies = {"Mug": tally_cloud(MUG_CLOUD, 2, calibration(8, 6, 0.5))}
    values = measurements(tallies, (MUG, ROCKET), {})
    # The rocket's parts are nowhere: they do not count.
    assert values["mean_class_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert values["calibration_error"] == pytest.approx(6 / 8 - 0.5)
    assert values["points"] == 10
    assert math.isnan(measurements(by_category(), (MUG, ROCKET), {})["calibration_error"])


def test_every_row_of_the_table_is_measured():
    values = measurements(by_category(), (MUG,), {})
    keys = {f"{m.key}/body" if m.kind == "part" else m.key for m in METRICS}
    assert keys <= set(values)


def test_trivial_scores_by_hand():
    accuracy, iou = trivial_scores(np.array([6, 3, 1]))
    assert accuracy.tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert iou.tolist() == pytest.approx([0.6, 0, 0])
    assert np.isnan(trivial_scores(np.zeros(2))).all()
    values = measurements(by_category(), (MUG, ROCKET), {})
    assert values["trivial_accuracy/Mug handle"] == pytest.approx(4 / 10)
    assert values["trivial_iou/Mug body"] == pytest.approx(6 / 10)
    assert values["trivial_iou/Rocket fin"] == 0
