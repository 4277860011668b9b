"""CloudValidator on made-up records; tests/e2e and tests/spec run it in whole pipelines."""

import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.artifacts import CloudQuarantine, categories_json
from components.cloud_validator import CloudValidator, list_shards
from preprocessing.checks.settings import ValidationSettings
from preprocessing.conversion.beam_options import IN_PROCESS
from preprocessing.conversion.manifest import Manifest
from preprocessing.settings import DataSettings
from reports.inspection.sources import open_source
from reports.inspection.survey import take_survey
from schema.categories import Category
from schema.errors import UserError

CATEGORIES = (Category("Tool", "01", ("head", "handle")), Category("Cup", "02", ("body",)))


def example(shape_id, seed=None, *, points=None, labels=None, category="Tool"):
    """A serialized record of eight points: `seed` makes them up where they are not given."""
    if points is None:
        points = np.random.default_rng(seed).normal(size=(8, 3))
    points = np.asarray(points, np.float32).ravel()
    if labels is None:
        labels = np.arange(len(points) // 3) % (1 if category == "Cup" else 2)
    feature = {
        "shape_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[shape_id.encode()])),
        "category": tf.train.Feature(bytes_list=tf.train.BytesList(value=[category.encode()])),
        "points": tf.train.Feature(float_list=tf.train.FloatList(value=points)),
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
    }
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString(deterministic=True)


def write_examples(folder, splits):
    """An Examples artifact of {split: [[record, ...] a file]}."""
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(folder), artifact_utils.encode_split_names([*splits])
    artifact.set_int_custom_property("span", 7)
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    for split, shards in splits.items():
        for number, records in enumerate(shards):
            path = folder / f"Split-{split}" / f"data_tfrecord-{number:05d}-of-{len(shards):05d}.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
                for record in records:
                    writer.write(record)
    return artifact


def anomalies_of(folder, split="", **anomalies):
    """ExampleAnomalies of nothing, or of "Split-<name>" or "SplitPair-<name>"."""
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(folder)
    names = [split.split("-")[1]] if split else []
    artifact.split_names = artifact_utils.encode_split_names(names)
    if split:
        (folder / split).mkdir(parents=True)
        message = anomalies_pb2.Anomalies(**anomalies)
        (folder / split / "SchemaDiff.pb").write_bytes(message.SerializeToString())
    return artifact


def validate(folder, examples, shifts=(), **settings):
    """Runs the component; returns the artifact of sound examples and that of the quarantine."""
    sound, quarantine = standard_artifacts.Examples(), CloudQuarantine()
    sound.uri, quarantine.uri = str(folder / "sound"), str(folder / "quarantine")
    CloudValidator.test_call(
        **{"anomalies": anomalies_of(folder / "anomalies"), **dict(shifts)},
        examples=examples,
        sound_examples=sound,
        quarantine=quarantine,
        settings=ValidationSettings(**settings).model_dump_json(),
        categories=categories_json(CATEGORIES),
        code_fingerprint="",
        beam_pipeline=beam.Pipeline(argv=list(IN_PROCESS)),
    )
    return sound, quarantine


def records_in(folder):
    return [
        record
        for path in sorted(Path(folder).iterdir())
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
    ]


def contents(folder):
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def findings_in(folder):
    return [json.loads(line) for line in (Path(folder) / "findings.jsonl").read_text().splitlines()]


# What is left when the bad clouds are taken out, by split, in order.
GOOD = {
    "train": [[example(f"train-{i}", i) for i in range(6)], [example("cup", 6, category="Cup")]],
    "val": [[example(f"val-{i}", 10 + i) for i in range(2)]],
    "test": [[example(f"test-{i}", 20 + i) for i in range(2)]],
}
BAD = {
    "LABEL_COUNT": ("short", example("short", 30, labels=[0, 1, 0])),
    "LABEL_RANGE": ("cup-7", example("cup-7", 31, category="Cup", labels=[0, 7, *[0] * 6])),
    "ZERO_RADIUS": ("dot", example("dot", points=np.ones((8, 3)))),
    "COORDINATE_COUNT": ("cut", example("cut", points=np.arange(23.0), labels=[0] * 8)),
    "TOO_FEW_POINTS": ("line", example("line", points=[[0, 0, 0], [0, 0, 1]])),
    "UNKNOWN_CATEGORY": ("plane", example("plane", 32, category="Bird")),
    "UNREADABLE": ("", b"\xff\xff"),
    "SHAPE_IN_TWO_SPLITS": ("test-0", example("test-0", 33)),
    # Of two different clouds with one id, the one whose points hash lower stays.
    "SHAPE_TWICE": ("train-0", example("train-0", 34)),
    # The points of test-1 in another order, under another name.
    "GEOMETRY_IN_TWO_SPLITS": (
        "renamed",
        example("renamed", points=np.random.default_rng(21).normal(size=(8, 3))[::-1]),
    ),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Sound and bad clouds; and what the component made of them."""
    folder = tmp_path_factory.mktemp("mixed")
    bad = [record for _, record in BAD.values()]
    first, second = GOOD["train"]
    train = [[*bad[:4], *first, *bad[4:]], second]
    examples = write_examples(folder / "examples", GOOD | {"train": train})
    return examples, *validate(folder / "first", examples, quarantine_share=0.6)


def test_sound_clouds_pass_byte_for_byte_in_their_files_and_order(mixed):
    examples, sound, _ = mixed
    for split, shards in GOOD.items():
        assert records_in(f"{sound.uri}/Split-{split}") == [r for shard in shards for r in shard]
        files = [list(Path(f"{a.uri}/Split-{split}").iterdir()) for a in (examples, sound)]
        assert {path.name for path in files[0]} == {path.name for path in files[1]}
    assert {path.name for path in Path(sound.uri).iterdir()} == {f"Split-{s}" for s in GOOD}
    assert sound.split_names == examples.split_names
    assert sound.get_int_custom_property("span") == 7
    assert sound.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert sound.get_string_custom_property("file_format") == "tfrecords_gzip"


def test_quarantine_has_the_refused_records_and_the_reasons(mixed):
    _, _, quarantine = mixed
    names = {path.name for path in Path(quarantine.uri).iterdir()}
    assert names == {"Split-train", "findings.jsonl", "summary.json"}
    assert records_in(f"{quarantine.uri}/Split-train") == [record for _, record in BAD.values()]
    findings = [f for f in findings_in(quarantine.uri) if f["severity"] == "quarantine"]
    assert [(f["code"], f["split"], f["shape_id"]) for f in findings] == [
        (code, "train", shape_id) for code, (shape_id, _) in BAD.items()
    ]
    summary = json.loads(Path(quarantine.uri, "summary.json").read_text())
    assert (summary["train"]["clouds"], summary["train"]["refused"]) == (17, 10)
    assert summary["train"]["quarantine"] == dict.fromkeys(sorted(BAD), 1)
    assert summary["test"] == {"clouds": 2, "refused": 0, "quarantine": {}, "warning": {}}


def test_inspect_finds_in_the_artifact_what_the_component_found(mixed):
    examples, _, quarantine = mixed
    manifest = Manifest("", "", "0" * 64, {}, CATEGORIES, (), (), ())
    (Path(examples.uri).parent / "manifest.json").write_text(manifest.to_text())
    source = open_source(examples.uri, DataSettings(category="all"))
    survey = take_survey(source, ValidationSettings(quarantine_share=0.6), pictures=0)
    consequence = {"quarantine": "refused", "warning": "warning"}
    expected = {
        (consequence[f["severity"]], f["code"], f["sentence"]) for f in findings_in(quarantine.uri)
    }
    found = [(*key, text) for key, texts in survey.findings.items() for text in texts]
    assert len(found) == len(expected) and set(found) == expected
    assert (survey.read, survey.refused) == (21, len(BAD))


def test_a_second_run_writes_the_same_bytes(mixed, tmp_path):
    examples, *first = mixed
    for old, new in zip(first, validate(tmp_path, examples, quarantine_share=0.6), strict=True):
        assert contents(old.uri) == contents(new.uri) != {}


def test_too_many_refused_clouds_stop_the_run(mixed, tmp_path):
    with pytest.raises(UserError) as stopped:
        validate(tmp_path, mixed[0], quarantine_share=0.5)
    assert stopped.value.code == "too_many_refused"
    message = str(stopped.value)
    assert "10 of 17 clouds of train" in message and "1 LABEL_COUNT, first short" in message
    # TFX removes the outputs of a component that fails.
    kept = f"{tmp_path}/quarantine-stopped"
    assert f"{kept}/findings.jsonl" in message
    assert {f["code"] for f in findings_in(kept)} >= set(BAD)


@pytest.mark.parametrize("severity", ["ERROR", "WARNING"])
def test_anomalies_of_severity_error_stop_the_run(severity, tmp_path):
    info = anomalies_pb2.AnomalyInfo(
        severity=anomalies_pb2.AnomalyInfo.Severity.Value(severity), description="value: 299"
    )
    given = anomalies_of(tmp_path / "given", "Split-val", anomaly_info={"labels": info})
    examples = write_examples(tmp_path / "examples", GOOD)
    if severity == "WARNING":
        _, quarantine = validate(tmp_path, examples, {"anomalies": given})
        assert findings_in(quarantine.uri) == []
        return
    with pytest.raises(UserError, match=r"val.*labels.*299") as stopped:
        validate(tmp_path, examples, {"anomalies": given})
    assert stopped.value.code == "anomalies"


def test_a_shift_stops_the_run(tmp_path):
    info = {"points": anomalies_pb2.AnomalyInfo(description="high divergence")}
    drift = anomalies_of(tmp_path / "drift", "SplitPair-train_train", anomaly_info=info)
    with pytest.raises(UserError, match=r"drift of train.*points") as stopped:
        validate(tmp_path, write_examples(tmp_path / "examples", GOOD), {"drift": drift})
    assert stopped.value.code == "shifted_data"


def test_files_that_a_lost_worker_left_are_skipped(tmp_path):
    examples = write_examples(tmp_path, {"val": [[b""]]})
    (tmp_path / "Split-val" / "beam-temp-data_tfrecord-ee17161e").mkdir()
    name = "Split-val/data_tfrecord-00000-of-00001.gz"
    assert list_shards(examples) == [(("val", 0), (str(tmp_path / name), name))]
