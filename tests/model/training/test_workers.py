"""Two processes train one network as one process would; one that is lost stops the other."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from deploy.flink.free_ports import free_ports
from model.export.trained_network import weights_path
from model.training.curves import TENSORBOARD_FOLDER, Curves
from model.training.devices import is_chief, training_strategy
from model.training.workers import check_same_start, lost_workers_reported, of_chief
from schema.errors import UserError
from tests.google_storage import google_storage
from tests.model.training.tiny import PLAIN, ROCKET, SETTINGS, clouds, read_curves, write_split

DRIVER = Path(__file__).with_name("driver.py")
NETWORK = PLAIN.model_copy(update={"dropout": 0.0})
# Four steps an epoch; workers write a checkpoint at each epoch's end.
TRAINING = SETTINGS.model_copy(update={"epochs": 3, "checkpoint_seconds": 0})
# Seconds after which a process is taken for one that hangs.
BOUND = 600


class Trainings:
    """Trainings of one config and one data set, as one process or as two on loopback."""

    def __init__(self, folder):
        self.folder = folder
        write_split(folder / "train.gz", clouds(16, 0))
        write_split(folder / "val.gz", clouds(6, 1))

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
        command = [sys.executable, str(DRIVER), "worker", str(self.arguments(name, state))]
        return subprocess.Popen(
            [*command, *([] if steps is None else [str(steps)])],
            env={
                **os.environ,
                "PYTHONPATH": str(DRIVER.parents[3]),
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
        """Trains with two workers, of which one may be lost; status and output of each, by task."""
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
        network = NETWORK.build(2)
        network.load_weights(weights_path(str(self.folder / name / "Format-Serving")))
        named = {}
        for layer in network._flatten_layers(include_self=False):
            named |= {f"{layer.name}/{weight.name}": weight.numpy() for weight in layer.weights}
        return named


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A training of two workers, and how they ended."""
    trainings = Trainings(tmp_path_factory.mktemp("workers"))
    return trainings, trainings.run("two")


