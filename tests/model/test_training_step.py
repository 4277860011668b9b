"""One step, by itself: averages, class weights, and a scaled loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from model import row_sums, training
from model.loss import cross_entropy
from model.network import build_network
from model.training import TrainingStep, train
from schema.errors import UserError
from tests.model.tiny_training import PLAIN, ROCKET, SETTINGS, made


def step_on(settings, weights=None, policy="float32"):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        network = build_network(PLAIN.model_copy(update={"dropout": 0.0}), 2)
    finally:
        keras.config.set_dtype_policy("float32")
    return TrainingStep(network, settings, 4, weights)


@pytest.fixture(scope="module")
def batch():
    clouds = made(4, 0)
    return {"points": clouds.points, "category": clouds.category}, clouds.labels


def test_the_average_of_the_weights_is_used_and_taken_away(batch):
    decay = 0.75
    step = step_on(SETTINGS.model_copy(update={"ema_decay": decay}))
    kernel = step.network.logits_kernel
    taken = []
    for _ in range(3):
        step(batch)
        taken.append(kernel.numpy())
    # Keras starts the average with the first step's weights.
    expected = taken[0]
    for weights in taken[1:]:
        expected = decay * expected + (1 - decay) * weights
    with step.averaged_weights():
        np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-5)
        assert (kernel.numpy() != taken[-1]).any()
    np.testing.assert_array_equal(kernel.numpy(), taken[-1])


def test_class_weights_reach_the_loss_and_a_batch_without_a_label_gives_no_nan(batch):
    weights = [1.0, 5.0]
    inputs, labels = batch
    step = step_on(SETTINGS, weights)
    logits = step.network(inputs["points"], training=True)
    expected = float(cross_entropy(labels, logits, weights))
    assert expected != pytest.approx(float(cross_entropy(labels, logits)), rel=1e-3)
    assert step(batch) == pytest.approx(expected, rel=1e-5)
    assert step((inputs, tf.fill(labels.shape, -1))) == 0.0
    assert all(np.isfinite(weight).all() for weight in step.network.get_weights())


def test_float16_scales_the_loss_and_learns(batch):
    step = step_on(SETTINGS, policy="mixed_float16")
    assert isinstance(step.optimizer, keras.optimizers.LossScaleOptimizer)
    first = step(batch)
    plain = step_on(SETTINGS)
    # What is reported is not scaled.
    assert first == pytest.approx(plain(batch), rel=0.02)
    losses = [step(batch) for _ in range(20)]
    assert losses[-1] < 0.9 * first
    assert step.network.logits_kernel.dtype == "float32"
    assert float(step.optimizer.dynamic_scale) >= 1.0


def test_a_step_compiled_by_xla_is_the_same_step(batch, monkeypatch):
    """As on a single GPU, which has no sparse product."""
    plain = step_on(SETTINGS)
    expected = [plain(batch) for _ in range(3)]
    monkeypatch.setattr(row_sums, "_has_sparse_product", lambda: False)
    compiled = step_on(SETTINGS)
    compiled._run = tf.function(compiled._on_all_replicas, jit_compile=True)
    assert [compiled(batch) for _ in range(3)] == pytest.approx(expected, rel=1e-4)
    for mine, other in zip(compiled.network.weights, plain.network.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-3, atol=1e-3)


def test_float16_trains_on_batches_of_many_points():
    """65,536 points, of which a layer's sum of squares passes the largest number."""
    clouds = made(32, 0, points=2048)
    batch = {"points": clouds.points, "category": clouds.category}, clouds.labels
    half, single = step_on(SETTINGS, policy="mixed_float16"), step_on(SETTINGS)
    for variable in [*half.network.variables, *single.network.variables]:
        if variable.name == "gamma":
            variable.assign(variable.value * 4)
    losses = [half(batch) for _ in range(3)]
    assert losses == pytest.approx([single(batch) for _ in range(3)], rel=0.05)
    assert float(half.optimizer.dynamic_scale) == float(half.optimizer.initial_scale)
    for mine, other in zip(half.network.variables, single.network.variables, strict=True):
        if mine.name == "moving_variance":
            np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=0.05, atol=1e-3)


def test_gradients_that_float16_never_holds_end_training(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "cross_entropy", lambda *given: cross_entropy(*given) * 1e34)
    settings = SETTINGS.model_copy(update={"epochs": 50, "precision": "float16"})
    clouds = made(16, 0)
    with pytest.raises(UserError, match=r"float16 does not hold .*precision to float32"):
        train(clouds, made(4, 1), ROCKET, PLAIN, settings, str(tmp_path))
