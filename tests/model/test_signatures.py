"""What the exported SavedModel answers, loaded as a server loads it."""

import json

import numpy as np
import pytest
import tensorflow as tf

from model import metrics
from model.network import build_network
from model.settings import NetworkSettings
from model.signatures import PARTS_ASSET, calibration_counts, confusion_counts, export
from preprocessing.conversion.records import to_example
from preprocessing.tensors.normalisation import normalise
from schema.categories import Category
from schema.record import Cloud

MUG = Category("Mug", "1", ("handle", "body"))
ROCKET = Category("Rocket", "2", ("body", "fin", "nose"))
NARROW = NetworkSettings(
    local_widths=(6, 8),
    global_widths=(10, 16),
    transform_widths=(5, 12),
    transform_dense_widths=(7,),
    head_widths=(9,),
)


def make_network(num_classes, num_categories, seed=3):
    """A narrow network whose weights make different points different parts."""
    network = build_network(NARROW, num_classes, num_categories)
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        value = rng.normal(size=weight.shape) / np.sqrt(weight.shape[0] if weight.shape else 1)
        if "variance" in weight.name or "gamma" in weight.name:
            value = np.abs(value) + 0.5
        if "momentum" not in weight.name:
            weight.assign(value)
    # What is told point by point outweighs what is the same in the whole cloud.
    kernel = network.split_layer.kernel.numpy()
    kernel[sum(network.split_layer.local_widths) :] *= 0.05
    network.split_layer.kernel.assign(kernel)
    points = normalise(cloud(200)[np.newaxis])
    several = {"points": points, "category": np.zeros(1, np.int64)}
    logits = network(points if num_categories == 1 else several).numpy()
    network.logits_bias.assign(network.logits_bias - logits.mean(axis=(0, 1)))
    return network


def loaded(categories, folder, break_weights=False):
    network = make_network(sum(len(c.parts) for c in categories), len(categories))
    if break_weights:
        network.logits_kernel.assign(np.full(network.logits_kernel.shape, np.nan))
    export(network, categories, str(folder))
    # The loaded object must live as long as its functions.
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "model"
    return loaded((ROCKET,), folder), folder


@pytest.fixture(scope="module")
def one(exported):
    return exported[0].signatures


@pytest.fixture(scope="module")
def both_model(tmp_path_factory):
    return loaded((MUG, ROCKET), tmp_path_factory.mktemp("two") / "model")


@pytest.fixture
def both(both_model):
    return both_model.signatures


def cloud(n, seed=0):
    return (np.random.default_rng(seed).normal(size=(n, 3)) * 5 + 20).astype(np.float32)


def padded(clouds, filling, n):
    batch = np.full((len(clouds), n, 3), filling, np.float32)
    for row, points in zip(batch, clouds, strict=True):
        row[: len(points)] = points
    return tf.constant(batch), tf.constant([len(points) for points in clouds], tf.int64)


def call(function, **inputs):
    inputs = {k: tf.constant(v) if not tf.is_tensor(v) else v for k, v in inputs.items()}
    return {name: value.numpy() for name, value in function(**inputs).items()}


@pytest.mark.parametrize("n", [1, 700, 1024])
def test_serving_default_takes_any_number_of_points(one, n):
    answer = call(one["serving_default"], points=np.stack([cloud(n, 1), cloud(n, 2)]))
    assert (answer["part"].shape, answer["part"].dtype) == ((2, n), np.int64)
    assert (answer["probability"].shape, answer["probability"].dtype) == ((2, n, 3), np.float32)
    np.testing.assert_array_equal(answer["part"], answer["probability"].argmax(axis=2))
    np.testing.assert_allclose(answer["probability"].sum(axis=2), 1, atol=1e-6)
    if n > 1:  # the network of these tests tells points apart
        assert len(np.unique(answer["part"])) > 1


def test_the_exported_graph_has_batch_norm_folded_into_its_weights_and_answers_the_same(exported):
    model, _ = exported
    names = {variable.name for variable in model.signatures["serving_default"].variables}
    assert any("kernel" in name for name in names)
    assert not {name for name in names if any(w in name for w in ("gamma", "beta", "moving"))}
    points = np.stack([cloud(300, 1), cloud(300, 2)])
    network = make_network(len(ROCKET.parts), 1)
    logits = network(normalise(points), training=False)
    answer = call(model.signatures["serving_default"], points=points)
    np.testing.assert_allclose(answer["probability"], tf.nn.softmax(logits), atol=1e-5)


