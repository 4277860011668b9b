"""A step shared among devices is the step of one device."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from model.devices import dtype_policy, training_device, training_strategy
from model.training import train
from schema.errors import UserError
from tests.model.tiny_training import NARROW, ROCKET, SETTINGS, made

DRIVER = Path(__file__).with_name("training_driver.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(DRIVER.parents[2])}


def answer(output):
    """The JSON in the last line of a driver's output."""
    return json.loads(output.splitlines()[-1])


def test_a_step_on_two_devices_is_the_step_on_one():
    done = subprocess.run(
        [sys.executable, DRIVER, "two_replicas"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = answer(done.stdout)
    assert found["replicas"] == [1, 2]
    one, two = found["losses"]
    assert two == pytest.approx(one, rel=1e-6)
    for name, value in found["results"][0].items():
        assert found["results"][1][name] == pytest.approx(value, rel=1e-6)
    # Adam's first momentum is a tenth of the gradient, which was cut to 0.01.
    assert found["momentum_norm"] == pytest.approx(0.001, rel=1e-5)
    assert found["apart"] < 1e-4
    assert found["statistics_apart"] < 1e-6


class Replicas:
    num_replicas_in_sync = 3


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path):
    with pytest.raises(UserError, match="batch_size is 4; it must be a multiple of the 3"):
        train(made(8, 0), made(4, 1), ROCKET, NARROW, SETTINGS, str(tmp_path), strategy=Replicas())
    fewer = SETTINGS.model_copy(update={"batch_size": 6})
    with pytest.raises(UserError, match="train holds 2 clouds, fewer than the 3 replicas"):
        train(made(2, 0), made(4, 1), ROCKET, NARROW, fewer, str(tmp_path), strategy=Replicas())


def test_a_draw_of_more_points_than_there_are_is_refused(tmp_path):
    settings = SETTINGS.model_copy(update={"points_per_draw": 33})
    with pytest.raises(UserError, match="points_per_draw is 33, and the clouds have 32 points"):
        train(made(8, 0), made(4, 1), ROCKET, NARROW, settings, str(tmp_path))


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
def test_auto_takes_what_the_weakest_gpu_offers(monkeypatch, capabilities, policy):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu}
    )
    assert dtype_policy("auto") == policy
    assert dtype_policy("float32") == "float32"
    assert dtype_policy("float16") == "mixed_float16"


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


def test_a_gpu_that_tensorflow_was_not_built_for_is_named(gpus):
    gpus((8, 9), (12, 0))
    with pytest.raises(UserError, match=r"Made-up GPU has compute capability 12\.0, .*up to 9"):
        training_strategy()


@pytest.mark.parametrize(("mebibytes", "disabled"), [(64, True), (8192, False)])
def test_gpus_of_a_container_with_little_shared_memory_do_without(
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


def test_a_driver_whose_gpus_tensorflow_does_not_see_is_not_passed_over(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "although an NVIDIA driver is here" in training_device()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert training_device() == "the CPU (TensorFlow sees no GPU)"


def test_float32_is_not_rounded_on_the_gpus_that_would(tmp_path):
    tf.config.experimental.enable_tensor_float_32_execution(True)
    one = SETTINGS.model_copy(update={"epochs": 1})
    train(made(8, 0), made(4, 1), ROCKET, NARROW, one, str(tmp_path))
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
