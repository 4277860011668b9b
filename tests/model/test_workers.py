"""Two processes train one network as one process would; one that is lost stops the other."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from deploy.flink.free_ports import free_ports
from model.curves import CURVES_FILE, TENSORBOARD_FOLDER, Curves
from model.devices import is_chief, training_strategy
from model.network import build_network
from model.trained_network import weights_path
from model.workers import check_same_start, lost_workers_named, wait_for_all
from schema.errors import UserError
from tests.google_storage import google_storage
from tests.model.test_trainer import write
from tests.model.tiny_training import PLAIN, ROCKET, SETTINGS, made

DRIVER = Path(__file__).with_name("workers_driver.py")
NETWORK = PLAIN.model_copy(update={"dropout": 0.0})
# Four steps an epoch; the last checkpoint before the seventh step is behind the sixth.
TRAINING = SETTINGS.model_copy(update={"epochs": 3, "checkpoint_steps": 2})
# Seconds that a process may take in all before it is taken for one that hangs.
BOUND = 600


class Job:
    """Trainings of one config and one data set, as one process or as two on loopback."""

    def __init__(self, folder: Path):
        self.folder = folder
        write(folder / "train.gz", made(16, 0), None)
        write(folder / "val.gz", made(6, 1), None)

    def arguments(self, name, state):
        values = {
            "train_files": [str(self.folder / "train.gz")],
            "eval_files": [str(self.folder / "val.gz")],
            "model_run_dir": str(self.folder / name / "run"),
            "serving_model_dir": str(self.folder / name / "Format-Serving"),
            "hyperparameters": None,
            "base_model": None,
            "train_steps": None,
            "custom_config": {
                "categories": [category.to_json() for category in ROCKET],
                "network": NETWORK.model_dump(mode="json"),
                "training": TRAINING.model_dump(mode="json"),
                "points_per_cloud": 32,
                "training_state": state if "://" in state else str(self.folder / state),
            },
        }
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(values))
        return file

    def start(self, name, config, steps=None, state="state", environment=None):
        command = [sys.executable, str(DRIVER), str(self.arguments(name, state))]
        return subprocess.Popen(
            [*command, *([] if steps is None else [str(steps)])],
            env={
                **os.environ,
                "PYTHONPATH": str(DRIVER.parents[2]),
                "TF_CONFIG": config,
                # oneDNN chooses its kernels by the CPU and by the sizes of a batch, so that on some
                # CPUs half a batch is summed in another order. Equal weights need one order.
                "TF_ENABLE_ONEDNN_OPTS": "0",
                **(environment or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name, lost="", after=0, **others):
        """Trains with two workers, of which one may be lost after some steps.

        Returns status and output of each, by its task.
        """
        chief, worker = free_ports(2)
        # As Vertex AI writes it.
        cluster = {"chief": [f"localhost:{chief}"], "worker": [f"localhost:{worker}"]}
        processes = []
        try:
            for task in cluster:
                config = {
                    "cluster": cluster,
                    "environment": "cloud",
                    "task": {"type": task, "index": 0},
                }
                steps = after if task == lost else None
                processes.append(self.start(name, json.dumps(config), steps, **others))
            outputs = [process.communicate(timeout=BOUND) for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
        return {
            task: (process.returncode, "".join(output))
            for task, process, output in zip(cluster, processes, outputs, strict=True)
        }

    def weights(self, name):
        network = build_network(NETWORK, 2)
        network.load_weights(weights_path(str(self.folder / name / "Format-Serving")))
        return {weight.path.partition("/")[2]: weight.numpy() for weight in network.weights}

    def curves(self, name):
        with (self.folder / name / "run" / CURVES_FILE).open(newline="") as file:
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A training of two workers, and how they ended."""
    job = Job(tmp_path_factory.mktemp("workers"))
    return job, job.run("two")