@pytest.mark.slow
def test_two_workers_train_as_one_process_does(undisturbed):
    trainings, ended = undisturbed
    assert [status for status, _ in ended.values()] == [0, 0], ended
    alone = trainings.start("one", "", state="state of one")
    output = alone.communicate(timeout=BOUND)
    assert alone.returncode == 0, output
    two, one = (read_curves(trainings.folder / name / "run") for name in ("two", "one"))
    assert len(two) == len(one) == TRAINING.epochs
    for row, expected in zip(two, one, strict=True):
        for name, value in expected.items():
            tolerance = 5e-3 if name.startswith("val_") else 1e-5
            assert row[name] == pytest.approx(value, rel=tolerance), name
    # The next layer's batch norm takes this shift away again: it has no gradient but rounding,
    # which Adam blows up. The loss does not see it; validation, by the moving mean, a little.
    weights, expected = trainings.weights("two"), trainings.weights("one")
    without_gradient = {"pooled/beta", "head_0/moving_mean"}
    assert without_gradient < set(expected)
    for name in set(expected) - without_gradient:
        np.testing.assert_allclose(weights[name], expected[name], atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_the_chief_writes_all_and_a_finished_training_leaves_no_checkpoint(undisturbed):
    trainings, ended = undisturbed
    # A worker that came back before the chief had exported would fail in TFX's executor.
    assert all("the model is there: True" in output for _, output in ended.values()), ended
    assert len(list((trainings.folder / "two" / "run").glob("*.tfevents.*"))) == 1
    assert os.listdir(trainings.folder / "state") == []


@pytest.mark.slow
def test_lost_workers_stop_the_others_and_restarts_end_with_the_same_weights(undisturbed, tmp_path):
    trainings, _ = undisturbed
    state = "gs://checkpoints/disturbed"
    with google_storage(tmp_path / "storage", "checkpoints") as (storage, environment):

        def names():
            paths = storage.names("checkpoints")
            return [name.rpartition("/")[2] for name in paths if not name.endswith("/")]

        for name, lost, after, more, expected in (
            ("first", "worker", 9, {}, 1),
            # Vertex AI ends the job for good if a process ends with 1.
            ("second", "chief", 3, {"CLUSTER_SPEC": "{}"}, 134),
        ):
            ended = trainings.run(name, lost, after, state=state, environment=environment | more)
            assert ended.pop(lost)[0] == -signal.SIGKILL
            ((status, output),) = ended.values()
            assert status == expected, output
            assert "a worker was lost" in output
            assert "Traceback" not in output
            assert sorted(names()) == ["previous.npz", "state.npz"]
        ended = trainings.run("third", state=state, environment=environment)
        assert [status for status, _ in ended.values()] == [0, 0], ended
        weights, expected = trainings.weights("third"), trainings.weights("two")
        for name, value in expected.items():
            np.testing.assert_array_equal(weights[name], value, err_msg=name)
        curves = [read_curves(trainings.folder / name / "run") for name in ("third", "two")]
        assert curves[0] == curves[1]
        assert names() == []
        assert storage.refused == []


class Strategy:
    """As much of a strategy of two workers as is used here; this one is worker 0."""

    class cluster_resolver:
        task_type, task_id = "worker", 0

        @staticmethod
        def cluster_spec():
            return tf.train.ClusterSpec({"worker": ["here:1", "there:2"]})


def test_errors_that_are_not_of_a_lost_worker_are_not_changed():
    storage = tf.errors.UnavailableError(None, None, "gs://bucket/x: HTTP 503")
    collective = tf.errors.UnavailableError(
        None, None, "Collective ops is aborted by: from /job:worker/task:1: heartbeat timeout. x"
    )
    alone = tf.distribute.get_strategy()
    for strategy, error in ((Strategy(), storage), (alone, storage), (alone, collective)):
        with pytest.raises(tf.errors.UnavailableError), lost_workers_reported(strategy, "x"):
            raise error
    with pytest.raises(UserError) as raised, lost_workers_reported(Strategy(), "it is resumed"):
        raise collective
    assert raised.value.code == "cannot_train"
    assert "/job:worker/task:1: heartbeat timeout" in raised.value.message
    assert "it is resumed" in raised.value.message


def test_one_process_waits_for_no_other():
    strategy = tf.distribute.get_strategy()
    check_same_start(strategy, 3)
    assert of_chief(strategy, [1.5, 2]) == [1.5, 2]
    assert is_chief(strategy)


def test_workers_that_found_different_checkpoints_are_stopped(monkeypatch):
    monkeypatch.setattr(
        "model.training.workers.sum_over_workers", lambda strategy, values: [6.0, 2.0]
    )
    check_same_start(Strategy(), 3)
    with pytest.raises(UserError) as error:
        check_same_start(Strategy(), 6)
    assert "step 6" in error.value.message


@pytest.mark.parametrize("config", ["{", '["host:1"]', '{"cluster": {"worker": 3}}'])
def test_a_tf_config_that_cannot_be_read_is_named(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError) as error:
        training_strategy()
    assert "TF_CONFIG" in error.value.message
    assert config in error.value.message


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
    with pytest.raises(UserError) as error:
        training_strategy()
    assert "localhost:1, localhost:2" in error.value.message


def scalars(folder):
    """All scalars of a folder's event files, in the order in which they were written."""
    values = []
    for path in sorted(folder.glob("*.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                values.append((event.step, value.tag, float(tf.make_ndarray(value.tensor))))
    return values


ROWS = [
    {"epoch": n, "loss": 1.0 / n, "val_instance_miou": 0.25 * n, "learning_rate": 0.5}
    for n in (1, 2, 3)
]
SCALARS = [(row["epoch"], key) for row in ROWS for key in row if key != "epoch"]


def test_each_epoch_is_in_tensorboards_events_where_vertex_ai_wants_them(tmp_path, monkeypatch):
    monkeypatch.setenv(TENSORBOARD_FOLDER, str(tmp_path / "shown"))
    curves = Curves(str(tmp_path / "run"))
    curves.add(ROWS[0])
    curves.add(ROWS[1])
    # The process is lost here. The job's next one finds the first epochs there.
    again = Curves(str(tmp_path / "again"), ROWS[:2])
    again.add(ROWS[2])
    again.close()
    for name, count in (("run", 2), ("again", 3), ("shown", 3)):
        written = [(step, tag) for step, tag, _ in scalars(tmp_path / name)]
        assert sorted(written) == sorted(SCALARS[: 3 * count]), name
    values = {(step, tag): value for step, tag, value in scalars(tmp_path / "shown")}
    assert values[2, "val_instance_miou"] == 0.5
    assert values[3, "loss"] == pytest.approx(1 / 3)
    # Another job has a folder of its own, and shows all epochs.
    monkeypatch.setenv(TENSORBOARD_FOLDER, str(tmp_path / "other"))
    Curves(str(tmp_path / "third"), ROWS).close()
    assert len(scalars(tmp_path / "other")) == len(SCALARS)
    monkeypatch.delenv(TENSORBOARD_FOLDER)
    Curves(str(tmp_path / "alone"), ROWS).close()
    assert len(scalars(tmp_path / "alone")) == len(SCALARS)
