"""One step, by itself: averages, class weights, and a scaled loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from model.loss import cross_entropy
from model.network import build_network
from model.training import TrainingStep
from tests.model.tiny_training import PLAIN, SETTINGS, made


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
