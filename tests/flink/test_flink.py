"""The pipeline's Beam work on a real Flink: `make test-flink`.

One JobManager, two TaskManagers and Beam's job server run as processes of their own on loopback.
The whole pipeline runs there by its config alone; what it made is held against the direct runner's,
and a TaskManager that is killed in the middle of a job costs nothing but time.
"""

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import yaml
from google.protobuf import json_format
from tfx import v1 as tfx
from tfx.orchestration.pipeline import RunOptions

from components.evaluator.bounds import evaluation_config
from components.evaluator.metrics import CANDIDATE, metrics_by_slice
from components.evaluator.standalone import evaluate
from deploy.flink.cluster import FlinkCluster, flink_libraries
from deploy.flink.job_server import job_server_jar, missing_tools
from model.training.input_pipeline import is_record_file
from pipeline.beam_settings import CONVERSION, beam_args
from pipeline.config import load_config, parse_config
from pipeline.graph import Places, create_pipeline
from preprocessing.conversion.convert import convert
from preprocessing.datasets.demo import make_demo_shapes
from tests.e2e.conftest import TINY, Runs
from tests.fetching import fetched_and_built

WANTED = "POINTNET_FLINK"
# Several record files, so that there is something to share between two TaskManagers.
CONFIG = TINY + "data: {shard_megabytes: 0.3}\n"
TWIN = "made_up_twin"
# A transform that stands in one component's Beam pipeline and in no other's.
MARKS = {
    CONVERSION: "Write",
    "ImportExampleGen": "InputToRecord",
    "StatisticsGen": "GenerateStatistics",
    "CloudValidator": "WriteShards",
    "Transform": "WriteTransformFn",
    "Evaluator": "ExtractEvaluateAndWriteResults",
}


