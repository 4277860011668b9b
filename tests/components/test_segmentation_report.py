"""The clouds of the report, asked of a real exported model, and its other inputs."""

import numpy as np
import pytest

from components.segmentation_report import columns, segment
from components.split_clouds import sample_clouds
from model.export.settings import ServingSettings
from model.export.signatures import export
from schema.record import Cloud
from serving.exported_model import ExportedModel
from tests.model.export.made_network import MUG, ROCKET, cloud, network_of

CATEGORIES = (MUG, ROCKET)


def record(name, size, category="Rocket"):
    return Cloud(name, category, cloud(size, seed=size), np.zeros(size, np.int64))


def test_the_sample_does_not_depend_on_the_order():
    records = [record(str(i), 1) for i in range(20)]
    names = [one.shape_id for one in sample_clouds(records, 5)]
    assert names == [one.shape_id for one in sample_clouds(records[::-1], 5)]
    assert len(set(names)) == 5


@pytest.mark.slow
def test_clouds_are_answered_in_requests_that_the_model_takes(tmp_path):
    folder = str(tmp_path / "model")
    export(network_of(CATEGORIES), CATEGORIES, folder, ServingSettings(most_points=400))
    # One long cloud among eight: padded together they have more points than the model takes.
    clouds = [record(f"r{n}", n) for n in (20, 21, 22, 23, 24, 25, 150)] + [record("m", 30, "Mug")]
    segmented, notes = segment(folder, [*clouds, record("large", 401)], CATEGORIES, 400)
    assert {one.record.shape_id for one in segmented} == {one.shape_id for one in clouds}
    model = ExportedModel(folder)
    for one in segmented:
        ((part, _),) = model.segment([one.record.points], CATEGORIES.index(one.category))
        np.testing.assert_array_equal(one.prediction, part)
    (note,) = notes
    assert all(fact in note for fact in ("large", "401", "too many in one request"))


def test_columns_of_curves():
    assert columns([]) == {}
    lines = ["epoch,loss", "1,0.5", "2,0.25"]
    assert columns(lines) == {"epoch": [1.0, 2.0], "loss": [0.5, 0.25]}
