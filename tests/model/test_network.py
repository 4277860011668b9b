"""The network: the example's function, any N, any order, saved and loaded, on both backends."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from model.layers import EPSILON, PointwiseLayer
from model.loss import cross_entropy, orthogonality
from model.network import EXCLUDED_LOGIT, PointNet, build_network, limit_to_category
from model.settings import NetworkSettings

tf = pytest.importorskip("tensorflow")

ROOT = Path(__file__).resolve().parents[2]

NARROW = NetworkSettings(
    local_widths=(6, 8, 7),
    global_widths=(12, 20),
    transform_widths=(5, 6, 16),
    transform_dense_widths=(9, 8),
    head_widths=(10,),
    dropout=0.0,
)


def narrow(num_classes=4, num_categories=1, dtype="float64", seed=0, **changes):
    """A narrow network whose every weight has a value that shows."""
    settings = NARROW.model_copy(update=changes)
    network = PointNet(settings, num_classes, num_categories, dtype=dtype)
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        value = rng.normal(size=weight.shape) / np.sqrt(weight.shape[0])
        if "variance" in weight.name or "gamma" in weight.name:
            value = np.abs(value) + 0.5
            # Batch norm may also turn its channel over.
            value = (
                value * np.where(np.arange(value.size) % 3, 1, -1)
                if "gamma" in weight.name
                else value
            )
        weight.assign(value)
    return network


def clouds(batch=3, points=17, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, points, 3))


def example_logits(network, points, training):
    """The published example's formulation, in our words, over the network's own weights.

    Every layer keeps its bias, batch norm is written out, the global feature is tiled and joined.
    """

    def block(layer, features):
        product = ops.matmul(features, layer.kernel)
        if layer.use_bias:
            product = product + layer.bias
        axes = tuple(range(len(product.shape) - 1))
        mean = ops.mean(product, axes) if training else layer.moving_mean
        variance = ops.var(product, axes) if training else layer.moving_variance
        scaled = (product - mean) / ops.sqrt(variance + EPSILON) * layer.gamma + layer.beta
        return ops.maximum(scaled, 0)

    def transformed(net, features):
        size = features.shape[-1]
        hidden = features
        for layer in (*net.pointwise, net.pooled):
            hidden = block(layer, hidden)
        hidden = ops.max(hidden, axis=1)
        for layer in net.dense:
            hidden = block(layer, hidden)
        matrix = ops.reshape(ops.matmul(hidden, net.kernel) + net.bias, (-1, size, size))
        return ops.einsum("bni,bij->bnj", features, matrix), matrix

    features, _ = transformed(network.input_transform, points)
    joined = []
    for layer in network.local_layers:
        features = block(layer, features)
        joined.append(features)
    features, matrix = transformed(network.feature_transform, features)
    joined.append(features)
    for layer in network.global_layers:
        features = block(layer, features)
        joined.append(features)
    overall = ops.max(block(network.pooled_layer, features), axis=1, keepdims=True)
    joined.append(ops.tile(overall, (1, points.shape[1], 1)))
    features = block(network.split_layer, ops.concatenate(joined, axis=-1))
    for layer in network.head_layers:
        features = block(layer, features)
    return ops.matmul(features, network.logits_kernel) + network.logits_bias, matrix


def test_the_published_example_has_7370062_parameters():
    settings = NetworkSettings(bias_before_batch_norm=True)
    network = build_network(settings, num_classes=5)
    assert network.count_params() == 7_370_062
    assert (
        build_network(settings.model_copy(update={"dropout": 0.0}), 5).count_params() == 7_370_062
    )
    # The biases that batch norm takes away again: one for each of the layers' features.
    features = sum(
        layer.width for layer in network._flatten_layers() if isinstance(layer, PointwiseLayer)
    )
    assert build_network(NetworkSettings(), 5).count_params() == 7_370_062 - features


def test_the_full_width_network_is_the_examples_function_in_float32():
    network = build_network(NetworkSettings(bias_before_batch_norm=True, dropout=0.0), 5)
    points = clouds(2, 64).astype(np.float32)
    network(clouds(4, 64, seed=1), training=True)
    expected, _ = example_logits(network, tf.constant(points), training=False)
    np.testing.assert_allclose(network(points), expected, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("float64", 1e-12)])
def test_logits_and_gradients_are_the_examples(training, bias, dtype, atol):
    network = narrow(dtype=dtype, bias_before_batch_norm=bias, head_widths=(10, 6))
    for net in (network.input_transform, network.feature_transform):
        # Near the identity, where float32's rounding is not blown up by an arbitrary matrix.
        net.kernel.assign(net.kernel * 0.1)
        net.bias.assign(np.eye(net.size).ravel())
    points = tf.constant(clouds(batch=16).astype(dtype))
    labels = np.random.default_rng(2).integers(-1, 4, (16, 17))

    def losses_and_gradients(call):
        with tf.GradientTape() as tape:
            tape.watch(points)
            logits, matrix = call()
            loss = cross_entropy(labels, logits) + orthogonality(matrix, 1e-3)
        variables = [variable.value for variable in network.trainable_variables]
        gradients = tape.gradient(
            loss, [*variables, points], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return logits, gradients

    expected = losses_and_gradients(lambda: example_logits(network, points, training))

    def ours():
        logits, transforms = network(points, training=training, return_transforms=True)
        return logits, transforms["feature"]

    actual = losses_and_gradients(ours)
    scale = float(ops.max(ops.abs(expected[0])))
    np.testing.assert_allclose(actual[0], expected[0], atol=atol * max(1.0, scale))
    largest = max(float(ops.max(ops.abs(gradient))) for gradient in expected[1])
    for a, b in zip(actual[1], expected[1], strict=True):
        np.testing.assert_allclose(a, b, atol=atol * max(1.0, largest))


def test_permuted_points_permute_the_logits():
    network = narrow()
    points = clouds(points=200)
    order = np.random.default_rng(5).permutation(200)
    for training in (False, True):
        straight = np.asarray(network(points, training=training))
        permuted = np.asarray(network(points[:, order], training=training))
        np.testing.assert_allclose(permuted, straight[:, order], atol=1e-12, rtol=0)


def test_copies_of_the_first_point_change_nothing():
    network = narrow()
    points = clouds(points=20)
    padded = np.concatenate([points, np.repeat(points[:, :1], 13, axis=1)], axis=1)
    logits = np.asarray(network(padded))
    np.testing.assert_allclose(logits[:, :20], network(points), atol=1e-12, rtol=0)
    np.testing.assert_allclose(
        logits[:, 20:], np.repeat(logits[:, :1], 13, axis=1), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("num_points", [1, 2, 700, 1024, 5000])
def test_any_number_of_points(num_points):
    network = narrow(dtype="float32")
    assert network(clouds(2, num_points)).shape == (2, num_points, 4)


def test_n_and_b_are_free_in_one_graph():
    network = narrow()
    call = tf.function(
        lambda points: network(points), input_signature=[tf.TensorSpec((None, None, 3), tf.float64)]
    )
    for batch, points in ((1, 1), (3, 17), (2, 300)):
        cloud = clouds(batch, points)
        np.testing.assert_allclose(call(cloud), network(cloud), atol=1e-12)
        np.testing.assert_allclose(call(cloud)[:1], call(cloud[:1]), atol=1e-12)


def test_one_cloud_of_one_point_trains():
    network = narrow()
    with tf.GradientTape() as tape:
        loss = cross_entropy([[1]], network(clouds(1, 1), training=True))
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    assert all(np.isfinite(gradient).all() for gradient in gradients if gradient is not None)


@pytest.mark.parametrize(
    ("input_transform", "feature_transform"), [(True, False), (False, True), (False, False)]
)
def test_without_transforms(input_transform, feature_transform):
    network = narrow(input_transform=input_transform, feature_transform=feature_transform)
    logits, transforms = network(clouds(), return_transforms=True)
    assert logits.shape == (3, 17, 4)
    assert set(transforms) == {
        name for name, used in (("input", input_transform), ("feature", feature_transform)) if used
    }


def test_the_category_is_heard_and_each_cloud_has_its_own():
    network = narrow(num_categories=3)
    points = np.repeat(clouds(1, 9), 3, axis=0)
    logits = np.asarray(network({"points": points, "category": np.array([0, 1, 1])}))
    np.testing.assert_allclose(logits[1], logits[2], atol=1e-12, rtol=0)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    joined = network.split_layer.kernel.shape[0]
    assert joined == narrow().split_layer.kernel.shape[0] + 3


def test_limit_to_category():
    logits = np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32)
    ranges = [[0, 2], [2, 3], [3, 6]]
    category = np.array([2, 0, 1])
    limited = np.asarray(limit_to_category(logits, category, ranges))
    for cloud, (first, end) in enumerate(np.asarray(ranges)[category]):
        np.testing.assert_array_equal(limited[cloud, :, first:end], logits[cloud, :, first:end])
        outside = np.delete(limited[cloud], np.arange(first, end), axis=-1)
        np.testing.assert_array_equal(outside, np.float32(EXCLUDED_LOGIT))
        probability = np.asarray(ops.softmax(limited[cloud]))
        np.testing.assert_allclose(probability[:, first:end].sum(-1), 1.0, rtol=1e-6)


def test_momentum_is_set_in_every_layer():
    network = narrow()
    network.set_batch_norm_momentum(0.97)
    momenta = [
        float(layer.momentum)
        for layer in network._flatten_layers()
        if isinstance(layer, PointwiseLayer)
    ]
    assert momenta == pytest.approx([0.97] * 16, rel=1e-6)


def test_dropout_acts_in_training_only():
    network = narrow(dropout=0.5)
    points = clouds()
    assert (
        np.abs(np.asarray(network(points, training=True) - network(points, training=True))).max()
        > 0
    )
    np.testing.assert_array_equal(network(points), network(points))


def test_low_precision_stays_near_and_answers_in_float32():
    exact = narrow(dtype="float32")
    rounded = PointNet(NARROW, 4, dtype="mixed_bfloat16")
    rounded.set_weights(exact.get_weights())
    logits, transforms = rounded(clouds(), training=True, return_transforms=True)
    for tensor in (logits, *transforms.values()):
        assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
    expected = np.asarray(exact(clouds(), training=True))
    assert np.abs(np.asarray(logits) - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PointNet(NARROW, 0), "num_classes is 0"),
        (lambda: PointNet(NARROW, 4, 0), "num_categories is 0"),
        (
            lambda: narrow()({"points": clouds(), "category": np.zeros(3, int)}),
            "points alone",
        ),
        (lambda: narrow(num_categories=2)(clouds()), "knows 2 categories"),
    ],
)
def test_wrong_use_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


FRESH_PROCESS = """
import sys
import keras
import numpy as np
from model.network import build_network
from model.settings import NetworkSettings

