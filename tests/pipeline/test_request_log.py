"""Logged requests: what is kept of which clouds, and how they compare with training clouds."""

import gzip

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.request_log import RequestLog
from preprocessing.conversion.manifest import Manifest
from preprocessing.conversion.records import Writer, from_example, read_records, to_example
from schema.errors import UserError
from schema.record import UNKNOWN_CATEGORY, Cloud
from tests.model.export.made_network import ROCKET, cloud
from tests.pipeline.test_segment import exported


def records(path):
    with open(path, "rb") as file:
        return [from_example(record) for record in read_records(file, str(path))]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "requests.tfrecord.gz"


def test_every_cloud_is_kept_as_the_model_was_asked(path):
    log = RequestLog(path, 1.0, "Rocket")
    for number in range(3):
        log.add(f"cloud {number}", cloud(20 + number, seed=number))
    assert not path.exists()
    log.close()
    assert [record.shape_id for record in records(path)] == ["cloud 0", "cloud 1", "cloud 2"]
    for number, record in enumerate(records(path)):
        assert (record.category, record.labels) == ("Rocket", None)
        np.testing.assert_array_equal(record.points, cloud(20 + number, seed=number))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_share_of_the_clouds_is_kept_and_always_the_same_ones(path, tmp_path):
    kept = []
    for name in ("a.tfrecord.gz", "b.tfrecord.gz"):
        log = RequestLog(tmp_path / name, 0.25, "")
        for number in range(400):
            log.add(f"{number}", cloud(5, seed=number))
        log.close()
        kept.append([record.shape_id for record in records(tmp_path / name)])
        assert {record.category for record in records(tmp_path / name)} == {UNKNOWN_CATEGORY}
    assert kept[0] == kept[1] and 60 < len(kept[0]) < 140


def test_where_nothing_was_answered_there_is_no_log(path):
    RequestLog(path, 1.0, "").close()
    assert list(path.parent.iterdir()) == []


def test_a_log_that_is_there_stays(path):
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match="it is there already"):
        RequestLog(path, 1.0, "")
    with pytest.raises(UserError, match=r"ends in \.tfrecord\.gz"):
        RequestLog(path.with_name("log.txt"), 1.0, "")
    assert path.read_bytes() == b"mine"


def test_segment_logs_the_clouds_that_were_answered(tmp_path, path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = exported((ROCKET,), tmp_path / "3")
    np.save("good.npy", cloud(30))
    np.save("bad.npy", np.full((4, 3), np.nan))
    words = ["segment", "good.npy", "bad.npy", "--model", str(model), "--log-requests", str(path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1 and "log: 1 cloud kept" in done.output
    (record,) = records(path)
    assert (record.shape_id, record.category) == ("good", ROCKET.name)
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 2 and "a log is not added to" in again.output


def write(path, scale, category="Rocket"):
    rng = np.random.default_rng(3)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        writer = Writer(file)
        for number in range(20):
            points = (scale * rng.normal(size=(60, 3))).astype(np.float32)
            writer.write(to_example(Cloud(f"{number}", category, points)))
        writer.close()


def write_training_data(folder):
    """A converted data set as far as skew reads it."""
    manifest = Manifest("", "", "0" * 64, {}, (), (), (), ())
    write(folder / manifest.version / "train" / "part-0.tfrecord.gz", 1.0)
    (folder / "manifest.json").write_text(manifest.to_text())


def skew(*arguments):
    done = CliRunner().invoke(main, ["skew", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


@pytest.mark.slow
def test_clouds_in_another_unit_are_found_and_like_ones_are_not(tmp_path):
    write_training_data(tmp_path / "data")
    write(tmp_path / "like.tfrecord.gz", 1.02)
    status, said = skew(tmp_path / "like.tfrecord.gz", tmp_path / "data")
    assert status == 0, said
    assert "served: 20 clouds of 60 points on average, 60 at most" in said
    assert "points: Jensen-Shannon divergence" in said and "within its limit of 0.1" in said
    # In centimetres, not metres, and nobody said what they are.
    write(tmp_path / "other.tfrecord.gz", 100.0, UNKNOWN_CATEGORY)
    status, said = skew(tmp_path / "other.tfrecord.gz", tmp_path / "data")
    assert status == 1 and "beyond its limit of 0.1" in said
    assert "category" not in said


def test_what_cannot_be_compared_is_a_sentence(tmp_path):
    log = tmp_path / "log.tfrecord.gz"
    assert skew(log, tmp_path)[1].endswith("writes one.\n")
    write(log, 1.0)
    status, said = skew(log, tmp_path)
    assert status == 2 and "manifest.json" in said
    write_training_data(tmp_path)
    log.write_bytes(log.read_bytes()[:200])
    status, said = skew(log, tmp_path)
    assert status == 2 and "log.tfrecord.gz: it is no log that" in said
    assert "give such a log, or fetch it again." in said and "Convert" not in said


@pytest.mark.parametrize(
    "content",
    [b"some words\n", b"", gzip.compress(b"some words\n" * 9, mtime=0)],
    ids=["words", "empty", "compressed words"],
)
def test_what_is_no_log_is_said_to_be_none(content, tmp_path):
    write_training_data(tmp_path)
    (tmp_path / "ok.txt").write_bytes(content)
    status, said = skew(tmp_path / "ok.txt", tmp_path)
    assert status == 2 and "ok.txt: it is no log that `segment --log-requests` wrote" in said
    assert "Convert" not in said
    status, said = skew(tmp_path / ("0" * 16), tmp_path)
    assert status == 2 and "it cannot be read (is a directory)" in said


@pytest.mark.parametrize("category", ["Airplane", "Rover", ""])
def test_inspect_shows_a_log_as_unlabelled_clouds(category, path, tmp_path):
    log = RequestLog(path, 1.0, category)
    for number in range(3):
        log.add(f"cloud {number}", cloud(20 + number, seed=number))
    log.close()
    page = tmp_path / "asked.html"
    done = CliRunner().invoke(main, ["inspect", str(path), "--output", str(page)])
    assert done.exit_code == 0 and "LABEL_COUNT" not in done.output, done.output
    assert "refused:" not in done.output and "20 / 21 / 22" in done.output
    assert "unlabelled" in done.output and "share" not in done.output
    assert page.read_text("utf-8").count("<figure>") == 3


def test_inspect_refuses_clouds_whose_labels_are_missing_among_others(path, tmp_path):
    path.parent.mkdir()
    labelled = Cloud("labelled", "Airplane", cloud(20), np.zeros(20, np.int64))
    with open(path, "wb") as file:
        writer = Writer(file)
        writer.write(to_example(Cloud("bare", "Airplane", cloud(20, seed=1))))
        writer.write(to_example(labelled))
        writer.close()
    done = CliRunner().invoke(main, ["inspect", str(path), "--no-page"])
    assert done.exit_code == 0 and "shape bare in unsplit has 0 labels for 20" in done.output