def test_raw_coordinates_are_normalised(one):
    points = cloud(100)[np.newaxis]
    answer = call(one["serving_default"], points=points)
    moved = call(one["serving_default"], points=points * 8 - 64)
    np.testing.assert_allclose(moved["probability"], answer["probability"], atol=1e-4)


@pytest.mark.parametrize("filling", [np.nan, 1e30, -np.inf])
def test_serve_padded_ignores_what_lies_beyond_a_cloud(one, filling):
    clouds = [cloud(1, 1), cloud(60, 2), cloud(100, 3)]
    zeros, sizes = padded(clouds, 0, 130)
    expected = call(one["serve_padded"], points=zeros, num_points=sizes)
    points, _ = padded(clouds, filling, 130)
    answer = call(one["serve_padded"], points=points, num_points=sizes)
    for name, value in answer.items():
        assert value.tobytes() == expected[name].tobytes()
    beyond = np.arange(130) >= sizes.numpy()[:, np.newaxis]
    assert (answer["part"][beyond] == -1).all()
    assert (answer["probability"][beyond] == 0).all()
    assert (answer["part"][~beyond] >= 0).all()


def test_serve_padded_and_serve_examples_answer_as_serving_default_does(one):
    clouds = [cloud(1, 1), cloud(60, 2), cloud(100, 3)]
    points, sizes = padded(clouds, np.nan, 100)
    records = [to_example(Cloud("x", "Rocket", points)) for points in clouds]
    answers = [
        call(one["serve_padded"], points=points, num_points=sizes),
        call(one["serve_examples"], examples=records),
    ]
    assert answers[1].pop("num_points").tolist() == [1, 60, 100]
    for i, points in enumerate(clouds):
        alone = call(one["serving_default"], points=points[np.newaxis])
        for answer in answers:
            np.testing.assert_array_equal(answer["part"][i, : len(points)], alone["part"][0])
            np.testing.assert_allclose(
                answer["probability"][i, : len(points)], alone["probability"][0], atol=1e-5
            )
            assert (answer["part"][i, len(points) :] == -1).all()


def test_an_example_of_half_a_point_is_refused(one):
    feature = {"points": tf.train.Feature(float_list=tf.train.FloatList(value=[1, 2, 3, 4]))}
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    with pytest.raises(tf.errors.InvalidArgumentError, match="multiple of 3"):
        one["serve_examples"](examples=tf.constant([example.SerializeToString()]))


def test_evaluate_counts_as_the_metrics_do(one):
    rng = np.random.default_rng(0)
    clouds = [cloud(n, n) for n in (1, 60, 100)]
    labels = [rng.integers(-1, 3, len(points)) for points in clouds]
    records = [to_example(Cloud("x", "Rocket", *pair)) for pair in zip(clouds, labels, strict=True)]
    found = call(one["evaluate"], examples=records)
    assert found["category"].tolist() == [0, 0, 0]
    for place, (points, truth) in enumerate(zip(clouds, labels, strict=True)):
        answer = call(one["serving_default"], points=points[np.newaxis])
        part, sure = answer["part"][0], answer["probability"][0].max(axis=1)
        counts = found["confusion"][place]
        np.testing.assert_array_equal(counts, metrics.confusion(truth, part, 3))
        calibration = metrics.calibration_counts(truth, part, sure)
        # Padding may change a probability's last bits.
        np.testing.assert_allclose(found["calibration"][place], calibration, atol=len(points))
        assert found["calibration"][place, :, 0].sum() == (truth >= 0).sum()


def test_calibration_counts_are_those_of_the_metrics():
    rng = np.random.default_rng(0)
    truth, answer = rng.integers(-1, 4, (2, 5, 90))
    sure = rng.random((5, 90)).astype(np.float32)
    sure[0, :3] = 0, 1, np.float32(1 / 3)
    sure[answer < 0] = np.nan
    counts = calibration_counts(tf.constant(truth), tf.constant(answer), tf.constant(sure))
    expected = [metrics.calibration_counts(*one) for one in zip(truth, answer, sure, strict=True)]
    np.testing.assert_array_equal(counts, expected)


