"""What every family of networks must do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from model.loss import cross_entropy
from model.networks.families import NetworkSettings
from model.networks.interface import EXCLUDED_LOGIT, limit_to_category
from model.networks.layers import PointwiseLayer
from tests.model.networks.tiny import FAMILIES, TINY, clouds, make

ROOT = Path(__file__).resolve().parents[3]
CLOSE = {"atol": 1e-12, "rtol": 0}


@pytest.fixture(params=TINY)
def settings(request):
    return TINY[request.param]


def test_each_family_is_tested():
    assert {*map(type, FAMILIES.values())} == set(get_args(NetworkSettings) or [NetworkSettings])


def loss_and_gradients(network, points, labels, **options):
    """Of a training step; all must be finite."""
    with tf.GradientTape() as tape:
        logits = network(points, training=True, **options)
        loss = cross_entropy(labels, logits) + sum(network.losses)
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    assert all(np.isfinite(value).all() for value in (loss, *gradients))
    return loss, gradients


def test_any_number_of_clouds_and_points_in_one_graph(settings):
    network = make(settings)
    signature = [tf.TensorSpec((None, None, 3), tf.float64)]
    call = tf.function(lambda points: network(points), signature)
    for batch, points in ((1, 1), (2, 2), (3, 17), (2, 700), (1, 5000)):
        cloud = clouds(batch, points)
        logits = call(cloud)
        assert logits.shape == (batch, points, 4)
        np.testing.assert_allclose(logits, network(cloud), **CLOSE)
        np.testing.assert_allclose(logits[:1], call(cloud[:1]), **CLOSE)


@pytest.mark.parametrize("training", [False, True])
def test_permuted_points_permute_the_logits(settings, training):
    network, points = make(settings), clouds(points=200)
    order = np.random.default_rng(5).permutation(200)
    logits = np.asarray(network(points, training=training))
    permuted = network(points[:, order], training=training)
    np.testing.assert_allclose(permuted, logits[:, order], **CLOSE)


def test_padding_changes_no_bit(settings):
    network, points, sizes = make(settings), clouds(points=20), [20, 13, 1]
    valid = np.arange(33) < np.array(sizes)[:, None]
    padded = np.pad(points, ((0, 0), (0, 13), (0, 0)))
    fillings = [np.where(valid[..., None], padded, value) for value in (0.0, 1e6, np.nan)]
    answers = [np.asarray(network(filled, valid=valid)) for filled in fillings]
    for cloud, size in enumerate(sizes):
        for answer in answers:
            np.testing.assert_array_equal(answer[cloud, :size], answers[0][cloud, :size])
        alone = network(points[cloud : cloud + 1, :size])
        np.testing.assert_allclose(answers[0][cloud, :size], alone[0], **CLOSE)


@pytest.mark.parametrize(
    "points",
    [clouds(1, 30), clouds(1, 1), np.full((2, 9, 3), 0.25), np.zeros((2, 9, 3))],
    ids=["one cloud", "one point", "equal points", "the origin"],
)
def test_degenerate_batches_train(settings, points):
    network = make(settings, dtype="float32")
    loss_and_gradients(network, points, np.ones(points.shape[:2], int))
    assert all(np.isfinite(weight).all() for weight in network.get_weights())
    logits = network(points)
    assert np.isfinite(logits).all()
    if points.shape[0] == 2:
        np.testing.assert_allclose(logits, np.tile(logits[:1, :1], (2, 9, 1)), atol=1e-5)


def test_the_folded_network_predicts_the_same(settings):
    network = make(settings, num_categories=3)
    inputs, before = (clouds(), np.array([2, 0, 1])), network.get_weights()
    folded, expected = network.for_inference(), np.asarray(network(*inputs))
    assert folded.compute_dtype == "float32" and not folded.trainable_weights
    for weight, value in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    # Batch norm's weights are not used any more.
    for layer in folded._flatten_layers():
        if isinstance(layer, PointwiseLayer):
            for weight in (layer.gamma, layer.moving_mean, layer.moving_variance):
                weight.assign(ops.full_like(weight, np.nan))
    np.testing.assert_allclose(folded(*inputs), expected, atol=1e-5 * np.abs(expected).max())


def test_a_network_of_several_categories_uses_each_clouds_own(settings):
    network, points = make(settings, num_categories=3), np.repeat(clouds(1, 9), 3, axis=0)
    logits = np.asarray(network(points, category=np.array([0, 1, 1])))
    np.testing.assert_allclose(logits[1], logits[2], **CLOSE)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    alone = make(settings)
    np.testing.assert_array_equal(alone(points, category=np.array([0, 1, 1])), alone(points))


def test_limit_to_category():
    logits = clouds(5, 6).reshape(3, 5, 6).astype(np.float32)
    ranges, category = [[0, 2], [2, 3], [3, 6]], np.array([2, 0, 1])
    limited = np.asarray(limit_to_category(logits, category, ranges))
    for cloud, (first, end) in enumerate(np.asarray(ranges)[category]):
        np.testing.assert_array_equal(limited[cloud, :, first:end], logits[cloud, :, first:end])
        outside = np.delete(limited[cloud], np.arange(first, end), axis=-1)
        assert (outside == np.float32(EXCLUDED_LOGIT)).all()
        assert (np.asarray(ops.softmax(limited[cloud]))[:, first:end].sum(-1) > 0.999).all()


@pytest.mark.parametrize(("dtype", "share"), [("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)])
def test_low_precision_stays_near(settings, dtype, share):
    exact, rounded = make(settings, dtype="float32"), make(settings, dtype=dtype)
    points, labels = clouds(8, 64), np.random.default_rng(2).integers(-1, 4, (8, 64))
    expected = np.asarray(exact(points, training=True))
    logits = rounded(points, training=True)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert {weight.dtype for weight in rounded.weights} == {"float32"}
    assert np.abs(logits - expected).max() < share * np.abs(expected).max()
    loss_and_gradients(rounded, points, labels)


def test_momentum_is_set_in_every_layer(settings):
    network = make(settings)
    network.set_batch_norm_momentum(1.0)
    before = network.get_weights()
    network(clouds(), training=True)
    for weight, value in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("wrong", [{"num_classes": 0}, {"num_classes": 4, "num_categories": 0}])
def test_impossible_numbers_are_refused(settings, wrong):
    with pytest.raises(ValueError, match=r"0; it must be at least 1"):
        settings.build(**wrong)


FRESH_PROCESS = """
import sys
import keras
import numpy as np
from pydantic import TypeAdapter
from model.loss import cross_entropy
from model.networks.families import NetworkSettings