@pytest.mark.slow
def test_two_workers_train_as_one_process_does(undisturbed):
    job, ended = undisturbed
    assert [status for status, _ in ended.values()] == [0, 0], ended
    alone = job.start("one", "")
    output = alone.communicate(timeout=BOUND)
    assert alone.returncode == 0, output
    two, one = job.curves("two"), job.curves("one")
    assert len(two) == len(one) == TRAINING.epochs
    for row, wanted in zip(two, one, strict=True):
        for name, value in wanted.items():
            tolerance = 5e-3 if name.startswith("val_") else 1e-5
            assert row[name] == pytest.approx(value, rel=tolerance), name
    # The next layer's batch norm takes this shift away again: it has no gradient but rounding,
    # which Adam blows up. The loss does not see it; validation, by the moving mean, a little.
    found, wanted = job.weights("two"), job.weights("one")
    without_gradient = {"pooled/beta", "head_0/moving_mean"}
    assert without_gradient < set(wanted)
    for name in set(wanted) - without_gradient:
        np.testing.assert_allclose(found[name], wanted[name], atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_the_chief_writes_all_and_a_finished_training_leaves_no_state(undisturbed):
    job, ended = undisturbed
    # A worker that came back before the chief had exported would fail in TFX's executor.
    assert all("the model is there: True" in output for _, output in ended.values()), ended
    assert len(list((job.folder / "two" / "run").glob("*.tfevents.*"))) == 1
    assert os.listdir(job.folder / "state") == []


@pytest.fixture
def bucket(tmp_path):
    """A double of Google's storage, where machines keep what all of them must see."""
    with google_storage(tmp_path / "storage", "checkpoints") as found:
        yield found


def checkpoints(storage):
    """The names of the files in the bucket, without their folder's."""
    names = storage.names("checkpoints")
    return [name.rpartition("/")[2] for name in names if not name.endswith("/")]


@pytest.mark.slow
def test_lost_workers_stop_the_others_and_restarts_end_with_the_same_weights(undisturbed, bucket):
    job, _ = undisturbed
    storage, environment = bucket
    state = "gs://checkpoints/disturbed"
    for name, lost, after, more, expected, then in (
        ("first", "worker", 7, {}, 1, "Start the same command on all machines again"),
        # Vertex AI ends the job for good where a process ends with 1.
        ("second", "chief", 3, {"CLUSTER_SPEC": "{}"}, 134, "Vertex AI starts this one again"),
    ):
        ended = job.run(name, lost, after, state=state, environment={**environment, **more})
        assert ended.pop(lost)[0] == -signal.SIGKILL
        ((status, output),) = ended.values()
        assert status == expected, output
        assert re.search(
            rf"worker {lost}:0 \(localhost:\d+\) was lost in mid-training.*{then}: training goes "
            "on from its last checkpoint",
            output,
        ), output
        assert "Traceback" not in output
        assert sorted(checkpoints(storage)) == ["previous.npz", "state.npz"]
    ended = job.run("third", state=state, environment=environment)
    assert [status for status, _ in ended.values()] == [0, 0], ended
    found, wanted = job.weights("third"), job.weights("two")
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert job.curves("third") == job.curves("two")
    assert checkpoints(storage) == []
    assert storage.refused == []


class Strategy:
    """As much of a strategy of two workers as is asked for; this one is worker 0."""

    class cluster_resolver:
        task_type, task_id = "worker", 0

        @staticmethod
        def cluster_spec():
            return tf.train.ClusterSpec({"worker": ["here:1", "there:2"]})


def test_errors_that_are_not_of_a_lost_worker_stay_what_they_are():
    storage = tf.errors.UnavailableError(None, None, "gs://bucket/x: HTTP 503")
    collective = tf.errors.UnavailableError(
        None, None, "Collective ops is aborted by: from /job:worker/task:1: heartbeat timeout. x"
    )
    alone = tf.distribute.get_strategy()
    for strategy, error in ((Strategy(), storage), (alone, storage), (alone, collective)):
        with pytest.raises(tf.errors.UnavailableError), lost_workers_named(strategy, "x"):
            raise error
    with (
        pytest.raises(UserError, match=r"worker worker:1 \(there:2\) was lost.* timeout\)"),
        lost_workers_named(Strategy(), "it goes on"),
    ):
        raise collective


def test_one_process_waits_for_nobody():
    strategy = tf.distribute.get_strategy()
    check_same_start(strategy, 3)
    wait_for_all(strategy)
    assert is_chief(strategy)


def test_workers_that_found_different_checkpoints_are_stopped(monkeypatch):
    monkeypatch.setattr("model.workers._mean_over_workers", lambda strategy, value: 3.0)
    check_same_start(Strategy(), 3)
    with pytest.raises(UserError, match=r"behind step 6, and others another one .*all workers"):
        check_same_start(Strategy(), 6)


@pytest.mark.parametrize("config", ["{", '["host:1"]', '{"cluster": {"worker": 3}}'])
def test_a_tf_config_that_cannot_be_read_is_named(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=r"environment variable TF_CONFIG is .*expected JSON"):
        training_strategy()


@pytest.mark.parametrize(
    "config", ["", "{}", '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}']
)
def test_a_single_worker_needs_no_strategy_of_several(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    assert not isinstance(training_strategy(), tf.distribute.MultiWorkerMirroredStrategy)


def test_workers_must_be_started_in_a_process_of_their_own(monkeypatch):
    """Such as a pipeline's on one machine, whose components have computed before."""
    tf.constant(1) + 1
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    with pytest.raises(UserError, match=r"localhost:1, localhost:2\) cannot train together"):
        training_strategy()


def scalars(folder):
    """All scalars of a folder's event files, in the order in which they were written."""
    found = []
    for path in sorted(folder.glob("*.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                found.append((event.step, value.tag, float(tf.make_ndarray(value.tensor))))
    return found


ROWS = [
    {"epoch": n, "loss": 1.0 / n, "val_instance_miou": 0.25 * n, "learning_rate": 0.5}
    for n in (1, 2, 3)
]
WANTED = [(row["epoch"], key) for row in ROWS for key in row if key != "epoch"]


def test_each_epoch_is_in_tensorboards_events_where_vertex_ai_wants_them(tmp_path, monkeypatch):
    monkeypatch.setenv(TENSORBOARD_FOLDER, str(tmp_path / "shown"))
    curves = Curves(str(tmp_path / "run"))
    curves.add(ROWS[0])
    curves.add(ROWS[1])
    # The process is lost here. The job's next one finds the first epochs there.
    again = Curves(str(tmp_path / "again"), ROWS[:2])
    again.add(ROWS[2])
    again.finish()
    for name, count in (("run", 2), ("again", 3), ("shown", 3)):
        found = scalars(tmp_path / name)
        assert sorted((step, tag) for step, tag, _ in found) == sorted(WANTED[: 3 * count]), name
    values = {(step, tag): value for step, tag, value in scalars(tmp_path / "shown")}
    assert values[2, "val_instance_miou"] == 0.5
    assert values[3, "loss"] == pytest.approx(1 / 3)
    # Another job has a folder of its own, and shows all epochs.
    monkeypatch.setenv(TENSORBOARD_FOLDER, str(tmp_path / "other"))
    Curves(str(tmp_path / "third"), ROWS).finish()
    assert len(scalars(tmp_path / "other")) == len(WANTED)


def test_without_vertex_ai_the_events_are_beside_the_curves_alone(tmp_path, monkeypatch):
    monkeypatch.delenv(TENSORBOARD_FOLDER, raising=False)
    Curves(str(tmp_path / "run"), ROWS).finish()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert len(scalars(tmp_path / "run")) == len(WANTED)