folder = sys.argv[1]
given = np.load(folder + "/given.npz")
inputs = {"points": given["points"], "category": given["category"]}
network = keras.saving.load_model(folder + "/network.keras")
close = {"atol": 1e-10, "rtol": 0}
np.testing.assert_allclose(network(inputs), given["logits"], **close)
np.testing.assert_allclose(network(inputs, training=True), given["training_logits"], **close)
keras.config.set_dtype_policy("float64")
settings = NetworkSettings.model_validate_json(open(folder + "/settings.json").read())
fresh = build_network(settings, 4, 3)
fresh.load_weights(folder + "/network.weights.h5")
np.testing.assert_allclose(fresh(inputs), given["logits"], **close)
fresh.set_batch_norm_momentum(0.5)
if keras.backend.backend() == "jax":
    import jax

    from model.loss import cross_entropy, orthogonality

    def loss(trainable, rest):
        state = [*zip(fresh.trainable_variables, trainable)]
        state += [*zip(fresh.non_trainable_variables, rest)]
        with keras.StatelessScope(state) as scope:
            logits, transforms = fresh(inputs, training=True, return_transforms=True)
            value = cross_entropy(given["labels"], logits)
            value += orthogonality(transforms["feature"], 1e-3)
        moved = [scope.get_current_value(v) for v in fresh.non_trainable_variables]
        return value, moved

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    trainable = [variable.value for variable in fresh.trainable_variables]
    rest = [variable.value for variable in fresh.non_trainable_variables]
    (value, moved), gradients = step(trainable, rest)
    np.testing.assert_allclose(value, given["loss"], rtol=1e-10)
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, given[f"gradient_{i}"], **close)
print("loaded on", keras.backend.backend())
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_saved_and_loaded_in_a_fresh_process(backend, tmp_path):
    pytest.importorskip(backend)
    network = narrow(num_categories=3)
    inputs = {"points": clouds(), "category": np.array([2, 0, 1])}
    labels = np.random.default_rng(2).integers(-1, 4, (3, 17))
    network.save(tmp_path / "network.keras")
    network.save_weights(tmp_path / "network.weights.h5")
    (tmp_path / "settings.json").write_text(NARROW.model_dump_json())
    at_rest = np.asarray(network(inputs))
    with tf.GradientTape() as tape:
        logits, transforms = network(inputs, training=True, return_transforms=True)
        loss = cross_entropy(labels, logits) + orthogonality(transforms["feature"], 1e-3)
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    np.savez(
        tmp_path / "given.npz",
        logits=at_rest,
        training_logits=np.asarray(logits),
        loss=float(loss),
        labels=labels,
        **{f"gradient_{i}": np.asarray(gradient) for i, gradient in enumerate(gradients)},
        **inputs,
    )
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"loaded on {backend}" in done.stdout
