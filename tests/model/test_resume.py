"""A training that was killed goes on as if nothing had been; what stops it says why."""

import csv
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model import training
from model.curves import CURVES_FILE, PICTURE_FILE
from model.input_pipeline import TransformedClouds
from model.training import identity, train
from model.training_state import CURRENT, PREVIOUS, Checkpoint, TrainingState
from schema.errors import UserError
from tests.model.tiny_training import NARROW, PLAIN, RESUMED, ROCKET, SETTINGS, made

HERE = Path(__file__).parent


def rows(folder):
    with (folder / CURVES_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


def counted(monkeypatch):
    """Counts the steps that are taken."""
    step, taken = training.TrainingStep.__call__, []

    def count(self, batch):
        taken.append(True)
        return step(self, batch)

    monkeypatch.setattr(training.TrainingStep, "__call__", count)
    return taken


def test_killed_in_mid_epoch_it_ends_with_the_very_numbers(tmp_path, monkeypatch):
    state = TrainingState(str(tmp_path / "state"))
    # Four steps an epoch, a checkpoint behind every second one: the last is behind step 6.
    command = [sys.executable, "training_driver.py", "killed", str(tmp_path / "lost")]
    killed = subprocess.run(
        [*command, state.folder, "7"],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert len(rows(tmp_path / "lost")) == 1
    assert (state.load().about["epoch"], state.load().about["step"]) == (1, 2)

    data = (made(16, 0), made(6, 1), ROCKET, NARROW, RESUMED)
    taken = counted(monkeypatch)
    again = train(*data, str(tmp_path / "again"), state=state)
    assert len(taken) == 12 - 6
    undisturbed = train(*data, str(tmp_path / "undisturbed"))
    for one, other in zip(again.get_weights(), undisturbed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    curves = [(tmp_path / name / CURVES_FILE).read_bytes() for name in ("again", "undisturbed")]
    assert curves[0] == curves[1]
    assert len(rows(tmp_path / "again")) == 3

    # It is finished: once more, and no step is taken.
    taken.clear()
    finished = train(*data, str(tmp_path / "finished"), state=state)
    assert not taken
    np.testing.assert_array_equal(finished.get_weights()[0], undisturbed.get_weights()[0])
    state.remove()
    assert not Path(state.folder).exists()


def checkpoint(value):
    return Checkpoint({"epoch": value}, [np.full([50, 50], value, np.float32), np.array(value)])


@pytest.fixture
def state(tmp_path):
    state = TrainingState(str(tmp_path / "state"))
    state.save(checkpoint(1))
    state.save(checkpoint(2))
    return state


def test_the_newest_checkpoint_is_loaded(state):
    found = state.load()
    assert found.about == {"epoch": 2}
    for array, expected in zip(found.arrays, checkpoint(2).arrays, strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    assert TrainingState(state.folder + "-other").load() is None


def damage(path, kind):
    content = bytearray(path.read_bytes())
    if kind == "cut":
        content = content[: len(content) // 2]
    elif kind == "empty":
        content = b""
    elif kind == "flipped":
        content[len(content) // 2] ^= 0xFF
    else:
        content = os.urandom(1000)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["cut", "empty", "flipped", "noise"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(state, kind):
    damage(Path(state.folder, CURRENT), kind)
    assert state.load().about == {"epoch": 1}
    # The next one must not push the damaged one over the good one.
    state.save(checkpoint(3))
    damage(Path(state.folder, CURRENT), kind)
    assert state.load().about == {"epoch": 1}
    damage(Path(state.folder, PREVIOUS), kind)
    assert state.load() is None


@pytest.mark.parametrize("scheme", ["file://", "ram://"])
def test_a_file_system_that_only_appends_keeps_checkpoints_too(scheme, tmp_path):
    """TensorFlow's own file systems, gs:// among them, refuse to seek in a file being written."""
    state = TrainingState(f"{scheme}{tmp_path}/state")
    for epoch in (1, 2):
        state.save(checkpoint(epoch))
    assert sorted(tf.io.gfile.listdir(state.folder)) == [PREVIOUS, CURRENT]
    found = state.load()
    assert found.about == {"epoch": 2}
    np.testing.assert_array_equal(found.arrays[0], checkpoint(2).arrays[0])
    state.remove()
    assert state.load() is None


def test_a_full_disk_is_said_and_keeps_what_is_there(state, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"state: No space left on device\. .* make room"):
        state.save(checkpoint(3))
    monkeypatch.undo()
    assert sorted(os.listdir(state.folder)) == [PREVIOUS, CURRENT]
    assert state.load().about == {"epoch": 2}


def test_what_decides_a_training_names_it():
    clouds, validation = made(4, 0), made(4, 1)
    one = (clouds, validation, ROCKET, NARROW, SETTINGS)
    others = [
        (made(4, 2), *one[1:]),
        (clouds, clouds, *one[2:]),
        (*one[:3], NARROW.model_copy(update={"dropout": 0.2}), SETTINGS),
        (*one[:4], SETTINGS.model_copy(update={"seed": 1})),
    ]
    names = [identity(*arguments, code="a") for arguments in (one, *others)]
    assert len({*names, identity(*one, code="b")}) == 6
    assert identity(*one, code="a") == names[0]
    oftener = SETTINGS.model_copy(update={"checkpoint_steps": 1})
    assert identity(*one[:4], oftener, code="a") == names[0]


def test_a_loss_that_is_no_number_stops_training_and_its_batch_is_kept(tmp_path):
    clouds = made(4, 0)
    broken = TransformedClouds(
        clouds.points * np.array([1, 1, np.nan, 1])[:, None, None], clouds.labels, clouds.category
    )
    settings = SETTINGS.model_copy(update={"batch_size": 2, "points_per_draw": None})
    with pytest.raises(UserError, match=r"became nan at step [12] of epoch 1; .*bad_batch\.npz"):
        train(broken, clouds, ROCKET, PLAIN, settings, str(tmp_path / "run"))
    with np.load(tmp_path / "run-stopped" / training.BAD_BATCH_FILE, allow_pickle=False) as batch:
        found = {name: batch[name] for name in batch.files}
    assert found["points"].shape == (2, 32, 3)
    assert found["labels"].shape == (2, 32)
    assert found["epoch"] == 1
    nan = np.isnan(found["points"]).all(axis=(1, 2))
    assert nan.sum() == 1
    np.testing.assert_array_equal(found["labels"][nan][0], clouds.labels[2])


def test_memory_that_runs_out_is_said(tmp_path, monkeypatch):
    def too_large(self, batch):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(training.TrainingStep, "__call__", too_large)
    state = TrainingState(str(tmp_path / "state"))
    message = r"batch_size \(now 4\) .*points_per_draw \(now 24\).*now float32.* checkpoint is kept"
    with pytest.raises(UserError, match=message):
        train(made(8, 0), made(4, 1), ROCKET, NARROW, SETTINGS, str(tmp_path), state=state)


def test_patience_ends_training(tmp_path, monkeypatch):
    quality = iter([0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    monkeypatch.setattr(training.TrainingStep, "__call__", lambda self, batch: 0.0)
    monkeypatch.setattr(
        training.Validation, "measure", lambda self: {training.MONITORED: next(quality)}
    )
    settings = SETTINGS.model_copy(update={"patience": 3, "epochs": 6})
    train(made(8, 0), made(4, 1), ROCKET, NARROW, settings, str(tmp_path))
    assert (tmp_path / PICTURE_FILE).read_bytes().startswith(b"\x89PNG")
    # Epoch 2 is the best; 4 is only as good.
    assert [float(row[training.MONITORED]) for row in rows(tmp_path)] == [0.5, 0.7, 0.6, 0.7, 0.65]
