"""What ML Metadata remembers, against what is on the disk: baselines, statistics, a moved OUT."""

import shutil
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from components.cloud_validator import CloudValidator
from components.production_model import NO_MODEL, ProductionModel
from pipeline.baseline import LatestBlessedStrategy, LatestOtherBlessedStrategy
from pipeline.moved_output import follow_moved_output
from pipeline.previous_statistics import PreviousStatisticsStrategy


def write_model(folder, content):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("graph")
    (folder / "variables" / "variables.index").write_text(content)


class Store:
    """An OUT with models and pushed versions, and its ML Metadata."""

    def __init__(self, root, file=None):
        self.root = root
        config = mlmd.ConnectionConfig(fake_database=mlmd.FakeDatabaseConfig())
        if file is not None:
            file.parent.mkdir(parents=True)
            config = metadata.sqlite_metadata_connection_config(str(file))
        self.store = metadata_store.MetadataStore(config)
        self.models, self.blessings = [], []
        self.executions = self.store.put_execution_type(mlmd.ExecutionType(name="Trainer"))

    def put(self, artifact):
        artifact.type_id = self.store.put_artifact_type(artifact.artifact_type)
        (artifact.id,) = self.store.put_artifacts([artifact.mlmd_artifact])
        return artifact

    def execute(self, inputs, outputs, type_id=None, state=mlmd.Execution.COMPLETE):
        run = mlmd.Execution(type_id=type_id or self.executions, last_known_state=state)
        (number,) = self.store.put_executions([run])
        events = [(one, mlmd.Event.INPUT) for one in inputs]
        events += [(one, mlmd.Event.OUTPUT) for one in outputs]
        self.store.put_events(
            [mlmd.Event(artifact_id=a.id, execution_id=number, type=t) for a, t in events]
        )

    def trained(self, content, blessed=True, pushed=0):
        """A trained model, perhaps blessed, perhaps pushed as a version."""
        model = standard_artifacts.Model()
        model.uri = str(self.root / "pipeline" / "artifacts" / "Trainer" / content)
        write_model(Path(model.uri) / "Format-Serving", content)
        self.models.append(self.put(model))
        self.execute([], [model])
        if blessed:
            blessing = standard_artifacts.ModelBlessing()
            blessing.uri = f"{model.uri}-blessing"
            blessing.set_int_custom_property("blessed", 1)
            blessing.set_int_custom_property("current_model_id", model.id)
            self.blessings.append(self.put(blessing))
        if pushed:
            write_model(self.root / "serving" / str(pushed), content)
        return model

    def resolved(self, strategy=LatestOtherBlessedStrategy):
        """The content of the model that is found; "lost": it has no files; None: there is none."""
        artifacts = {"model": self.models, "model_blessing": self.blessings}
        at = strategy(str(self.root / "serving"), str(self.root / "pipeline" / "artifacts"))
        found = at.resolve_artifacts(self.store, artifacts)["model"]
        if not found:
            return None
        assert found[0].id
        index = Path(found[0].uri) / "Format-Serving" / "variables" / "variables.index"
        return index.read_text() if index.exists() else "lost"


@pytest.fixture
def out(tmp_path):
    return Store(tmp_path / "out")


def test_the_baseline_is_the_latest_other_blessed_model(out):
    assert out.resolved() is None
    out.trained("a", pushed=1)
    assert out.resolved() is None
    assert out.resolved(LatestBlessedStrategy) == "a"
    out.trained("b", blessed=False)
    assert out.resolved() == "a"
    out.trained("c", pushed=2)
    assert out.resolved() == "a"
    assert out.resolved(LatestBlessedStrategy) == "c"


def test_the_pushed_copy_stands_in_for_a_lost_baseline(out):
    out.trained("a", pushed=1)
    lost = out.trained("b", pushed=2)
    out.trained("c", blessed=False)
    shutil.rmtree(lost.uri)
    assert out.resolved() == "b"
    # As the same artifact again, so that the Evaluator comes from the cache.
    count = len(out.store.get_artifacts())
    shutil.rmtree(out.root / "serving")
    write_model(out.root / "serving" / "2", "b")
    assert out.resolved() == "b" and len(out.store.get_artifacts()) == count


