"""Our TFMA metrics: values by hand, and a bound that TFMA itself checks."""

import json
import math

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import util

from components.segmentation_metrics import (
    SegmentationMetrics,
    measurements,
    metric_names,
)
from model.metrics import CALIBRATION_BINS, PROBABILITY_UNIT, merge, tally_cloud
from preprocessing.conversion.beam_options import IN_PROCESS
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


def extract(number, category, counts):
    return tfma.metrics.StandardMetricInputs(
        {
            "predictions": {
                "confusion": counts[None],
                "calibration": calibration(int(counts.sum()), 1, 0.7)[None],
                "category": np.array([category]),
            },
            "features": {"shape_id": np.array([f"shape {number}".encode()])},
        }
    )


def test_beams_grouping_gives_the_same_values():
    categories = [MUG.to_json(), ROCKET.to_json()]
    tallies, derived = SegmentationMetrics(categories).computations()
    clouds = [(0, MUG_CLOUD), (1, ROCKET_CLOUD), (0, MUG_CLOUD), (1, 2 * ROCKET_CLOUD)] * 2
    extracts = [extract(number, *cloud) for number, cloud in enumerate(clouds)]
    # One accumulator for all clouds, and one for each of them.
    combiner = tallies.combiner
    at_once = combiner.create_accumulator()
    for element in extracts:
        at_once = combiner.add_input(at_once, element)
    single = [combiner.add_input(combiner.create_accumulator(), element) for element in extracts]
    merged = combiner.merge_accumulators([*single[::-1], combiner.create_accumulator()])
    found = [derived.result(combiner.extract_output(state)) for state in (at_once, merged)]
    one, other = ({key.name: value for key, value in values.items()} for values in found)
    assert one.keys() == other.keys() == set(metric_names((MUG, ROCKET)))
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-12, err_msg=name)
    assert one["clouds"] == 8
    assert one["interval_low/instance_miou"] < one["instance_miou"]
    assert one["instance_miou"] < one["interval_high/instance_miou"]


@pytest.mark.parametrize(("minimum", "passes"), [(0.57, True), (0.58, False)])
def test_tfma_checks_a_bound_on_a_part(minimum, passes):
    # The body's IoU is 4 / 7 = 0.5714.
    config = tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name="evaluate")],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(
                        class_name="SegmentationMetrics",
                        module="components.segmentation_metrics",
                        config=json.dumps({"categories": [MUG.to_json()]}),
                    )
                ],
                thresholds={
                    "part_iou/body": tfma.MetricThreshold(
                        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": minimum})
                    )
                },
            )
        ],
    )
    extracts = [
        {
            "labels": None,
            "predictions": {
                "confusion": MUG_CLOUD[:2, [0, 1, 3]],
                "calibration": calibration(10, 7, 0.7),
                "category": np.array([0]),
            },
            "example_weights": None,
            "features": {"shape_id": np.array([b"a mug"])},
        }
    ]

    def check(validations):
        (validation,) = validations
        assert validation.validation_ok == passes
        failed = [
            failure.metric_key.name
            for per_slice in validation.metric_validations_per_slice
            for failure in per_slice.failures
        ]
        assert failed == ([] if passes else ["part_iou/body"])

    with beam.Pipeline(options=PipelineOptions(list(IN_PROCESS))) as pipeline:
        results = (
            pipeline
            | beam.Create(extracts)
            | tfma.extractors.SliceKeyExtractor(eval_config=config).ptransform
            | tfma.evaluators.MetricsPlotsAndValidationsEvaluator(config).ptransform
        )
        util.assert_that(results["validations"], check)
