"""The compiled pipelines, executed here from data to pushed models; see docs/compiled_specs.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format

from components.evaluator.verdict import read_verdict
from tests.e2e.conftest import TINY
from tests.google_storage import google_storage
from tests.spec.compiled_spec import read
from tests.spec.graph_check import KUBEFLOW, VERTEX
from tests.spec.local_execution import (
    CACHED,
    CHECKOUT,
    EMULATED,
    EXECUTED,
    LocalBackend,
    LocalKubeflow,
    LocalVertex,
    Run,
)

# The data set's bucket is only a default, and never read.
CLUSTERS = """
infra_validation: probe
notify: {command: [tee, A_FILE_HERE]}
vertex:
  project: shapes-1
  region: europe-west4
  root: gs://executed/vertex
  data: gs://elsewhere/data
  image: image:1
kubeflow:
  root: gs://executed/kubeflow
  data: gs://elsewhere/data
  image: image:1
"""
IMAGE_FOLDER = "/opt/pointnet-parts"
# What runs anew for other bounds, and for another training.
BEHIND_THE_EVALUATOR = {"Evaluator", "SegmentationReport", "Pusher", "Notification"}
# The second run is the first that has earlier statistics to be held against.
DRIFT = {"DriftValidator", "DataReport"}
BEHIND_THE_TRAINER = {"Trainer", "ModelServerProbe", *BEHIND_THE_EVALUATOR}


@pytest.fixture(scope="module", autouse=True)
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--execute-specs", default=False):
        pytest.skip("executes the compiled pipelines, minutes on two cores: `make test-spec`")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 made-up airplanes, converted."""
    from pipeline.beam_settings import beam_args
    from pipeline.config import parse_config
    from preprocessing.conversion.convert import convert
    from preprocessing.datasets.demo import make_demo_shapes

    folder = tmp_path_factory.mktemp("data")
    config = parse_config(TINY, "tiny")
    (folder / "tiny.yaml").write_text(TINY, "utf-8")
    make_demo_shapes(folder / "shapes", config.demo_shapes, ["Airplane"], seed=0)
    convert(str(folder / "shapes"), str(folder / "data"), config.data, beam_args(config.beam))
    return folder / "data"


@dataclass
class Executed:
    """The runs of one spec, the versions that were there after each, and what people were told."""

    serving: Path
    told: Path
    data: str
    backend: LocalBackend
    runs: list[Run] = field(default_factory=list)
    versions: list[list[int]] = field(default_factory=list)

    def submit(self, steps: int, eval_config: str | None = None) -> None:
        """A run with these runtime parameters, as `submit` would give them."""
        bounds = {} if eval_config is None else {"eval_config": eval_config}
        train_args = json.dumps({"splits": ["train"], "num_steps": steps})
        self.runs.append(self.backend.submit(data_root=self.data, train_args=train_args, **bounds))
        found = self.serving.iterdir() if self.serving.exists() else ()
        self.versions.append(sorted(int(path.name) for path in found))

    def run(self, *arguments: str) -> None:
        """A command of ours, which finds the bucket as the steps do."""
        command = [sys.executable, "-m", "pipeline.cli", *arguments]
        environment = {**os.environ, **self.backend._environment()}
        subprocess.run(command, cwd=CHECKOUT, env=environment, check=True)

    def verdict(self, run: int):
        """What the Evaluator decided in a run."""
        return read_verdict(str(self.runs[run].steps["Evaluator"].uri("evaluation")))

    def pushed(self, run: int) -> bool:
        """Whether the Pusher says that it pushed."""
        (artifact,) = self.runs[run].steps["Pusher"].outputs["pushed_model"]
        return artifact.metadata["pushed"] == 1


@contextmanager
def executed(
    file: Path, folder: Path, backend: type[LocalBackend], say: Callable[[str], None]
) -> Iterator[Executed]:
    """A spec in a bucket of its own, whose image is this checkout."""
    text = file.read_text("utf-8").replace(IMAGE_FOLDER, str(CHECKOUT))
    told = folder / "told.json"
    local = folder / file.name
    local.write_text(text.replace("A_FILE_HERE", str(told)), "utf-8")
    with google_storage(folder / "google", "executed") as (storage, environment):
        root = f"gs://executed/{backend.name}"
        made = backend(read(local), f"{root}/artifacts", folder / "logs", say, storage, environment)
        serving = storage.path(f"{root}/serving_model/tiny")
        yield Executed(serving, told, "gs://executed/data", made)


