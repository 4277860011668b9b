"""CloudValidator run for real, behind TFX's own components, on a made-up data set."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.orchestration import metadata

from components.cloud_validator.checks import UnsoundDataError
from components.cloud_validator.component import CloudValidator
from components.data_inspection.sources import artifact
from components.data_inspection.survey import take_survey
from components.settings import ValidationSettings
from preprocessing.conversion.beam_options import IN_PROCESS
from preprocessing.conversion.manifest import Manifest
from preprocessing.settings import DataSettings
from schema.categories import Category

SCHEMA = Path(__file__).parents[3] / "schema" / "schema.pbtxt"
CATEGORIES = (Category("Tool", "01", ("head", "handle")), Category("Cup", "02", ("body",)))


def example(shape_id, seed=None, *, points=None, labels=None, category="Tool", names=None):
    """A serialized record of eight points: `seed` makes them up where they are not given."""
    if points is None:
        points = np.random.default_rng(seed).normal(size=(8, 3))
    points = np.asarray(points, np.float32).ravel()
    if labels is None:
        labels = np.arange(len(points) // 3) % len({c.name: c for c in CATEGORIES}[category].parts)
    feature = {
        "shape_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[shape_id.encode()])),
        "category": tf.train.Feature(bytes_list=tf.train.BytesList(value=[category.encode()])),
        "points": tf.train.Feature(float_list=tf.train.FloatList(value=points)),
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
    }
    for old, new in (names or {}).items():
        if new:
            feature[new] = feature[old]
        del feature[old]
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString(deterministic=True)


def write_shards(folder, splits):
    """Writes {split: [[record, ...] a file]} as the converter does."""
    for split, shards in splits.items():
        for number, records in enumerate(shards):
            path = folder / split / f"clouds-{number:05d}-of-{len(shards):05d}.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
                for record in records:
                    writer.write(record)


def read_records(folder):
    return [
        record
        for path in sorted(Path(folder).iterdir())
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
    ]


def read_findings(folder):
    return [json.loads(line) for line in (Path(folder) / "findings.jsonl").read_text().splitlines()]


def cloud_validator(example_gen, anomalies, fingerprint="1", **settings):
    return CloudValidator(
        examples=example_gen.outputs["examples"],
        anomalies=anomalies,
        settings=ValidationSettings(**settings),
        categories=CATEGORIES,
        code_fingerprint=fingerprint,
    )


def example_gen_of(data):
    pattern = tfx.proto.Input.Split
    return tfx.components.ImportExampleGen(
        input_base=str(data),
        input_config=tfx.proto.Input(
            splits=[pattern(name=s, pattern=f"{s}/*.gz") for s in ("train", "val", "test")]
        ),
    )


def run(root, data, fingerprint="1", **settings):
    """Runs the pipeline on `data`; returns what the CloudValidator of this run made."""
    example_gen = example_gen_of(data)
    schema = tfx.components.ImportSchemaGen(schema_file=str(SCHEMA))
    statistics = tfx.components.StatisticsGen(
        examples=example_gen.outputs["examples"], schema=schema.outputs["schema"]
    )
    example_validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    validator = cloud_validator(
        example_gen, example_validator.outputs["anomalies"], fingerprint, **settings
    )
    store = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(root / "metadata.db"))
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="validation",
            pipeline_root=str(root),
            components=[example_gen, statistics, schema, example_validator, validator],
            enable_cache=True,
            metadata_connection_config=store,
            beam_pipeline_args=list(IN_PROCESS),
        )
    )
    return outputs(store)


def outputs(store):
    """Artifacts of the latest CloudValidator, by their output's name; and its input examples."""
    with metadata.Metadata(store) as handle:
        executions = handle.store.get_executions()
        types = {t.id: t.name for t in handle.store.get_execution_types()}
        latest = max(e.id for e in executions if types[e.type_id].endswith("CloudValidator"))
        events = handle.store.get_events_by_execution_ids([latest])
        artifacts = {
            a.id: a for a in handle.store.get_artifacts_by_id([e.artifact_id for e in events])
        }
    return {
        (e.type == metadata_store_pb2.Event.OUTPUT, e.path.steps[0].key): artifacts[e.artifact_id]
        for e in events
    }


