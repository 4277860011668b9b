"""Bulk inference: requests that the model takes, and its reasons for clouds that it refuses."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tfx import v1 as tfx
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.bulk_inferrer import Executor
from components.evaluator.standalone import stage_clouds
from components.predicted_parts import read_prediction
from model.export.settings import ServingSettings
from model.export.signatures import export
from preprocessing.conversion.beam_options import IN_PROCESS
from schema.record import Cloud
from serving.exported_model import ExportedModel
from tests.model.export.made_network import MUG, ROCKET, cloud, network_of

CATEGORIES = (MUG, ROCKET)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    export(
        network_of(CATEGORIES),
        CATEGORIES,
        str(folder / "Format-Serving"),
        ServingSettings(most_points=400),
    )
    return folder


def infer(model, folder, clouds, blessed=1):
    """Runs the executor; returns the answers by id and the refused clouds by id."""
    examples, _ = stage_clouds(clouds, folder / "examples")
    results = standard_artifacts.InferenceResult()
    results.uri = str(folder / "results")
    trained, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    trained.uri, blessing.uri = str(model), str(folder / "blessing")
    blessing.set_int_custom_property("blessed", blessed)
    spec = tfx.proto.ModelSpec(model_signature_name=["serve_examples"])
    data = tfx.proto.DataSpec(example_splits=["test"])
    context = Executor.Context(
        beam_pipeline_args=list(IN_PROCESS), tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    Executor(context).Do(
        {"examples": [examples], "model": [trained], "model_blessing": [blessing]},
        {"inference_result": [results]},
        {
            "model_spec": proto_utils.proto_to_json(spec),
            "data_spec": proto_utils.proto_to_json(data),
        },
    )
    logs = [str(path) for path in (folder / "results").glob("*.gz")]
    files = tf.constant(logs, tf.string, [len(logs)])
    answers = [
        read_prediction(log) for log in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    ]
    lines = [
        json.loads(line)
        for path in (folder / "results").glob("refused*.jsonl")
        for line in path.read_text().splitlines()
    ]
    return {answer[1].shape_id: answer for answer in answers}, {
        line["shape_id"]: line for line in lines
    }


@pytest.mark.slow
def test_every_cloud_that_fits_is_answered_as_alone(model, tmp_path):
    # 16 clouds with one of 250: padded together, 10 times what the model takes in a request.
    sizes = [*range(20, 35), 250]
    clouds = [Cloud(f"c{n}", "Rocket", cloud(n, seed=n)) for n in sizes]
    large = Cloud("large", "Rocket", cloud(401))
    unknown = Cloud("unknown", "Boat", cloud(20))
    answers, refused = infer(model, tmp_path, [large, *clouds, unknown])
    segmenter = ExportedModel(model / "Format-Serving")
    assert answers.keys() == {one.shape_id for one in clouds}
    for one in clouds:
        ((part, probability),) = segmenter.segment([one.points], 1)
        _, _, parts, best = answers[one.shape_id]
        np.testing.assert_array_equal(parts, part)
        np.testing.assert_allclose(best, probability.max(axis=1), atol=1e-5)
    assert refused.keys() == {"large", "unknown"}
    assert refused["large"]["points"] == 401
    assert "too many in one request" in refused["large"]["reason"]
    assert "the model knows Mug, Rocket" in refused["unknown"]["reason"]


@pytest.mark.slow
def test_without_a_blessing_nothing_is_inferred(model, tmp_path):
    assert infer(model, tmp_path, [Cloud("a", "Rocket", cloud(20))], blessed=0) == ({}, {})
