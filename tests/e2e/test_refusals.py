"""Runs that must stop: broken data, wrong words on the command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from rich.console import Console

from pipeline.config import parse_config
from pipeline.execution import PipelineFailed, execute
from pipeline.graph import Places, create_pipeline
from preprocessing.conversion.manifest import MANIFEST, Manifest
from schema.categories import SHAPENET_CATEGORIES
from schema.errors import UserError
from tests.e2e.conftest import TINY, Runs


def broken_example(index: int) -> bytes:
    """An Example whose points are called `pointz`."""
    features = {
        "shape_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"%d" % index])),
        "category": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"Airplane"])),
        "pointz": tf.train.Feature(float_list=tf.train.FloatList(value=[0.0] * 12)),
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=[0] * 4)),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def test_data_that_breaks_the_schema_stops_before_training_and_pushes_nothing(tmp_path):
    manifest = Manifest("", "", "0" * 64, {}, (), (), (), ())
    for split in ("train", "val", "test"):
        folder = tmp_path / "data" / manifest.version / split
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "part.tfrecord.gz"), "GZIP") as writer:
            for i in range(3):
                writer.write(broken_example(i))
    (tmp_path / "data" / MANIFEST).write_text(manifest.to_text())
    places = Places(
        examples=str(tmp_path / "data"),
        pipeline_root=str(tmp_path / "artifacts"),
        serving=str(tmp_path / "serving"),
        metadata=str(tmp_path / "metadata.sqlite"),
        categories=SHAPENET_CATEGORIES[:1],
    )
    pipeline = create_pipeline(parse_config(TINY, "tiny"), places)
    with pytest.raises(PipelineFailed, match="points") as stopped:
        execute(pipeline, Console(file=io.StringIO()))
    assert stopped.value.component == "CloudValidator"
    assert not (tmp_path / "serving").exists()
    assert not (tmp_path / "artifacts" / "Trainer").exists()


@pytest.mark.parametrize(
    ("config", "data", "category", "sentence"),
    [
        ("nonesuch", "", "", "neither a preset"),
        ("demo", "/no/such/folder", "", "there is no such folder or file"),
        ("airplane", "", "", "needs data"),
        ("demo", "", "Spaceship", "Spaceship"),
    ],
)
def test_wrong_words_end_in_one_sentence_before_any_work(
    tmp_path, config, data, category, sentence
):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipeline.local_runner", "--config", config),
            *("--data", data, "--category", category, "--out", str(tmp_path / "out")),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out" / "pipeline" / "metadata.sqlite").exists()


def test_an_output_folder_that_tfx_would_read_as_a_pattern_is_refused(tmp_path):
    (tmp_path / "run[1]").mkdir()
    with pytest.raises(UserError) as raised:
        Runs(tmp_path / "run[1]").run()
    assert raised.value.code == "bad_output" and "run[1]" in raised.value.message
    assert not (tmp_path / "run[1]" / "out").exists()


def test_a_second_run_in_the_same_folder_waits_its_turn(tmp_path):
    from pipeline.local_runner import OutputFolder, only_run

    folder = OutputFolder(tmp_path)
    folder.artifacts.mkdir(parents=True)
    with only_run(folder), pytest.raises(UserError, match="another run"), only_run(folder):
        pass


def test_an_unknown_category_of_real_looking_data_names_the_known_ones(tmp_path):
    from preprocessing.datasets.demo import make_demo_shapes

    data = make_demo_shapes(tmp_path / "shapes", 3, ["Table", "Chair"], 0)
    with pytest.raises(UserError, match="Table"):
        Runs(tmp_path).run(data=str(data), category="Airplane")


def test_whoever_is_to_be_told_is_told_of_data_that_cannot_be_used(tmp_path):
    """And a program that cannot be started changes nothing about how the run ends."""
    (tmp_path / "shapes").mkdir()
    kept = tmp_path / "message.json"
    program = f"import sys; open({str(kept)!r}, 'w').write(sys.stdin.read())"
    runs = Runs(tmp_path)
    for command in ([sys.executable, "-c", program], ["/nowhere/tell"]):
        config = f"{TINY}notify: {{command: {json.dumps(command)}}}\n"
        with pytest.raises(UserError) as stopped:
            runs.run(config, data=str(tmp_path / "shapes"))
        message = json.loads(kept.read_text())
        assert message["event"] == "failed"
        assert message["reasons"] == [str(stopped.value)]


@pytest.mark.parametrize("workers", [["here:1", "there:2"], 3])
def test_workers_that_a_run_on_one_machine_does_not_start_are_refused(monkeypatch, workers):
    from pipeline.local_runner import _refuse_several_workers

    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": workers}}))
    with pytest.raises(UserError, match=r"TF_CONFIG.*(names 2 workers.*Unset it|expected JSON)"):
        _refuse_several_workers()
    monkeypatch.delenv("TF_CONFIG")
    _refuse_several_workers()
