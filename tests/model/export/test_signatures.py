"""What the exported SavedModel answers, loaded as a server loads it."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model import metrics
from model.export.counts import calibration_counts, confusion_counts
from model.export.settings import ServingSettings
from model.export.signatures import PARTS_ASSET, export
from model.export.warm_up import SIZES, WARM_UP_FILE
from preprocessing.tensors.normalisation import normalise
from schema.categories import Category
from tests.model.export.made_network import MUG, ROCKET, cloud, example, in_session, network_of


def loaded(categories, folder, network=None, settings=None):
    """Each signature as a function of arrays."""
    export(network or network_of(categories), categories, str(folder), settings)
    model = tf.saved_model.load(str(folder))

    def call(name, **inputs):
        inputs = {key: tf.constant(value) for key, value in inputs.items()}
        return {key: value.numpy() for key, value in model.signatures[name](**inputs).items()}

    call.model = model
    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def one(folder):
    return loaded((ROCKET,), folder / "one")


@pytest.fixture(scope="module")
def both(folder):
    return loaded((MUG, ROCKET), folder / "two")


@pytest.mark.parametrize("n", [1, 700, 1024])
def test_any_number_of_points_of_any_scale(one, n):
    points = np.stack([cloud(n, 1), cloud(n, 2)])
    answer = one("serving_default", points=points)
    facts = {name: (value.shape, value.dtype) for name, value in answer.items()}
    assert facts == {"part": ((2, n), np.int64), "probability": ((2, n, 3), np.float32)}
    np.testing.assert_array_equal(answer["part"], answer["probability"].argmax(axis=2))
    np.testing.assert_allclose(answer["probability"].sum(axis=2), 1, atol=1e-6)
    if n > 1:  # the network of these tests tells points apart
        assert len(np.unique(answer["part"])) > 1
    moved = one("serving_default", points=points * 8 - 64)
    np.testing.assert_allclose(moved["probability"], answer["probability"], atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_only_folded_weights_are_saved_and_they_answer_the_same(tmp_path, bias):
    network = network_of((ROCKET,), bias_before_batch_norm=bias)
    served = loaded((ROCKET,), tmp_path / "model", network)
    variables = [v for one in served.model.signatures.values() for v in one.variables]
    read = {variable.name for variable in variables}
    assert not {name for name in read if any(w in name for w in ("gamma", "moving", "momentum"))}
    saved = tf.train.list_variables(str(tmp_path / "model" / "variables" / "variables"))
    saved = [name for name, _ in saved if name.endswith("VARIABLE_VALUE")]
    assert len(saved) == len({id(variable) for variable in variables})
    points = np.stack([cloud(300, 1), cloud(300, 2)])
    probability = served("serving_default", points=points)["probability"]
    np.testing.assert_allclose(probability, tf.nn.softmax(network(normalise(points))), atol=1e-5)


def test_padded_clouds_and_examples_get_the_answers_of_single_clouds(one):
    clouds = [cloud(1, 1), cloud(60, 2), cloud(100, 3)]
    sizes = np.array([1, 60, 100], np.int64)
    points = np.full((3, 130, 3), np.nan, np.float32)
    for row, single in zip(points, clouds, strict=True):
        row[: len(single)] = single
    padded = one("serve_padded", points=points, num_points=sizes)
    examples = one("serve_examples", examples=list(map(example, clouds)))
    np.testing.assert_array_equal(examples.pop("num_points"), sizes)
    for i, (single, n) in enumerate(zip(clouds, sizes, strict=True)):
        alone = one("serving_default", points=single[np.newaxis])
        for answer in (padded, examples):
            np.testing.assert_array_equal(answer["part"][i, :n], alone["part"][0])
            probability = answer["probability"][i]
            np.testing.assert_allclose(probability[:n], alone["probability"][0], atol=1e-5)
            assert (answer["part"][i, n:] == -1).all() and (probability[n:] == 0).all()


def test_evaluate_counts_as_the_metrics_do(one):
    rng = np.random.default_rng(0)
    clouds = [cloud(n, n) for n in (1, 60, 100)]
    labels = [rng.integers(-1, 3, len(points)) for points in clouds]
    found = one("evaluate", examples=list(map(example, clouds, labels)))
    assert found["category"].tolist() == [0, 0, 0]
    for place, (points, truth) in enumerate(zip(clouds, labels, strict=True)):
        answer = one("serving_default", points=points[np.newaxis])
        part, confidence = answer["part"][0], answer["probability"][0].max(axis=1)
        counts = found["confusion"][place]
        np.testing.assert_array_equal(counts, metrics.confusion(truth, part, 3))
        calibration = metrics.calibration_counts(truth, part, confidence)
        # Padding may change a probability's last bits.
        np.testing.assert_allclose(found["calibration"][place], calibration, atol=len(points))
        assert found["calibration"][place, :, 0].sum() == (truth >= 0).sum()


def test_evaluate_takes_any_number_of_labels_and_any_request(tmp_path):
    served = loaded((ROCKET,), tmp_path, settings=ServingSettings(most_points=10))
    examples = []
    for n, labels in ((5, [0] * 7), (8, [1] * 3), (9, [7, 2, -1])):
        record = tf.train.Example.FromString(example(cloud(n)))
        record.features.feature["labels"].int64_list.value.extend(labels)
        examples.append(record.SerializeToString())
    counts = served("evaluate", examples=examples)["confusion"].sum(axis=2)
    # A point without a label is unannotated, and one whose label the category lacks.
    np.testing.assert_array_equal(counts, [[5, 0, 0], [0, 3, 0], [0, 0, 1]])


def test_counts_in_tensorflow_are_those_of_the_metrics():
    rng = np.random.default_rng(0)
    truth, answer = rng.integers(-1, 4, (2, 5, 90))
    confidence = rng.random((5, 90)).astype(np.float32)
    confidence[0, :3] = 0, 1, np.float32(1 / 3)
    confidence[answer < 0] = np.nan
    counts = calibration_counts(*map(tf.constant, (truth, answer, confidence)))
    expected = list(map(metrics.calibration_counts, truth, answer, confidence))
    np.testing.assert_array_equal(counts, expected)
    counts = confusion_counts(tf.constant(truth), tf.constant(answer), 4)
    np.testing.assert_array_equal(counts, list(map(metrics.confusion, truth, answer, [4] * 5)))


@pytest.mark.parametrize(("category", "start", "end"), [(0, 0, 2), (1, 2, 5)])
def test_of_two_categories_only_the_clouds_own_parts_can_win(both, category, start, end):
    inputs = {"points": np.stack([cloud(80, 1), cloud(80, 2)]), "category": np.full(2, category)}
    answer = both("serving_default", **inputs)
    probability = answer["probability"]
    np.testing.assert_array_equal(np.delete(probability, np.s_[start:end], axis=2), 0)
    np.testing.assert_allclose(probability.sum(axis=2), 1, atol=1e-6)
    np.testing.assert_array_equal(answer["part"], probability[..., start:end].argmax(axis=2))
    assert len(np.unique(answer["part"])) > 1
    part = both("serve_padded", num_points=np.array([80, 50]), **inputs)["part"]
    np.testing.assert_array_equal(part[0], answer["part"][0])
    assert (part[1, 50:] == -1).all()


def test_examples_of_two_categories_have_its_name(both):
    rng = np.random.default_rng(1)
    clouds = [cloud(70, 1), cloud(40, 2)]
    labels = [rng.integers(-1, k, len(x)) for x, k in zip(clouds, (3, 2), strict=True)]
    examples = list(map(example, clouds, labels, ["Rocket", "Mug"]))
    served = both("serve_examples", examples=examples)["part"]
    found = both("evaluate", examples=examples)
    assert found["category"].tolist() == [1, 0]
    for i, category in enumerate([1, 0]):
        points = clouds[i][np.newaxis]
        part = both("serving_default", points=points, category=np.array([category]))["part"][0]
        np.testing.assert_array_equal(served[i, : len(part)], part)
        counts = found["confusion"][i]
        np.testing.assert_array_equal(counts, metrics.confusion(labels[i], part, 3))


def test_a_network_of_nan_answers_with_no_part(tmp_path):
    network = network_of((ROCKET,))
    network.logits_kernel.assign(np.full(network.logits_kernel.shape, np.nan))
    served = loaded((ROCKET,), tmp_path / "model", network)
    assert (served("serving_default", points=cloud(20)[np.newaxis])["part"] == -1).all()
    found = served("evaluate", examples=[example(cloud(20), np.ones(20, np.int64))])
    np.testing.assert_array_equal(found["confusion"], [[[0] * 4, [0, 0, 0, 20], [0] * 4]])


def test_the_model_declares_its_parts_and_its_limit(one, folder):
    about = json.loads((folder / "one" / "assets" / PARTS_ASSET).read_text())
    assert [Category.from_json(value) for value in about["categories"]] == [ROCKET]
    assert about["categories"][0]["colours"] == list(ROCKET.colours)
    assert (about["normalisation_version"], about["evaluation_version"]) == (1, 1)
    assert about["most_points"] == ServingSettings().most_points


def test_a_servers_loader_answers_as_python_does(one, folder):
    points = np.stack([cloud(40), cloud(40, seed=1)])
    with in_session(folder / "one") as answer:
        served = answer("serving_default", points=points)
    np.testing.assert_equal(served, one("serving_default", points=points))


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
    """As TensorFlow Serving does before a version serves."""
    folder = str(tmp_path / "model")
    export(network_of(categories), categories, folder, ServingSettings(most_points=most_points))
    answered = []
    with in_session(folder) as answer:
        for record in tf.compat.v1.io.tf_record_iterator(f"{folder}/{WARM_UP_FILE}"):
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            part = answer(request.model_spec.signature_name, **inputs)["part"]
            assert (part >= 0).all()
            answered.append((request.model_spec.signature_name, part.shape[1]))
    signatures = ("serving_default", "serve_padded", "serve_examples")
    assert answered == [(name, size) for size in sizes for name in signatures]
