"""One step: averages, class weights, a scaled loss, and the same on several devices."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from model.loss import cross_entropy
from model.training import step as module
from model.training.devices import dtype_policy, training_device, training_strategy
from model.training.loop import train
from model.training.optimizer import make_optimizer
from model.training.step import TrainingStep
from schema.errors import UserError
from tests.model.training.tiny import NARROW, PLAIN, SETTINGS, clouds, job

DRIVER = Path(__file__).with_name("driver.py")


def step_on(settings=SETTINGS, weights=None, policy="float32", network=PLAIN):
    keras.utils.set_random_seed(0)
    network = network.model_copy(update={"dropout": 0.0}).build(2, dtype=policy)
    return TrainingStep(network, make_optimizer(settings, 20, 4), weights)


def batch_of(split):
    return {"points": split.points, "category": split.category}, split.labels


@pytest.fixture(scope="module")
def batch():
    return batch_of(clouds(4, 0))


def test_the_average_of_the_weights_is_used_and_taken_away(batch):
    decay = 0.75
    step = step_on(SETTINGS.model_copy(update={"ema_decay": decay}))
    kernel = step.network.logits_kernel
    weights = []
    for _ in range(3):
        step(batch)
        weights.append(kernel.numpy())
    # Keras starts the average with the first step's weights.
    expected = weights[0]
    for value in weights[1:]:
        expected = decay * expected + (1 - decay) * value
    with step.averaged_weights():
        np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-5)
        assert (kernel.numpy() != weights[-1]).any()
    np.testing.assert_array_equal(kernel.numpy(), weights[-1])


def test_class_weights_and_orthogonality_are_in_the_loss_and_no_label_gives_no_nan(batch):
    weights = [1.0, 5.0]
    inputs, labels = batch
    step = step_on(weights=weights)
    logits = step.network(inputs["points"], training=True)
    expected = float(cross_entropy(labels, logits, weights))
    assert expected != pytest.approx(float(cross_entropy(labels, logits)), rel=1e-3)
    assert step(batch) == pytest.approx(expected, rel=1e-5)
    assert step((inputs, tf.fill(labels.shape, -1))) == 0.0
    assert all(np.isfinite(weight).all() for weight in step.network.get_weights())
    # The T-Net's matrices are turned away from the identity, which costs nothing.
    turned = step_on(network=NARROW.model_copy(update={"orthogonality": 0.5}))
    turned.network.feature_transform.bias.assign(2 * np.eye(8).ravel())
    logits = turned.network(inputs["points"], training=True)
    # ||4 I - I||^2 = 9 * 8 for each cloud.
    expected = float(cross_entropy(labels, logits)) + 0.5 * 72
    assert turned(batch) == pytest.approx(expected, rel=1e-5)


def test_float16_scales_the_loss_and_learns(batch):
    step = step_on(policy="mixed_float16")
    assert isinstance(step.optimizer, keras.optimizers.LossScaleOptimizer)
    first = step(batch)
    # What is reported is not scaled.
    assert first == pytest.approx(step_on()(batch), rel=0.02)
    losses = [step(batch) for _ in range(20)]
    assert losses[-1] < 0.9 * first
    assert step.network.logits_kernel.dtype == "float32"
    assert float(step.optimizer.dynamic_scale) >= 1.0


def test_a_step_compiled_by_xla_is_the_same_step(batch):
    plain, compiled = step_on(network=NARROW), step_on(network=NARROW)
    expected = [plain(batch) for _ in range(3)]
    compiled._run = tf.function(compiled._on_all_replicas, jit_compile=True)
    assert [compiled(batch) for _ in range(3)] == pytest.approx(expected, rel=1e-4)


def test_float16_trains_on_batches_of_many_points():
    """65,536 points, of which a layer's sum of squares passes the largest number."""
    batch = batch_of(clouds(32, 0, points=2048))
    half, single = step_on(policy="mixed_float16"), step_on()
    for variable in [*half.network.variables, *single.network.variables]:
        if variable.name == "gamma":
            variable.assign(variable.value * 4)
    losses = [half(batch) for _ in range(3)]
    assert losses == pytest.approx([single(batch) for _ in range(3)], rel=0.05)
    assert float(half.optimizer.dynamic_scale) == float(half.optimizer.initial_scale)
    for variable, other in zip(half.network.variables, single.network.variables, strict=True):
        if variable.name == "moving_variance":
            np.testing.assert_allclose(variable.numpy(), other.numpy(), rtol=0.05, atol=1e-3)


def test_gradients_that_float16_never_holds_end_training(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "cross_entropy", lambda *given: cross_entropy(*given) * 1e34)
    with pytest.raises(UserError) as error:
        train(job(network=PLAIN, epochs=50, precision="float16"), str(tmp_path))
    assert error.value.code == "cannot_train"
    assert "float16" in error.value.message


def test_a_step_on_two_devices_is_the_step_on_one():
    done = subprocess.run(
        [sys.executable, DRIVER, "two_replicas"],
        env={**os.environ, "PYTHONPATH": str(DRIVER.parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["replicas"] == 2
    one, two = result["losses"]
    assert two == pytest.approx(one, rel=1e-6)
    assert result["epochs"][1] == pytest.approx(result["epochs"][0], rel=1e-6)
    # Adam's first momentum is a tenth of the gradient, which was cut to 0.01.
    assert result["momentum_norm"] == pytest.approx(0.001, rel=1e-5)
    assert result["apart"] < 1e-4
    assert result["statistics_apart"] < 1e-6


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that this machine has GPUs of some compute capabilities; none is used."""

    def pretend(*capabilities):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(capabilities))
        monkeypatch.setattr(
            tf.config.experimental,
            "get_device_details",
            lambda gpu: {"compute_capability": gpu, "device_name": "Made-up GPU"},
        )

    return pretend


@pytest.mark.parametrize(
    ("capabilities", "policy"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 0)], "mixed_float16"),
        ([(9, 0), (7, 5)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
    ],
)
def test_auto_takes_what_the_weakest_gpu_offers(gpus, capabilities, policy):
    gpus(*capabilities)
    assert dtype_policy("auto") == policy
    assert dtype_policy("float32") == "float32"
    assert dtype_policy("float16") == "mixed_float16"


@pytest.mark.parametrize(("mebibytes", "disabled"), [(64, True), (8192, False)])
def test_gpus_of_a_container_with_little_shared_memory_are_connected_without_it(
    gpus, monkeypatch, mebibytes, disabled
):
    gpus((7, 5), (7, 5))
    monkeypatch.delenv("NCCL_SHM_DISABLE", raising=False)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: "mirrored")
    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/dev/shm")
    size = SimpleNamespace(total=mebibytes * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: size)
    assert training_strategy() == "mirrored"
    assert ("NCCL_SHM_DISABLE" in os.environ) is disabled
    os.environ.pop("NCCL_SHM_DISABLE", None)


def test_a_driver_whose_gpus_tensorflow_does_not_see_is_reported(gpus, monkeypatch):
    gpus()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    without = training_device()
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "driver" in training_device()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert training_device() == without


def test_float32_is_not_rounded_on_the_gpus_that_would(tmp_path):
    tf.config.experimental.enable_tensor_float_32_execution(True)
    train(job(8, network=PLAIN, epochs=1), str(tmp_path))
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
