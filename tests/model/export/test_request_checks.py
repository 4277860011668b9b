"""Invalid requests to the graph that a server runs: what is refused, and what the reason names."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from model.export.settings import ServingSettings
from model.export.signatures import export
from tests.model.export.made_network import MUG, ROCKET, cloud, example, in_session, network_of

LIMIT = 300


def export_limited(categories, folder):
    export(network_of(categories), categories, folder, ServingSettings(most_points=LIMIT))
    return folder


@pytest.fixture(scope="module", params=[(ROCKET,), (MUG, ROCKET)], ids=["one", "several"])
def served(request, tmp_path_factory):
    folder = export_limited(request.param, str(tmp_path_factory.mktemp("served") / "model"))
    with in_session(folder) as answer:

        def of_rockets(name, **inputs):
            if "points" in inputs and len(request.param) > 1:
                inputs.setdefault("category", np.ones(len(inputs["points"]), np.int64))
            return answer(name, **inputs)

        of_rockets.several = len(request.param) > 1
        yield of_rockets


def refused(served, pattern, signature, **inputs):
    with pytest.raises(tf.errors.InvalidArgumentError, match=pattern):
        served(signature, **inputs)
    # The next request is answered.
    assert (served("serving_default", points=cloud(20)[np.newaxis])["part"] >= 0).all()


ONE_VALUE = np.arange(30).reshape(1, 10, 3) == 10
INVALID_POINTS = {
    "no cloud": (np.zeros((0, 5, 3)), r"points: .*none.* \[0"),
    "no point": (np.zeros((2, 0, 3)), r"points: .*none.* \[2 0 3\]"),
    "NaN": (np.where(ONE_VALUE, np.nan, 0), "points: NaN"),
    "infinity": (np.where(ONE_VALUE, -np.inf, 0), "points: NaN or infinity"),
    "too many": (np.zeros((3, 101, 3)), rf"points: too many .*\b{LIMIT}\b.*\[303\]"),
}


@pytest.mark.parametrize("name", INVALID_POINTS)
@pytest.mark.parametrize("signature", ["serving_default", "serve_padded", "serve_examples"])
def test_invalid_points(served, signature, name):
    points, pattern = INVALID_POINTS[name]
    inputs = {"points": points.astype(np.float32)}
    if signature == "serve_padded":
        inputs["num_points"] = np.full(len(points), points.shape[1], np.int64)
    if signature == "serve_examples":
        inputs = {"examples": np.array([example(each) for each in inputs["points"]], object)}
    refused(served, pattern, signature, **inputs)


@pytest.mark.parametrize(
    ("sizes", "pattern"),
    [
        ([10, 0], r"num_points: .*\[0\] .*\[10\]"),
        ([-1, 11], r"num_points: .*\[-1 11\] .*\[10\]"),
        ([10], r"num_points: .*\[1\] .*\[2\]"),
        ([10, 10, 10], r"num_points: .*\[3\] .*\[2\]"),
    ],
)
def test_invalid_sizes(served, sizes, pattern):
    points = np.stack([cloud(10), cloud(10, seed=1)])
    refused(served, pattern, "serve_padded", points=points, num_points=np.array(sizes, np.int64))


def test_invalid_categories(served):
    if not served.several:
        pytest.skip("a model of one category takes no category")
    for category, pattern in (([-1], r"0 to 1.*\[-1\]"), ([2], r"0 to 1.*\[2\]"), ([0, 0], "2")):
        inputs = {"points": cloud(10)[np.newaxis], "category": np.array(category, np.int64)}
        refused(served, f"category: .*{pattern}", "serving_default", **inputs)
    examples = np.array([example(cloud(5), category=name) for name in ("Mug", "Sofa")], object)
    refused(served, r"category: .*Mug, Rocket.*\[Sofa\]", "serve_examples", examples=examples)


def test_an_example_of_half_a_point(served):
    record = tf.train.Example.FromString(example(cloud(1)))
    record.features.feature["points"].float_list.value.append(4)
    examples = np.array([record.SerializeToString()], object)
    refused(served, r"points: .*3.*\[4\]", "serve_examples", examples=examples)


REQUESTS = """
import resource, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
for path in sys.argv[2:]:
    examples = [record.numpy() for record in tf.data.TFRecordDataset(path)]
    try:
        model.signatures["serve_examples"](examples=tf.constant(examples))
        print("answered")
    except tf.errors.InvalidArgumentError as error:
        print("refused")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_examples_of_few_bytes_are_refused_before_they_are_padded(tmp_path):
    """One long cloud and many of one point: 1.2 MB that padding makes 361 MB."""
    folder = export_limited((ROCKET,), str(tmp_path / "model"))
    paths = [str(tmp_path / "small"), str(tmp_path / "large")]
    for path, sizes in zip(paths, ([20] * 10, [100_000] + [1] * 300), strict=True):
        with tf.io.TFRecordWriter(path) as writer:
            for size in sizes:
                writer.write(example(np.ones((size, 3), np.float32)))
    program = [sys.executable, "-c", REQUESTS, folder, *paths]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    small, before, large, after = done.stdout.split()
    assert (small, large) == ("answered", "refused")
    assert int(after) - int(before) < 100  # MiB


@pytest.mark.parametrize(
    "points",
    [np.ones((1, 1, 3)), np.zeros((1, 7, 3)), np.full((2, 5, 3), 1e30), np.full((1, 5, 3), 1e-30)],
    ids=["one point", "zero radius", "huge", "tiny"],
)
def test_odd_clouds_get_finite_answers(served, points):
    answer = served("serving_default", points=points.astype(np.float32))
    assert (answer["part"] >= 0).all()
    np.testing.assert_allclose(answer["probability"].sum(axis=2), 1, atol=1e-5)


@pytest.mark.parametrize("filling", ["batcher", np.nan, np.inf, 1e38, -1e38])
def test_padding_changes_no_bit(served, filling):
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
