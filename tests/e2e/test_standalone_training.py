"""`pointnet-parts train`: two processes train, by the command alone, what a run trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from click.testing import CliRunner

from deploy.flink.free_ports import free_ports
from pipeline.cli import main

COMMAND = Path(sys.executable).parent / "pointnet-parts"
# Seconds after which a process is taken for one that hangs.
BOUND = 900


@pytest.mark.slow
def test_two_workers_train_by_one_command_what_a_run_trained(first_run, tmp_path):
    runs, _, _ = first_run
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    workers = []
    try:
        for index in range(2):
            task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            workers.append(
                subprocess.Popen(
                    [str(COMMAND), "train", str(runs.out), str(tmp_path / "trained")],
                    env={**os.environ, "TF_CONFIG": json.dumps(task)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        outputs = [worker.communicate(timeout=BOUND)[0] for worker in workers]
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    model = tmp_path / "trained" / "model" / "Format-Serving"
    assert all(f"model: {model}" in output for output in outputs)
    answer = tf.saved_model.load(str(model)).signatures["serving_default"](
        points=tf.random.stateless_uniform([1, 50, 3], [0, 0])
    )
    assert answer["part"].shape == (1, 50)
    curves = (tmp_path / "trained" / "model_run" / "curves.csv").read_text().splitlines()
    assert len(curves) > 2

    # What stands there is not written over.
    again = CliRunner().invoke(main, ["train", str(runs.out), str(tmp_path / "trained")])
    assert again.exit_code == 2
    assert "holds a trained model already" in again.output


def test_a_folder_without_a_run_is_named(tmp_path):
    done = CliRunner().invoke(main, ["train", str(tmp_path), str(tmp_path / "trained")])
    assert done.exit_code == 2
    assert f"{tmp_path} holds no run" in done.output
