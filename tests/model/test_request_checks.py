"""Requests that nobody can answer, through the graph that a server runs: refused in a sentence."""

import numpy as np
import pytest
import tensorflow as tf

from model.settings import ServingSettings
from model.signatures import export
from tests.model.test_signatures import MUG, ROCKET, cloud, make_network

LIMIT = 300


@pytest.fixture(scope="module", params=[(ROCKET,), (MUG, ROCKET)], ids=["one", "several"])
def served(request, tmp_path_factory):
    """Answers a signature in a session, as TensorFlow Serving does, without Python's checks."""
    categories = request.param
    folder = str(tmp_path_factory.mktemp("served") / "model")
    network = make_network(sum(len(c.parts) for c in categories), len(categories))
    export(network, categories, folder, ServingSettings(most_points=LIMIT))
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)

        def answer(name, **inputs):
            signature = graph.signature_def[name]
            if "category" in signature.inputs:
                inputs.setdefault("category", np.zeros(len(inputs["points"]), np.int64))
            outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
            feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
            return session.run(outputs, feeds)

        answer.several = len(categories) > 1
        yield answer


def with_value(value):
    points = cloud(10)[np.newaxis].copy()
    points[0, 3, 1] = value
    return points


BAD_POINTS = {
    "no cloud": (np.zeros((0, 5, 3)), "points: there is none"),
    "no point": (np.zeros((2, 0, 3)), "points: there is none"),
    "NaN": (with_value(np.nan), "points: NaN or infinity among the coordinates"),
    "infinity": (with_value(np.inf), "points: NaN or infinity among the coordinates"),
    "too many": (np.zeros((3, 101, 3)), "points: too many in one request"),
}


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize("signature", ["serving_default", "serve_padded"])
def test_points_that_are_none(served, signature, name):
    points, words = BAD_POINTS[name]
    inputs = {"points": points.astype(np.float32)}
    if signature == "serve_padded":
        inputs["num_points"] = np.full(len(points), points.shape[1], np.int64)
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        served(signature, **inputs)
    # The next request is answered as if nothing had been.
    good = cloud(20)[np.newaxis]
    assert (served("serving_default", points=good)["part"] >= 0).all()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([10, 0], "num_points: send 1 to N for each cloud"),
        ([-1, 3], "num_points: send 1 to N for each cloud"),
        ([11, 3], "num_points: send 1 to N for each cloud"),
        ([10], "num_points: send one number a cloud"),
        ([10, 10, 10], "num_points: send one number a cloud|dimensions|shape"),
    ],
)
def test_sizes_that_cannot_be(served, sizes, words):
    points = np.stack([cloud(10), cloud(10, seed=1)])
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        served("serve_padded", points=points, num_points=np.array(sizes, np.int64))


@pytest.mark.parametrize("category", [[-1], [2], [0, 0]])
def test_categories_that_the_model_does_not_know(served, category):
    if not served.several:
        pytest.skip("a model of one category is not told any")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"category: (the model knows|send)"):
        served(
            "serving_default",
            points=cloud(10)[np.newaxis],
            category=np.array(category, np.int64),
        )


@pytest.mark.parametrize(
    "points",
    [np.ones((1, 1, 3)), np.zeros((1, 7, 3)), np.full((2, 5, 3), 1e30), np.full((1, 5, 3), 1e-30)],
    ids=["one point", "zero radius", "huge", "tiny"],
)
def test_odd_clouds_get_sound_answers(served, points):
    answer = served("serving_default", points=points.astype(np.float32))
    assert (answer["part"] >= 0).all()
    np.testing.assert_allclose(answer["probability"].sum(axis=2), 1, atol=1e-5)


@pytest.mark.parametrize("filling", ["batcher", np.nan, np.inf, 1e38, -1e38])
def test_what_lies_beyond_a_cloud_changes_no_bit(served, filling):
    sizes = np.array([30, 45, 1], np.int64)
    points = np.zeros((3, 45, 3), np.float32)
    for row, size in zip(points, sizes, strict=True):
        row[:size] = cloud(int(size), seed=int(size))
    expected = served("serve_padded", points=points, num_points=sizes)
    for row, size in zip(points, sizes, strict=True):
        # TensorFlow Serving's batcher fills up with the tensor's first scalar.
        row[size:] = points[0, 0, 0] if filling == "batcher" else filling
    found = served("serve_padded", points=points, num_points=sizes)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
