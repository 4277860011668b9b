"""First, repeated and changed runs on made-up airplanes, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import TINY

COMPONENTS = {
    "ImportExampleGen",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "SkewValidator",
    "DriftValidator",
    "DataReport",
    "CloudValidator",
    "Transform",
    "Trainer",
    "Evaluator",
    "SegmentationReport",
    "ModelServerProbe",
    "Pusher",
}
REPOSITORY = Path(__file__).parents[2]


def demanding(folder: Path) -> str:
    """A config whose bounds are out of reach, and a program that keeps what it is told."""
    kept = folder / "message.json"
    program = f"import sys; open({str(kept)!r}, 'w').write(sys.stdin.read())"
    command = json.dumps([sys.executable, "-c", program])
    bounds = TINY.replace("accuracy: {minimum: 0.0", "accuracy: {minimum: 1.0")
    return f"{bounds}notify: {{command: {command}}}\n"


def of_components(counts: Counter, state: str) -> dict[str, int]:
    return {name: n for (name, found), n in counts.items() if found == state and name in COMPONENTS}


@pytest.fixture(scope="module")
def history(first_run):
    """Executions after the first run, after a repetition, after changed settings; and versions."""
    runs, status, screen = first_run
    steps = [("first", status, screen, runs.executions(), runs.versions())]
    for name, config in (
        ("repeated", TINY),
        ("longer", TINY.replace("epochs: 2", "epochs: 3")),
        ("demanding", demanding(runs.folder)),
    ):
        status, screen = runs.run(config)
        steps.append((name, status, screen, runs.executions(), runs.versions()))
    return {name: rest for name, *rest in steps}


def difference(history, later: str, earlier: str) -> tuple[set[str], set[str]]:
    """Components that ran, and those that came from the cache, between two runs."""
    after, before = history[later][2], history[earlier][2]
    new = after - before
    return set(of_components(new, "COMPLETE")), set(of_components(new, "CACHED"))


def test_first_run_executes_each_component_once_and_pushes_a_blessed_model(history):
    status, screen, counts, versions = history["first"]
    assert status == 0, screen
    assert of_components(counts, "COMPLETE") == dict.fromkeys(COMPONENTS, 1)
    assert of_components(counts, "CACHED") == {}
    assert len(versions) == 1
    assert "Blessed" in screen and versions[0] in screen
    for part in ("body", "wing", "tail", "engine"):
        assert re.search(rf"{part} .*[\d,]+ .*0\.\d{{4}}", screen)


def test_the_run_stores_its_config_its_log_and_its_report(first_run):
    runs, _, screen = first_run
    stored = yaml.safe_load((runs.out / "pipeline" / "config.yaml").read_text())
    assert stored["transform"]["points_per_cloud"] == 256
    # Arguments are often secrets.
    assert set(stored["notify"]["command"][1:]) == {"***"}
    assert "points_per_cloud: 256" in screen
    assert "Component Trainer is finished" in (runs.out / "pipeline" / "run.log").read_text()
    assert "<html" in (runs.out / "report.html").read_text()


def test_a_repeated_run_is_all_cache_and_pushes_nothing_again(history):
    status, _, _, versions = history["repeated"]
    assert status == 0
    assert difference(history, "repeated", "first") == (set(), COMPONENTS)
    assert versions == history["first"][3]


def test_a_changed_recipe_reruns_training_and_what_follows_it_and_nothing_else(history):
    status, screen, _, versions = history["longer"]
    assert status == 0, screen
    ran, cached = difference(history, "longer", "repeated")
    assert ran == {
        "Trainer",
        "Evaluator",
        "SegmentationReport",
        "ModelServerProbe",
        "Pusher",
    }
    assert cached == COMPONENTS - ran
    assert len(versions) == 2
    assert "compared with the blessed model before it" in screen


def test_a_model_below_its_bounds_is_not_pushed_and_the_run_says_which_bound(history):
    status, screen, _, versions = history["demanding"]
    assert status == 1
    assert versions == history["longer"][3]
    assert "Not blessed" in screen
    missed = r"point accuracy:\s+minimum\s+1\.0000\s+missed,\s+measured\s+0\.\d+"
    assert re.search(missed, screen)
    ran, _ = difference(history, "demanding", "longer")
    assert "Trainer" not in ran


def test_who_is_to_be_told_of_a_model_that_is_not_blessed_is_told(history, first_run):
    runs, _, _ = first_run
    _, screen, _, _ = history["demanding"]
    assert "Notified" in screen
    message = json.loads((runs.folder / "message.json").read_text())
    assert message["event"] == "not_blessed"
    assert message["report"] == str(runs.out / "report.html")
    assert any("minimum 1.0000 missed" in reason for reason in message["reasons"])
    assert message["reasons"][0] in message["text"]


SEGMENT_ALONE = """
import json, sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
shapes = {}
for n in (1, 700, 1024, 2048, 5000):
    points = np.random.default_rng(n).normal(size=(1, n, 3)).astype("float32")
    answer = model.signatures["serving_default"](points=tf.constant(points))
    part, probability = answer["part"].numpy(), answer["probability"].numpy()
    assert set(np.unique(part)) <= {0, 1, 2, 3}
    assert np.allclose(probability.sum(axis=2), 1, atol=1e-5)
    shapes[n] = [list(part.shape), list(probability.shape)]
