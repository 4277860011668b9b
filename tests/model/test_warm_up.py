"""Warm-up requests, read and answered as TensorFlow Serving does before a version serves."""

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model.settings import ServingSettings
from model.signatures import export
from model.warm_up import SIZES, WARM_UP_FILE
from tests.model.test_signatures import MUG, ROCKET, make_network


@pytest.mark.parametrize(
    ("categories", "most_points", "sizes"),
    [
        ((ROCKET,), 400_000, SIZES),
        ((MUG, ROCKET), 400_000, SIZES),
        # A version whose warm-up is refused would not be served at all.
        ((ROCKET,), 3000, (64, 2048, 3000)),
        ((ROCKET,), 50, (50,)),
    ],
)
def test_every_warm_up_request_is_answered(categories, most_points, sizes, tmp_path):
    folder = tmp_path / "model"
    network = make_network(sum(len(c.parts) for c in categories), len(categories))
    export(network, categories, str(folder), ServingSettings(most_points=most_points))
    file = tf.data.TFRecordDataset(str(folder / WARM_UP_FILE))
    records = list(file.as_numpy_iterator())
    asked = []
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            signature = graph.signature_def[request.model_spec.signature_name]
            assert set(request.inputs) == set(signature.inputs)
            feeds = {
                signature.inputs[name].name: tf.make_ndarray(value)
                for name, value in request.inputs.items()
            }
            part = session.run(signature.outputs["part"].name, feeds)
            assert (part >= 0).all()
            asked.append((request.model_spec.signature_name, part.shape[1]))
    signatures = ("serving_default", "serve_padded", "serve_examples")
    assert asked == [(name, size) for size in sizes for name in signatures]