folder = sys.argv[1]
given = np.load(folder + "/given.npz")
inputs = given["points"], given["category"]
settings = TypeAdapter(NetworkSettings).validate_json(open(folder + "/settings.json").read())
network = settings.build(4, 3, "float64")
network.load_weights(folder + "/network.weights.h5")
np.testing.assert_allclose(network(*inputs), given["logits"], atol=1e-10, rtol=0)
if keras.backend.backend() == "jax":
    import jax

    both = network.trainable_variables, network.non_trainable_variables

    def loss(*values):
        state = [pair for variables, v in zip(both, values) for pair in zip(variables, v)]
        with keras.StatelessScope(state, collect_losses=True) as scope:
            value = cross_entropy(given["labels"], network(*inputs, training=True))
            return value + sum(scope.losses)

    values = [[v.value for v in variables] for variables in both]
    value, gradients = jax.jit(jax.value_and_grad(loss))(*values)
    np.testing.assert_allclose(value, given["loss"], rtol=1e-10)
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, given[f"gradient_{i}"], atol=1e-10, rtol=0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_saved_and_loaded_in_a_fresh_process(backend, family, tmp_path):
    network, points, category = make(FAMILIES[family], 3), clouds(), np.array([2, 0, 1])
    labels = np.random.default_rng(2).integers(-1, 4, (3, 17))
    network.save_weights(tmp_path / "network.weights.h5")
    (tmp_path / "settings.json").write_text(network.settings.model_dump_json())
    logits = np.asarray(network(points, category))
    loss, gradients = loss_and_gradients(network, points, labels, category=category)
    given = {"points": points, "category": category, "labels": labels, "logits": logits}
    given |= {f"gradient_{i}": np.asarray(gradient) for i, gradient in enumerate(gradients)}
    np.savez(tmp_path / "given.npz", loss=float(loss), **given)
    settings = {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", FRESH_PROCESS, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=os.environ | settings, check=True)