@pytest.fixture(scope="module")
def files(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pipeline compiled for both platforms."""
    from pipeline.config import parse_config
    from pipeline.specs import compile_specs

    config = parse_config(TINY + CLUSTERS, "tiny")
    manifest = str(data / "manifest.json")
    written = compile_specs(config, manifest, [], tmp_path_factory.mktemp("compiled"))
    return dict(zip((VERTEX, KUBEFLOW), written, strict=True))


@pytest.fixture(scope="module")
def vertex(files, data, tmp_path_factory, say) -> Iterator[Executed]:
    """Bounds that nothing reaches; the config's own; then a training that loses its worker."""
    with executed(files[VERTEX], tmp_path_factory.mktemp("vertex"), LocalVertex, say) as made:
        made.run(
            "convert",
            str(data.parent / "shapes"),
            made.data,
            "--config",
            str(data.parent / "tiny.yaml"),
        )
        made.submit(2, unreachable(made.backend.spec.submitted["eval_config"]))
        made.submit(2)
        lost: list[str] = []

        def lose_the_worker(address: str) -> None:
            if address.endswith("/state.npz") and not lost:
                lost.append(address)
                os.kill(int(made.backend.worker.read_text()), signal.SIGKILL)

        made.backend.storage.watch = lose_the_worker
        made.submit(4)
        yield made


@pytest.fixture(scope="module")
def kubeflow(files, data, tmp_path_factory, say) -> Iterator[Executed]:
    """A first run, then one with another training."""
    with executed(files[KUBEFLOW], tmp_path_factory.mktemp("kubeflow"), LocalKubeflow, say) as made:
        shutil.copytree(data, made.backend.storage.path(made.data))
        made.submit(2)
        made.submit(4)
        yield made


def unreachable(eval_config: str) -> str:
    """The same metrics, each with a bound above what it can be."""
    config = json_format.Parse(eval_config, tfma.EvalConfig())
    for metrics in config.metrics_specs:
        for thresholds in metrics.per_slice_thresholds.values():
            for bound in thresholds.thresholds:
                bound.threshold.value_threshold.lower_bound.value = 2.0
    return json_format.MessageToJson(config)


@pytest.mark.slow
class TestVertex:
    def test_every_step_runs_as_the_spec_says(self, vertex):
        first = vertex.runs[0]
        assert first.tasks(EMULATED) == {
            name
            for name in vertex.backend.spec.tasks
            if vertex.backend.spec.executor(name).WhichOneof("spec") == "resolver"
        }
        assert first.tasks(EXECUTED) == set(vertex.backend.spec.tasks) - first.tasks(EMULATED)

    def test_nothing_is_pushed_that_misses_its_bounds(self, vertex):
        verdict = vertex.verdict(0)
        assert not verdict.blessed
        assert any(bound.state == "missed" for bound in verdict.bounds)
        assert vertex.versions[0] == []
        assert not vertex.pushed(0)
        assert json.loads(vertex.told.read_text("utf-8"))["event"] == "not_blessed"

    def test_other_bounds_are_judged_without_training_anew(self, vertex):
        second = vertex.runs[1]
        anew = BEHIND_THE_EVALUATOR | DRIFT | {"ProductionModel"}
        assert second.tasks(EXECUTED) == anew
        assert second.tasks(CACHED) == vertex.runs[0].tasks(EXECUTED) - anew
        assert vertex.verdict(1).blessed
        assert vertex.pushed(1)
        assert len(vertex.versions[1]) == 1

    def test_the_next_model_is_held_against_the_blessed_one_and_pushed_beside_it(self, vertex):
        third = vertex.runs[2]
        assert third.tasks(EXECUTED) >= BEHIND_THE_TRAINER
        assert not third.tasks(EXECUTED) & {"ImportExampleGen", "StatisticsGen", "Transform"}
        assert_compared(vertex, 2)

    def test_the_data_were_converted_into_the_bucket(self, vertex, data):
        there = vertex.backend.storage.path(vertex.data)
        names = [
            {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
            for folder in (there, data)
        ]
        assert names[0] == names[1]
        manifests = [
            json.loads((folder / "manifest.json").read_bytes()) for folder in (there, data)
        ]
        assert manifests[0] == manifests[1]

    def test_a_training_that_loses_its_worker_goes_on_from_its_checkpoint(self, vertex):
        (log,) = vertex.backend.logs.glob("tiny/3/Trainer/executor.log")
        said = log.read_text()
        assert said.count("the worker was lost") == 1
        assert re.search(r"Training is resumed after step \d+\.", said)
        # What is finished needs no checkpoint; what stands for the folder of all trainings stays.
        storage = vertex.backend.storage
        assert storage.names("executed", "vertex/training_state/") == ["vertex/training_state/"]

    def test_the_trainer_ran_as_a_custom_job(self, vertex):
        (log,) = vertex.backend.logs.glob("tiny/1/Trainer/executor.log")
        assert "custom job tiny-training: python -m tfx.scripts.run_executor" in log.read_text()


@pytest.mark.slow
class TestKubeflow:
    def test_every_step_runs_as_the_spec_says(self, kubeflow):
        assert kubeflow.runs[0].tasks(EXECUTED) == set(kubeflow.backend.spec.tasks)

    def test_a_first_model_has_nothing_to_be_held_against(self, kubeflow):
        assert kubeflow.verdict(0).blessed
        assert kubeflow.pushed(0)
        assert len(kubeflow.versions[0]) == 1

    def test_the_next_model_is_held_against_the_served_one_and_pushed_beside_it(self, kubeflow):
        # What reads a folder looks again.
        assert {"ImportExampleGen", "ProductionModel"} <= kubeflow.runs[1].tasks(EXECUTED)
        assert_compared(kubeflow, 1)


@pytest.mark.slow
def test_both_trained_the_same_models_with_and_without_a_lost_worker(vertex, kubeflow):
    cloud = np.random.default_rng(0).normal(size=(1, 300, 3)).astype(np.float32)
    for versions in zip(vertex.versions[-1], kubeflow.versions[-1], strict=True):
        answers = []
        for made, version in zip((vertex, kubeflow), versions, strict=True):
            model = tf.saved_model.load(str(made.serving / str(version)))
            answers.append(model.signatures["serving_default"](points=tf.constant(cloud)))
        np.testing.assert_array_equal(answers[0]["probability"], answers[1]["probability"])


@pytest.mark.slow
@pytest.mark.parametrize("platform", [VERTEX, KUBEFLOW])
def test_the_bucket_was_asked_for_nothing_that_its_double_does_not_know(platform, request):
    storage = request.getfixturevalue(platform).backend.storage
    assert storage.refused == []
    # By all three clients: TensorFlow's, Beam's and Google's.
    assert {"media", "upload_part", "rewrite", "batch", "delete"} <= set(storage.calls)


@pytest.mark.slow
@pytest.mark.parametrize("platform", [VERTEX, KUBEFLOW])
def test_our_own_types_of_artifacts_go_from_step_to_step(platform, request):
    steps = request.getfixturevalue(platform).runs[0].steps
    assert (steps["DataReport"].uri("data_report") / "data_report.html").is_file()
    assert (steps["SegmentationReport"].uri("report") / "report.html").is_file()
    assert (steps["CloudValidator"].uri("quarantine") / "summary.json").is_file()


def assert_compared(made: Executed, run: int) -> None:
    """The run's model was measured beside the one before it, and became the newest version."""
    verdict = made.verdict(run)
    assert verdict.blessed
    drops = [bound for bound in verdict.bounds if bound.kind == "largest_drop"]
    assert drops
    assert all(bound.measured is not None for bound in drops)
    assert made.pushed(run)
    before, after = made.versions[run - 1], made.versions[run]
    assert set(before) < set(after)
    assert len(after) == len(before) + 1
    assert (made.serving / str(max(after)) / "saved_model.pb").is_file()
    assert max(after) > max(before)
