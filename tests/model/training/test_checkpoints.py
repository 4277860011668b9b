"""A killed training is resumed with the very numbers; storage errors cost no checkpoint."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tenacity
import tensorflow as tf

from model.training import checkpoints as module
from model.training import loop
from model.training.checkpoints import CURRENT, PREVIOUS, Checkpoints
from model.training.curves import CURVES_FILE
from model.training.loop import train
from schema.errors import UserError
from tests.model.training.driver import RESUMED
from tests.model.training.tiny import NARROW, clouds, job, read_curves

DRIVER = Path(__file__).with_name("driver.py")


def count_steps(monkeypatch):
    step, taken = loop.TrainingStep.__call__, []

    def counted(self, batch):
        taken.append(True)
        return step(self, batch)

    monkeypatch.setattr(loop.TrainingStep, "__call__", counted)
    return taken


def test_killed_in_mid_epoch_it_ends_with_the_very_numbers(tmp_path, monkeypatch):
    """16 clouds in batches of 6: 8 steps, and epochs that end in mid-batch."""
    checkpoints = Checkpoints(str(tmp_path / "checkpoints"))
    killed = subprocess.run(
        [sys.executable, DRIVER, "killed", str(tmp_path / "lost"), checkpoints.folder, "4"],
        env={**os.environ, "PYTHONPATH": str(DRIVER.parents[3])},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert len(read_curves(tmp_path / "lost")) == 1
    about, _ = checkpoints.load()
    assert (about["step"], len(about["rows"])) == (4, 1)

    taken = count_steps(monkeypatch)
    again = train(job(**RESUMED), str(tmp_path / "again"), checkpoints=checkpoints)
    assert len(taken) == 8 - 4
    undisturbed = train(job(**RESUMED), str(tmp_path / "undisturbed"))
    for one, other in zip(again.get_weights(), undisturbed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    curves = [(tmp_path / name / CURVES_FILE).read_bytes() for name in ("again", "undisturbed")]
    assert curves[0] == curves[1]

    # It is finished: started once more, it takes no step.
    taken.clear()
    finished = train(job(**RESUMED), str(tmp_path / "finished"), checkpoints=checkpoints)
    assert not taken
    np.testing.assert_array_equal(finished.get_weights()[0], undisturbed.get_weights()[0])


def test_checkpoints_are_written_by_time_and_at_the_end(tmp_path, monkeypatch):
    """A second passes with each step: every 3 seconds, and once training has ended."""
    clock, saved = iter(range(10**6)), []
    now = [0]
    step = loop.TrainingStep.__call__

    def counted(self, batch):
        now[0] = next(clock) + 1
        return step(self, batch)

    monkeypatch.setattr(loop.TrainingStep, "__call__", counted)
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, about, arrays: saved.append(about["step"])
    )
    given = job(epochs=2, checkpoint_seconds=3)
    train(given, str(tmp_path), checkpoints=Checkpoints(str(tmp_path / "checkpoints")))
    assert saved == [3, 6, 8]


def checkpoint(value):
    return {"step": value}, [np.full([50, 50], value, np.float32), np.array(value)]


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.setattr(module.retried, "wait", tenacity.wait_none())
    checkpoints = Checkpoints(str(tmp_path / "checkpoints"))
    checkpoints.save(*checkpoint(1))
    checkpoints.save(*checkpoint(2))
    return checkpoints


def files(checkpoints):
    return sorted(os.listdir(checkpoints.folder))


def test_the_newest_checkpoint_is_loaded(saved):
    about, arrays = saved.load()
    assert about == {"step": 2}
    for array, expected in zip(arrays, checkpoint(2)[1], strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    assert Checkpoints(saved.folder + "-other").load() is None
    saved.remove()
    assert not Path(saved.folder).exists()


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
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(saved, kind):
    damage(Path(saved.folder, CURRENT), kind)
    # Another worker reads, and leaves the file to the chief.
    assert Checkpoints(saved.folder, writes=False).load()[0] == {"step": 1}
    assert files(saved) == [PREVIOUS, CURRENT]
    assert saved.load()[0] == {"step": 1}
    # The next one does not push the damaged one over the good one.
    saved.save(*checkpoint(3))
    damage(Path(saved.folder, CURRENT), kind)
    assert saved.load()[0] == {"step": 1}
    damage(Path(saved.folder, PREVIOUS), kind)
    assert saved.load() is None
    assert files(saved) == [f"damaged-{PREVIOUS}", f"damaged-{CURRENT}"]


STORAGE_ERRORS = [
    tf.errors.UnavailableError(None, None, "gs://bucket/x: HTTP 503"),
    PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
    OSError(errno.EIO, os.strerror(errno.EIO)),
]


@pytest.mark.parametrize("error", STORAGE_ERRORS)
def test_a_storage_error_is_retried_and_then_stops_without_a_loss(saved, monkeypatch, error):
    real, failures = module._read, [error, error]

    def sometimes(path):
        if failures:
            raise failures.pop()
        return real(path)

    monkeypatch.setattr(module, "_read", sometimes)
    assert saved.load()[0] == {"step": 2}
    failures += [error] * 100
    with pytest.raises(UserError) as raised:
        saved.load()
    assert raised.value.code == "cannot_train"
    assert saved.folder in raised.value.message
    assert files(saved) == [PREVIOUS, CURRENT]
    failures.clear()
    assert saved.load()[0] == {"step": 2}


def test_a_full_disk_keeps_the_checkpoints_before(saved, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as raised:
        saved.save(*checkpoint(3))
    assert os.strerror(errno.ENOSPC) in raised.value.message
    monkeypatch.undo()
    assert files(saved) == [PREVIOUS, CURRENT]
    assert saved.load()[0] == {"step": 2}


@pytest.mark.parametrize("scheme", ["file://", "ram://"])
def test_a_file_system_that_only_appends_keeps_checkpoints_too(scheme, tmp_path):
    """TensorFlow's own file systems, gs:// among them, refuse to seek in a file being written."""
    checkpoints = Checkpoints(f"{scheme}{tmp_path}/checkpoints")
    for step in (1, 2):
        checkpoints.save(*checkpoint(step))
    assert sorted(tf.io.gfile.listdir(checkpoints.folder)) == [PREVIOUS, CURRENT]
    assert checkpoints.load()[0] == {"step": 2}
    checkpoints.remove()
    assert checkpoints.load() is None


def test_what_decides_a_training_names_it():
    one = job(4)
    names = [
        one.identity(code="a"),
        one.identity(code="b"),
        job(5).identity(code="a"),
        job(4, network=NARROW.model_copy(update={"dropout": 0.2})).identity(code="a"),
        job(4, seed=1).identity(code="a"),
    ]
    assert len(set(names)) == 5
    assert job(4, checkpoint_seconds=1).identity(code="a") == names[0]
    assert clouds(4, 0).fingerprint() != clouds(4, 1).fingerprint()