def test_without_any_copy_an_older_model_and_then_the_lost_one_is_the_baseline(out):
    models = [out.trained(name) for name in "ab"]
    out.trained("c", blessed=False)
    shutil.rmtree(models[1].uri)
    assert out.resolved() == "a"
    shutil.rmtree(models[0].uri)
    assert out.resolved() == "lost"
    # A push that was cut off is no copy.
    (out.root / "serving" / "3" / "variables").mkdir(parents=True)
    assert out.resolved() == "lost"


def test_a_repeated_run_of_the_latest_blessed_model_needs_no_lost_baseline(out):
    shutil.rmtree(out.trained("a").uri)
    out.trained("b", pushed=2)
    assert out.resolved() is None


def test_lost_metadata_does_not_lose_the_baseline(out):
    write_model(out.root / "serving" / "1", "pushed before")
    out.trained("c", blessed=False)
    assert out.resolved() == "pushed before"


def test_production_model_is_the_newest_complete_version_that_is_not_the_candidate(tmp_path):
    def found(name, candidate=None):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / name)
        outputs = {"model": [model]}
        inputs = {"candidate": [candidate]} if candidate else {}
        executor = ProductionModel.EXECUTOR_SPEC.executor_class()
        executor.Do(inputs, outputs, {"serving": str(tmp_path / "serving")})
        index = tmp_path / name / "Format-Serving" / "variables" / "variables.index"
        marked = (tmp_path / name / NO_MODEL).exists()
        assert marked != index.exists()
        return None if marked else index.read_text()

    assert found("first") is None
    for name in ("9", "10", "withdrawn-11", ".partial-12"):
        write_model(tmp_path / "serving" / name, name)
    (tmp_path / "serving" / "13").mkdir()  # cut off
    assert found("second") == "10"
    candidate = standard_artifacts.Model()
    candidate.uri = str(tmp_path / "candidate")
    write_model(tmp_path / "candidate" / "Format-Serving", "10")
    assert found("third", candidate) == "9"


def test_statistics_without_files_are_skipped(out):
    validator = f"{CloudValidator.__module__}.{CloudValidator.__name__}"
    passes = out.store.put_execution_type(mlmd.ExecutionType(name=validator))
    statistics = []
    for number in range(3):
        examples, counted = standard_artifacts.Examples(), standard_artifacts.ExampleStatistics()
        examples.uri, counted.uri = (str(out.root / f"{kind}{number}") for kind in ("e", "s"))
        Path(counted.uri).mkdir(parents=True)
        statistics.append(out.put(counted))
        out.execute([out.put(examples)], [counted])
        out.execute([examples], [], passes)

    def previous():
        given = {"statistics": statistics}
        found = PreviousStatisticsStrategy().resolve_artifacts(out.store, given)["statistics"]
        return [Path(one.uri).name for one in found]

    assert previous() == ["s1"]
    (out.root / "s1").rmdir()
    assert previous() == ["s0"]
    (out.root / "s0").rmdir()
    assert previous() == []


def test_a_moved_out_keeps_its_baseline(tmp_path):
    file = tmp_path / "out" / "pipeline" / "metadata.sqlite"
    out = Store(tmp_path / "out", file)
    out.trained("a", pushed=1)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(out.root / "pipeline" / "artifacts" / "Pusher" / "1")
    pushed.set_string_custom_property("pushed_destination", str(out.root / "serving" / "1"))
    out.put(pushed)
    out.trained("b", blessed=False)
    assert follow_moved_output(file, out.root) == ""
    moved = tmp_path / "out renamed"
    out.root.rename(moved)
    file = moved / "pipeline" / "metadata.sqlite"
    assert follow_moved_output(file, moved) == str(out.root)
    assert follow_moved_output(file, moved) == ""
    store = metadata_store.MetadataStore(metadata.sqlite_metadata_connection_config(str(file)))
    assert {a.uri for a in store.get_artifacts()} == {
        artifact.uri.replace(str(out.root), str(moved))
        for artifact in (*out.models, *out.blessings, pushed)
    }
    (stored,) = store.get_artifacts_by_uri(pushed.uri.replace(str(out.root), str(moved)))
    destination = stored.custom_properties["pushed_destination"].string_value
    assert destination == str(moved / "serving" / "1")
    assert follow_moved_output(tmp_path / "absent.sqlite", moved) == ""