def test_confusion_counts_by_hand():
    truth = tf.constant([[0, 0, 1, -1], [1, 1, -1, -1]], tf.int64)
    answer = tf.constant([[0, 1, -1, 0], [1, 0, 1, -1]], tf.int64)
    counts = confusion_counts(truth, answer, 2)
    np.testing.assert_array_equal(counts, [[[1, 1, 0], [0, 0, 1]], [[0, 0, 0], [1, 1, 0]]])


@pytest.mark.parametrize("category", [0, 1])
def test_of_two_categories_only_the_clouds_own_parts_can_win(both, category):
    start, end = [(0, 2), (2, 5)][category]
    categories = np.full(2, category, np.int64)
    points = np.stack([cloud(80, 1), cloud(80, 2)])
    answer = call(both["serving_default"], points=points, category=categories)
    probability = answer["probability"]
    np.testing.assert_array_equal(np.delete(probability, np.s_[start:end], axis=2), 0)
    np.testing.assert_allclose(probability.sum(axis=2), 1, atol=1e-6)
    np.testing.assert_array_equal(answer["part"], probability[..., start:end].argmax(axis=2))
    assert len(np.unique(answer["part"])) > 1
    sizes = np.array([80, 50])
    part = call(both["serve_padded"], points=points, num_points=sizes, category=categories)["part"]
    np.testing.assert_array_equal(part[0], answer["part"][0])
    assert (part[1, 50:] == -1).all()


def test_examples_of_two_categories_carry_its_name(both):
    rng = np.random.default_rng(1)
    names, clouds = ["Rocket", "Mug"], [cloud(70, 1), cloud(40, 2)]
    labels = [rng.integers(-1, k, len(x)) for x, k in zip(clouds, (3, 2), strict=True)]
    records = [
        to_example(Cloud("x", name, points, truth))
        for name, points, truth in zip(names, clouds, labels, strict=True)
    ]
    served = call(both["serve_examples"], examples=records)["part"]
    found = call(both["evaluate"], examples=records)
    assert found["category"].tolist() == [1, 0]
    for i, category in enumerate([1, 0]):
        inputs = {"points": clouds[i][np.newaxis], "category": np.array([category])}
        part = call(both["serving_default"], **inputs)["part"][0]
        np.testing.assert_array_equal(served[i, : len(part)], part)
        expected = metrics.confusion(labels[i], part, 3)
        np.testing.assert_array_equal(found["confusion"][i], expected)


def test_an_example_of_an_unknown_category_is_refused(both):
    record = to_example(Cloud("x", "Sofa", cloud(5)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="not one that this model"):
        both["serve_examples"](examples=tf.constant([record]))


def test_a_network_of_nan_answers_with_no_part(tmp_path):
    model = loaded((ROCKET,), tmp_path / "model", break_weights=True)
    points = cloud(20)[np.newaxis]
    assert (call(model.signatures["serving_default"], points=points)["part"] == -1).all()
    record = to_example(Cloud("x", "Rocket", points[0], np.ones(20, np.int64)))
    found = call(model.signatures["evaluate"], examples=[record])
    np.testing.assert_array_equal(found["confusion"], [[[0] * 4, [0, 0, 0, 20], [0] * 4]])


def test_the_parts_travel_with_the_model(exported):
    _, folder = exported
    about = json.loads((folder / "assets" / PARTS_ASSET).read_text())
    assert [Category.from_json(value) for value in about["categories"]] == [ROCKET]
    assert about["categories"][0]["colours"] == list(ROCKET.colours)
    assert about["normalisation_version"] == 1


def test_a_servers_loader_answers_as_python_does(exported):
    """The graph in a session, restored by its own operation: what TensorFlow Serving runs."""
    loaded_again, folder = exported
    points = np.stack([cloud(40), cloud(40, seed=1)])
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        signature = graph.signature_def["serving_default"]
        outputs = {name: tensor.name for name, tensor in signature.outputs.items()}
        served = session.run(outputs, {signature.inputs["points"].name: points})
    expected = loaded_again.signatures["serving_default"](points=tf.constant(points))
    assert set(served) == set(expected)
    for name, value in served.items():
        np.testing.assert_array_equal(value, expected[name])
