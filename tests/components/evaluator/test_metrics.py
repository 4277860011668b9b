"""Our TFMA metric: the same values however Beam groups the clouds."""

import numpy as np
import tensorflow_model_analysis as tfma

from components.evaluator.metrics import SegmentationMetrics
from model.measurements import metric_names
from model.metrics import CALIBRATION_BINS
from schema.categories import Category

MUG = Category("Mug", "1", ("handle", "body"))
ROCKET = Category("Rocket", "2", ("body", "fin", "nose"))

# Rows: truth; columns: answer, the last one "no answer". Each in the largest category's shape.
MUG_CLOUD = np.array([[3, 1, 0, 0], [0, 4, 0, 2], [0, 0, 0, 0]])
ROCKET_CLOUD = np.array([[5, 0, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0]])


def extract(number, category, counts):
    return tfma.metrics.StandardMetricInputs(
        {
            "predictions": {
                "confusion": counts[None],
                "calibration": np.ones((1, CALIBRATION_BINS, 3), np.int64),
                "category": np.array([category]),
            },
            "features": {"shape_id": np.array([f"shape {number}".encode()])},
        }
    )


def test_beams_grouping_gives_the_same_values():
    categories = [MUG.to_json(), ROCKET.to_json()]
    tallies, derived = SegmentationMetrics(categories=categories).computations()
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