ours = {"schema", "preprocessing", "model", "components", "pipeline", "serving"} & set(sys.modules)
print(json.dumps([shapes, sorted(ours)]))
"""


def test_the_pushed_model_labels_clouds_of_any_size_without_our_code(first_run, tmp_path):
    runs, _, _ = first_run
    model = next((runs.out / "serving_model" / "tiny").iterdir())
    done = subprocess.run(
        [sys.executable, "-c", SEGMENT_ALONE, str(model)],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shapes, ours = json.loads(done.stdout.splitlines()[-1])
    assert ours == []
    assert shapes == {str(n): [[1, n], [1, n, 4]] for n in (1, 700, 1024, 2048, 5000)}
    assert json.loads((model / "assets" / "parts.json").read_text())["categories"][0]["parts"]


def test_training_evaluation_and_serving_see_the_same_features(first_run, tmp_path):
    """Transform's sample of a cloud is, bit for bit, rows of what the signatures normalise."""
    import numpy as np
    import tensorflow as tf

    from model.export.signatures import Segmenter
    from preprocessing.conversion.records import from_example
    from preprocessing.tensors.normalisation import normalise
    from schema.categories import Category

    class Echo(tf.Module):
        """Stands in for the network: its logits are the features that it is given."""

        def __call__(self, points, category=None, valid=None, training=False):
            return points

    runs, _, _ = first_run
    artifacts = runs.out / "pipeline" / "artifacts"
    raw = next((artifacts / "CloudValidator" / "sound_examples").glob("*/Split-train/*"))
    transformed = next((artifacts / "Transform" / "transformed_examples").glob("*/Split-train/*"))
    clouds = {
        record.shape_id: record
        for record in map(
            from_example,
            tf.data.TFRecordDataset(str(raw), compression_type="GZIP").as_numpy_iterator(),
        )
    }
    segmenter = Segmenter(Echo(), (Category("Echo", "0", ("x", "y", "z")),))
    serve = segmenter.signatures()["serving_default"]
    examples = tf.data.TFRecordDataset(str(transformed), compression_type="GZIP")
    checked = 0
    for example in examples.as_numpy_iterator():
        feature = tf.train.Example.FromString(example).features.feature
        cloud = clouds[feature["shape_id"].bytes_list.value[0].decode()]
        seen = np.array(feature["points"].float_list.value, np.float32).reshape(-1, 3)
        labels = np.array(feature["labels"].int64_list.value)
        whole = normalise(cloud.points[np.newaxis]).numpy()[0]
        rows = {row.tobytes(): i for i, row in enumerate(whole)}
        indices = [rows[row.tobytes()] for row in seen]
        np.testing.assert_array_equal(cloud.labels[indices], labels)
        assert len(set(indices)) == min(len(whole), 256)
        served = serve(cloud.points[np.newaxis])["probability"].numpy()[0]
        np.testing.assert_allclose(served[indices], tf.nn.softmax(seen).numpy(), rtol=1e-6)
        checked += 1
    assert checked == len(clouds) > 10


def test_tfx_command_line_creates_and_runs_the_same_pipeline_from_anywhere(first_run, tmp_path):
    runs, _, _ = first_run
    shutil.copytree(
        runs.out, tmp_path / "out", ignore=shutil.ignore_patterns("pipeline", "serving_model")
    )
    (tmp_path / "tiny.yaml").write_text(TINY, "utf-8")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "LOCAL_HOME": str(tmp_path / "tfx_local"),
        "POINTNET_CONFIG": str(tmp_path / "tiny.yaml"),
        "POINTNET_OUT": str(tmp_path / "out"),
    }
    runner = REPOSITORY / "pipeline" / "local_runner.py"

    def tfx(*arguments: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "tfx"), *arguments, "--engine", "local"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "created successfully" in tfx("pipeline", "create", f"--pipeline_path={runner}")
    screen = tfx("run", "create", "--pipeline_name=tiny")
    assert "Blessed" in screen
    assert len(list((tmp_path / "out" / "serving_model" / "tiny").iterdir())) == 1