# The stage of Transform's job that reads the clouds of the training split.
READ = "TFXIOReadAndDecode[AnalysisIndex0]/{RawRecordBeamSource"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Flink, while these tests run."""
    if not os.environ.get(WANTED):
        pytest.skip(f"needs Apache Flink; `make test-flink` starts one ({WANTED}=1)")
    if missing := missing_tools():
        pytest.skip(f"{' and '.join(missing)} not installed: no Flink, and no job server for it")
    fetched_and_built(job_server_jar)
    fetched_and_built(flink_libraries)
    with FlinkCluster(tmp_path_factory.mktemp("flink")) as running:
        yield running


@pytest.fixture(scope="module")
def shapes(cluster, tmp_path_factory):
    """Made-up airplanes; one of them twice, under two names, which CloudValidator must see."""
    folder = Path(make_demo_shapes(tmp_path_factory.mktemp("shapes"), 24, ["Airplane"], seed=0))
    first = sorted(folder.rglob("*.pts"))[0].stem
    for path in [path for path in folder.rglob("*") if path.stem == first]:
        shutil.copy(path, path.with_stem(TWIN))
    return folder


@pytest.fixture(scope="module")
def on_flink(cluster, shapes, tmp_path_factory):
    """The whole pipeline by its config alone: its runs and the manifest of the conversion."""
    runs = Runs(tmp_path_factory.mktemp("on_flink"))
    status, screen = runs.run(CONFIG + yaml.safe_dump({"beam": cluster.beam()}), str(shapes))
    assert status == 0, screen
    return runs


def places_in(out, manifest):
    return Places(
        examples=str(out / "data"),
        pipeline_root=str(out / "pipeline" / "artifacts"),
        serving=str(out / "serving_model" / "tiny"),
        metadata=str(out / "pipeline" / "metadata.sqlite"),
        categories=manifest.categories,
    )


@pytest.fixture(scope="module")
def direct(shapes, tmp_path_factory):
    """The same by the direct runner, as far as Transform."""
    out = tmp_path_factory.mktemp("direct") / "out"
    config = parse_config(CONFIG, "direct")
    (out / "pipeline").mkdir(parents=True)
    options = beam_args(config.beam, CONVERSION)
    manifest = convert(str(shapes), str(out / "data"), config.data, options)
    pipeline = create_pipeline(config, places_in(out, manifest))
    tfx.orchestration.LocalDagRunner().run(pipeline, RunOptions(to_nodes=["Transform"]))
    return out, manifest


def output(out, component, key, number=-1):
    """The folder of what a component made."""
    made = (out / "pipeline" / "artifacts" / component / key).iterdir()
    return sorted(made, key=lambda folder: int(folder.name))[number]


def records(folder):
    """The records of each split, sorted: neither runner keeps an order."""
    found = {}
    for split in sorted(folder.glob("Split-*")):
        files = [str(path) for path in split.iterdir() if is_record_file(str(path))]
        found[split.name] = sorted(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    return found


def clouds_by_id(serialized):
    """Features of each record by its shape_id; none may be there twice."""
    found = {}
    for one in serialized:
        feature = tf.train.Example.FromString(one).features.feature
        (shape_id,) = feature["shape_id"].bytes_list.value
        assert shape_id not in found, f"{shape_id} is there twice"
        found[shape_id] = {
            name: np.array(getattr(value, value.WhichOneof("kind")).value)
            for name, value in feature.items()
        }
    return found


def assert_same_clouds(ours, theirs):
    """Equal labels and numbers, and floats within 1e-6, in every split."""
    assert ours.keys() == theirs.keys() != set()
    for split in ours:
        left, right = clouds_by_id(ours[split]), clouds_by_id(theirs[split])
        assert left.keys() == right.keys() != set()
        for shape_id, features in left.items():
            for name, value in features.items():
                other = right[shape_id][name]
                if value.dtype.kind == "f":
                    np.testing.assert_allclose(value, other, atol=1e-6, rtol=0, err_msg=name)
                else:
                    np.testing.assert_array_equal(value, other, err_msg=name)


def test_every_beam_component_ran_on_the_cluster(cluster, on_flink):
    invoked = re.findall(r"Invoking job (\S+) with pipeline runner", cluster.log("job_server"))
    jobs = cluster.ask("/jobs/overview")["jobs"]
    assert [job["state"] for job in jobs] == ["FINISHED"] * len(MARKS)
    assert len(invoked) == len(MARKS)
    # Beam's name for a job begins as Flink's does.
    assert {name.rpartition("_")[0] for name in invoked} == {job["name"] for job in jobs}
    steps = [
        " ".join(vertex["name"] for vertex in cluster.ask(f"/jobs/{job['jid']}")["vertices"])
        for job in sorted(jobs, key=lambda job: job["start-time"])
    ]
    for (component, mark), found in zip(MARKS.items(), steps, strict=True):
        assert mark in found, f"{component} is not the job that stands in its place"


def test_both_task_managers_worked(cluster, on_flink):
    for name in ("task_manager_1", "task_manager_2"):
        assert "Python sdk harness starting" in cluster.log(name)


def test_conversion_writes_the_same_files(on_flink, direct):
    made = json.loads((on_flink.out / "data" / "manifest.json").read_text())
    _, manifest = direct
    expected = json.loads(manifest.to_text())
    assert made["shards"] == expected["shards"]
    assert made["counts"] == expected["counts"]
    assert len(made["shards"]) > 3


def test_ingestion_and_cloud_validation_keep_the_same_records(on_flink, direct):
    out, _ = direct
    for component, key in (
        ("ImportExampleGen", "examples"),
        ("CloudValidator", "sound_examples"),
        ("CloudValidator", "quarantine"),
    ):
        made, expected = (records(output(o, component, key)) for o in (on_flink.out, out))
        assert made == expected
        if key != "quarantine":
            assert set(made) >= {"Split-train", "Split-val", "Split-test"}


def test_cloud_validation_finds_the_same(on_flink, direct):
    out, _ = direct
    made, expected = (output(o, "CloudValidator", "quarantine") for o in (on_flink.out, out))
    assert (made / "summary.json").read_text() == (expected / "summary.json").read_text()
    # Their order is that of the records, which runners write in different files.
    findings = [(o / "findings.jsonl").read_text().splitlines() for o in (made, expected)]
    assert sorted(findings[0]) == sorted(findings[1])
    assert TWIN in (made / "findings.jsonl").read_text()


# From sketches of quantiles, which depend on how the clouds were bundled; and ties in any order.
APPROXIMATE = {"histograms", "numValuesHistogram", "rankHistogram", "topValues"}


def statistics(out):
    """The statistics of each split as plain values: by split and feature."""
    found = {}
    folder = output(out, "StatisticsGen", "statistics")
    for split in sorted(folder.glob("Split-*")):
        (dataset,) = tfdv.load_stats_binary(f"{split}/FeatureStats.pb").datasets
        found[split.name, "examples"] = dataset.num_examples
        for feature in dataset.features:
            name = feature.path.step[0]
            found[split.name, name] = json_format.MessageToDict(feature)
    return found


def assert_close(made, expected, where):
    if isinstance(expected, dict):
        assert made.keys() == expected.keys(), where
        for key in expected.keys() - APPROXIMATE:
            if key == "median":
                assert made[key] == pytest.approx(expected[key], abs=0.1 * expected["stdDev"])
            else:
                assert_close(made[key], expected[key], (*where, key))
    elif isinstance(expected, float):
        assert made == pytest.approx(expected, rel=1e-6, abs=1e-6), where
    else:
        assert made == expected, where


def test_statistics_are_the_same(on_flink, direct):
    out, _ = direct
    expected = statistics(out)
    assert {name for _, name in expected} == {
        "examples",
        "shape_id",
        "category",
        "points",
        "labels",
    }
    assert_close(statistics(on_flink.out), expected, ())


def test_transform_makes_the_same_samples(on_flink, direct):
    out, _ = direct
    made, expected = (
        records(output(o, "Transform", "transformed_examples")) for o in (on_flink.out, out)
    )
    assert_same_clouds(made, expected)
    assert len(made["Split-train"]) > 10


def test_evaluation_measures_the_same(on_flink, direct, tmp_path):
    config = load_config(str(on_flink.folder / "config.yaml"))
    _, manifest = direct
    model = tfx.types.standard_artifacts.Model()
    model.uri = str(output(on_flink.out, "Trainer", "model"))
    clouds = tfx.types.standard_artifacts.Examples()
    clouds.uri = str(output(on_flink.out, "CloudValidator", "sound_examples"))
    clouds.split_names = '["train", "val", "test"]'
    clouds.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    clouds.set_string_custom_property("file_format", "tfrecords_gzip")
    bounds = evaluation_config(config.evaluation, manifest.categories)
    options = beam_args(parse_config(CONFIG, "direct").beam, "Evaluator")
    evaluate(model, clouds, bounds, tmp_path, None, options)
    made = metrics_by_slice(str(output(on_flink.out, "Evaluator", "evaluation")), CANDIDATE)
    expected = metrics_by_slice(str(tmp_path / "evaluation"), CANDIDATE)
    assert made.keys() == expected.keys()
    for key, metrics in expected.items():
        assert made[key] == pytest.approx(metrics, abs=1e-6, nan_ok=True), key
    assert "instance_miou" in expected[()]


def test_a_task_manager_killed_in_mid_job_loses_and_doubles_nothing(cluster, on_flink, direct):
    out, manifest = direct
    config = load_config(str(on_flink.folder / "config.yaml"))
    pipeline = create_pipeline(config, places_in(on_flink.out, manifest))
    pipeline.enable_cache = False
    known = {job["jid"] for job in cluster.ask("/jobs/overview")["jobs"]}
    only_transform = RunOptions(from_nodes=["Transform"], to_nodes=["Transform"])
    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(kill_in_mid_job, cluster, known)
        tfx.orchestration.LocalDagRunner().run(pipeline, only_transform)
        job, killed = killing.result()
    assert cluster.task_managers() == sorted({"task_manager_1", "task_manager_2"} - {killed})
    assert re.search(
        rf"\({job}\) switched from state RUNNING to RESTARTING", cluster.log("job_manager")
    )
    assert cluster.ask(f"/jobs/{job}")["state"] == "FINISHED"
    made, expected = (
        records(output(o, "Transform", "transformed_examples")) for o in (on_flink.out, out)
    )
    assert_same_clouds(made, expected)


def kill_in_mid_job(cluster, known):
    """Kills a TaskManager that works on a job which is not known yet; the ids of both."""
    victims = []

    def at_work():
        running = (
            job for job in cluster.ask("/jobs/overview")["jobs"] if job["state"] == "RUNNING"
        )
        for job in (job["jid"] for job in running if job["jid"] not in known):
            vertices = cluster.ask(f"/jobs/{job}")["vertices"]
            # The clouds are read, and what follows works on them: a lost machine takes both along.
            read = [v for v in vertices if READ in v["name"] and v["status"] == "FINISHED"]
            at_it = [v for v in vertices if v["status"] == "RUNNING"] if read else []
            for vertex in at_it:
                places = cluster.ask(f"/jobs/{job}/vertices/{vertex['id']}/taskmanagers")
                for place in places["taskmanagers"]:
                    if place["status"] == "RUNNING":
                        victims.append((job, place["taskmanager-id"]))
        return bool(victims)

    def seen_at_work():
        # The JobManager may be too busy to answer in time.
        with suppress(OSError):
            return at_work()
        return False

    cluster.wait_until(seen_at_work, "a TaskManager is in the middle of a job", 900)
    cluster.kill_task_manager(victims[0][1])
    return victims[0]