# What is left when the bad clouds of `mixed` are taken out, by split, in order.
GOOD = {
    "train": [[example(f"train-{i}", i) for i in range(6)], [example("cup", 6, category="Cup")]],
    "val": [[example(f"val-{i}", 10 + i) for i in range(2)]],
    "test": [[example(f"test-{i}", 20 + i) for i in range(2)]],
}
BAD = {
    "LABEL_COUNT": example("short", 30, labels=[0, 1, 0]),
    "LABEL_RANGE": example("cup-7", 31, category="Cup", labels=[0, 7, 0, 0, 0, 0, 0, 0]),
    "ZERO_RADIUS": example("dot", points=np.ones((8, 3))),
    "COORDINATE_COUNT": example("cut", points=np.arange(23.0), labels=[0] * 8),
    "TOO_FEW_POINTS": example("line", points=[[0, 0, 0], [0, 0, 1]]),
    "UNKNOWN_CATEGORY": example("plane", 32, names=None).replace(b"Tool", b"Bird"),
    "SHAPE_IN_TWO_SPLITS": example("test-0", 33),
    # Of two different clouds with one id, the one whose points hash lower stays.
    "SHAPE_TWICE": example("train-0", 34),
    # The points of test-1 in another order, under another name.
    "GEOMETRY_IN_TWO_SPLITS": example(
        "renamed", points=np.random.default_rng(21).normal(size=(8, 3))[::-1]
    ),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One run over sound and bad clouds, and where its artifacts are."""
    folder = tmp_path_factory.mktemp("mixed")
    bad = list(BAD.values())
    first, second = GOOD["train"]
    train = [[*bad[:4], *first, *bad[4:]], second]
    write_shards(folder / "data", GOOD | {"train": train})
    made = run(folder / "pipeline", folder / "data", quarantine_share=0.6)
    return folder, made


def canonical(record):
    """ImportExampleGen may write a record's features in another order."""
    return tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def test_sound_clouds_pass_byte_for_byte_in_their_order(mixed):
    _, made = mixed
    examples, sound = made[False, "examples"], made[True, "sound_examples"]
    refused = set(BAD.values())
    assert sorted(path.name for path in Path(sound.uri).iterdir()) == [
        "Split-test",
        "Split-train",
        "Split-val",
    ]
    for split, shards in GOOD.items():
        kept = read_records(f"{sound.uri}/Split-{split}")
        assert sorted(map(canonical, kept)) == sorted(
            record for shard in shards for record in shard
        )
        before = read_records(f"{examples.uri}/Split-{split}")
        assert kept == [record for record in before if canonical(record) not in refused]


def test_output_keeps_the_files_and_properties_of_the_input(mixed):
    _, made = mixed
    examples, sound = made[False, "examples"], made[True, "sound_examples"]
    for split in GOOD:
        files = len(list(Path(f"{examples.uri}/Split-{split}").iterdir()))
        assert sorted(path.name for path in Path(f"{sound.uri}/Split-{split}").iterdir()) == [
            f"data_tfrecord-{number:05d}-of-{files:05d}.gz" for number in range(files)
        ]
    assert dict(sound.properties) == dict(examples.properties)
    for name in ("span", "version", "payload_format"):
        before = examples.custom_properties
        assert (name in before) == (name in sound.custom_properties)
        assert before[name] == sound.custom_properties[name]


def test_inspect_finds_in_the_artifact_what_the_component_found(mixed):
    folder, made = mixed
    # Where a run's converted data is looked for: beside its artifacts.
    manifest = Manifest(
        source="",
        layout="",
        fingerprint="0" * 64,
        settings={},
        categories=CATEGORIES,
        counts=(),
        shards=(),
        findings=(),
    )
    (folder / "data" / "manifest.json").write_text(manifest.to_text())
    uri = made[False, "examples"].uri
    source = artifact(Path(uri), uri, DataSettings(category="all"))
    survey = take_survey(source, ValidationSettings(quarantine_share=0.6), pictures=0)
    consequence = {"quarantine": "refused", "warning": "warning"}
    expected = {
        (f["code"], consequence[f["severity"]], f["split"], f["shape_id"], f["sentence"])
        for f in read_findings(made[True, "quarantine"].uri)
    }
    found = [(f.code, f.consequence, f.split, f.shape_id, f.sentence) for f in survey.findings]
    assert len(found) == len(expected) and set(found) == expected
    assert (survey.read, survey.refused) == (20, len(BAD))


def test_quarantine_holds_the_original_records_and_their_reasons(mixed):
    _, made = mixed
    uri = made[True, "quarantine"].uri
    records = read_records(f"{uri}/Split-train")
    assert sorted(map(canonical, records)) == sorted(BAD.values())
    before = read_records(f"{made[False, 'examples'].uri}/Split-train")
    assert records == [record for record in before if canonical(record) in BAD.values()]
    assert read_records(f"{uri}/Split-test") == []
    refusals = [f for f in read_findings(uri) if f["severity"] == "quarantine"]
    assert sorted(f["code"] for f in refusals) == sorted(BAD)
    by_code = {f["code"]: f for f in refusals}
    assert by_code["LABEL_COUNT"] == {
        "code": "LABEL_COUNT",
        "severity": "quarantine",
        "split": "train",
        "shape_id": "short",
        "sentence": "shape short in train has 3 labels for 8 points; each point needs one label: "
        "correct its labels and convert the data again",
    }
    assert by_code["GEOMETRY_IN_TWO_SPLITS"]["shape_id"] == "renamed"
    summary = json.loads(Path(uri, "summary.json").read_text())
    assert summary["train"]["clouds"] == 16
    assert summary["train"]["refused"] == 9
    assert summary["train"]["quarantine"] == dict.fromkeys(sorted(BAD), 1)
    assert summary["test"] == {"clouds": 2, "refused": 0, "quarantine": {}, "warning": {}}


def test_changed_code_runs_anew_with_the_same_bytes(mixed):
    folder, made = mixed
    again = run(folder / "pipeline", folder / "data", quarantine_share=0.6)
    assert again[True, "quarantine"].id == made[True, "quarantine"].id  # nothing changed: cached
    anew = run(folder / "pipeline", folder / "data", "2", quarantine_share=0.6)
    for name in ("sound_examples", "quarantine"):
        old, new = Path(made[True, name].uri), Path(anew[True, name].uri)
        assert old != new
        files = sorted(p.relative_to(old) for p in old.rglob("*") if p.is_file())
        assert files == sorted(p.relative_to(new) for p in new.rglob("*") if p.is_file())
        for file in files:
            assert (old / file).read_bytes() == (new / file).read_bytes()


def test_too_many_refused_clouds_stop_the_run(mixed):
    folder, _ = mixed
    with pytest.raises(UnsoundDataError) as stopped:
        run(folder / "pipeline", folder / "data", quarantine_share=0.5)
    message = str(stopped.value)
    assert message.startswith(
        "CloudValidator refused 9 of 16 clouds of train, more than the 50% of a split"
    )
    assert "1 LABEL_COUNT" in message
    assert "shapes cup-7, cut, dot, line, plane, ..." in message
    (findings,) = (folder / "pipeline" / "CloudValidator" / "quarantine").glob("*-stopped")
    assert f"{findings}/findings.jsonl" in message
    assert {f["code"] for f in read_findings(findings)} >= set(BAD)


def test_anomalous_data_stops_the_run(tmp_path):
    val = [example("val-0", 10, labels=[0, 299, 0, 0, 0, 0, 0, 0])]
    test = [example("test-0", 20, names={"labels": "parts"})]
    write_shards(tmp_path / "data", GOOD | {"val": [val], "test": [test]})
    with pytest.raises(UnsoundDataError) as stopped:
        run(tmp_path / "pipeline", tmp_path / "data")
    new_schema = "convert it again; if the data is right, correct schema/schema.pbtxt"
    assert str(stopped.value).splitlines() == [
        "the data does not fit the schema, so nothing is trained on it:",
        "split val, feature labels: Unexpectedly large value: 299; correct the data and "
        + new_schema,
        "split test, feature labels: Column is completely missing; write this feature into every "
        "record, under this very name",
        "split test, feature parts: New column (column in data but not in schema); remove this "
        "feature from the records, or rename it to the one it stands for",
    ]


def test_compiles_for_kubeflow(tmp_path):
    example_gen = example_gen_of("gs://bucket/data")
    anomalies = tfx.dsl.Importer(
        source_uri="gs://bucket/anomalies",
        artifact_type=tfx.types.standard_artifacts.ExampleAnomalies,
    ).with_id("Anomalies")
    validator = cloud_validator(example_gen, anomalies.outputs["result"])
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(default_image="image"),
        output_dir=str(tmp_path),
        output_filename="pipeline.json",
    )
    runner.run(
        tfx.dsl.Pipeline(
            pipeline_name="validation",
            pipeline_root="gs://bucket/root",
            components=[example_gen, anomalies, validator],
        )
    )
    spec = json.loads((tmp_path / "pipeline.json").read_text())["pipelineSpec"]
    component = spec["components"]["CloudValidator"]
    assert sorted(component["outputDefinitions"]["artifacts"]) == ["quarantine", "sound_examples"]
    label = component["executorLabel"]
    arguments = spec["deploymentSpec"]["executors"][label]["container"]["args"]
    assert "components.cloud_validator.executor.Executor" in arguments
