import os
import zipfile

import numpy as np
import pytest

from preprocessing.conversion import shards
from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import Manifest
from preprocessing.conversion.output import Storage
from preprocessing.settings import DataSettings
from reports.conversion_summary import conversion_summary
from schema.errors import UserError
from schema.record import SPLITS
from tests.preprocessing.conversion.conftest import clouds_of, contents, listed

SETTINGS = DataSettings()
SMALL_SHARDS = DataSettings(shard_megabytes=0.0005)
LENIENT = DataSettings(max_bad_share=0.5)


def converted(source, out, settings=SETTINGS, beam_args=(), **options):
    return convert(str(source.root), str(out), settings, beam_args, **options)


def failure(*arguments, **options):
    with pytest.raises(UserError) as error:
        converted(*arguments, **options)
    return error.value


@pytest.fixture
def twenty(planes):
    for i in range(20):
        planes.shape(f"shape{i:02d}", 6 + i)
    return planes


def test_every_shape_is_in_one_split_as_it_was_read(twenty, out):
    twenty.points("bare", "0 0 0\n1 1 1\n")
    manifest = converted(twenty, out)
    splits = {s: clouds_of(out, s) for s in (*SPLITS, "unlabelled")}
    sizes = {s: len(clouds) for s, clouds in splits.items()}
    assert sizes == {"train": 14, "val": 2, "test": 4, "unlabelled": 1}
    assert [s.split for s in manifest.shards] == list(sizes)
    assert splits["unlabelled"][0].labels is None
    ids = [cloud.shape_id for s in SPLITS for cloud in splits[s]]
    assert sorted(ids) == [f"shape{i:02d}" for i in range(20)]
    for cloud in splits["train"]:
        points = twenty.root / "planes" / "points" / f"{cloud.shape_id}.pts"
        np.testing.assert_array_equal(cloud.points, np.loadtxt(points).astype(np.float32))
    assert [c.name for c in manifest.categories] == ["Airplane"]
    assert {s: manifest.shapes(s) for s in splits} == sizes
    train = next(count for count in manifest.counts if count.split == "train")
    assert train.parts["body"] == sum(int((c.labels == 0).sum()) for c in splits["train"])
    assert train.parts["tail"] == 0
    assert [f.code for f in manifest.findings] == ["part_without_points"]
    assert "tail" in manifest.findings[0].message
    assert Manifest.load(out) == manifest
    assert contents(out) == listed(out)
    assert sorted(os.listdir(out)) == [manifest.version, "manifest.json"]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert converted(twenty, out) == manifest
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_the_same_bytes_from_a_folder_and_from_a_zip(twenty, out, tmp_path):
    twenty.points("bad", "0 0\n")
    archive = tmp_path / "PartAnnotation.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(twenty.root.rglob("*")):
            file.write(path, f"PartAnnotation/{path.relative_to(twenty.root)}")
    first = converted(twenty, out, SMALL_SHARDS)
    second = convert(str(archive), str(tmp_path / "zipped"), SMALL_SHARDS)
    assert [s.sha256 for s in first.shards] == [s.sha256 for s in second.shards]
    # Files are named as they are below the data set's root.
    assert first.findings == second.findings
    assert "planes/points/bad.pts" in {finding.file for finding in first.findings}
    assert len(first.shards) > 5
    converted(twenty, tmp_path / "other", SMALL_SHARDS)
    assert contents(out) == contents(tmp_path / "other") == listed(out)


@pytest.mark.parametrize("damage", ["split", "file", "cut"])
def test_lost_records_are_written_again(twenty, out, damage):
    converted(twenty, out, SMALL_SHARDS)
    before = contents(out)
    file = out / next(name for name in before if "/train/" in name)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        for path in file.parent.iterdir() if damage == "split" else [file]:
            path.unlink()
    converted(twenty, out, SMALL_SHARDS)
    assert contents(out) == before


def test_a_changed_source_or_other_settings_replace_the_data_set(twenty, out, capsys):
    first = converted(twenty, out)
    twenty.shape("one_more")
    second = converted(twenty, out)
    assert first.fingerprint != second.fingerprint
    assert sum(map(second.shapes, SPLITS)) == 21
    third = converted(twenty, out, DataSettings(seed=1))
    assert str(twenty.root) not in capsys.readouterr().err
    assert Manifest.load(out) == third
    assert contents(out) == listed(out)
    assert os.listdir(out / "..") == ["data"]
    moved = twenty.root.rename(twenty.root.with_name("moved"))
    convert(str(moved), str(out), SETTINGS)
    assert str(twenty.root) in capsys.readouterr().err


def test_unreadable_shapes_are_findings_and_too_many_stop_it(twenty, out, capsys):
    for i in range(3):
        twenty.points(f"shape{i:02d}", "0 0 0\n1 1 one\n")
    error = failure(twenty, out)
    assert error.code == "too_many_bad"
    for fact in ("3 of 20", "10%", "3 times", "planes/points/shape00.pts, line 2"):
        assert fact in error.message
    manifest = converted(twenty, out, LENIENT)
    found = [f for f in manifest.findings if f.left_out]
    expected = [("Airplane", f"shape{i:02d}", 2) for i in range(3)]
    assert [(f.category, f.shape, f.line) for f in found] == expected
    assert sum(map(manifest.shapes, SPLITS)) == 17
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert f"{found[0].code} 3 times, first: planes/points/shape00.pts, line 2: " in line
    assert "3 shapes" in conversion_summary(manifest)[-1]


def test_bad_shapes_are_counted_by_category_and_name(own_clouds, out):
    source = own_clouds(A="ab", B="ab", C="ab", D="ab", E="ab")
    for category in "ABCDE":
        source.cloud("1", [0, 1, 7], category=category)
        source.cloud("2", [0, 1, 1], category=category)
    error = failure(source, out, DataSettings(category="all"))
    assert (error.code, "5 of 10" in error.message) == ("too_many_bad", True)


def test_labels_counted_from_one_stop_it_at_any_share(own_clouds, out):
    source = own_clouds(Chair=["back", "seat"])
    for i in range(20):
        source.cloud(f"c{i:02d}", [1, 2])
    assert failure(source, out, DataSettings(max_bad_share=1)).code == "labels_from_one"


def test_a_stray_label_past_the_last_part_is_no_reason_to_think_so(own_clouds, out):
    source = own_clouds(Chair=["back", "seat"])
    for i in range(19):
        source.cloud(f"c{i:02d}", [0, 1, 1])
    source.cloud("bad", [1, 2])
    manifest = converted(source, out)
    assert [(f.shape, f.left_out) for f in manifest.findings] == [("bad", True)]


def test_each_split_has_a_shape_even_if_all_of_it_are_unreadable(planes, out):
    for i in range(6):
        planes.shape(f"s{i}")
    converted(planes, out, LENIENT)
    for cloud in clouds_of(out, "test"):
        planes.points(cloud.shape_id, "broken")
    sizes = list(map(converted(planes, out, LENIENT).shapes, SPLITS))
    assert all(sizes) and sum(sizes) == 5


def test_summary(part_annotation_folder, tmp_path, out):
    of = {name: {"directory": name.lower(), "lables": ["body", "wing"]} for name in ("A", "B", "C")}
    folder = part_annotation_folder(tmp_path / "source", of)
    for i in range(10):
        folder.shape(f"s{i}", 6, "a")
        folder.shape(f"t{i}", 6, "b")
    folder.points("bare", "0 0 0\n", "a")
    folder.points("s3", "broken", "a")
    manifest = converted(folder, out, DataSettings(category="A", max_bad_share=0.2))
    first, left_out, not_converted = conversion_summary(manifest)
    splits = ", ".join(f"{manifest.shapes(split)} {split}" for split in SPLITS)
    assert first.startswith(f"A {splits}, 1 unlabelled; 10 shapes, 55 points")
    assert "body 49.1%, wing 49.1%, unannotated 1.8%" in first
    assert "1 shape" in left_out and "B, C" in not_converted


@pytest.mark.parametrize("name", ["run[1]", "run*", "run?", "a b#{x}"])
def test_paths_are_literal(twenty, tmp_path, name):
    """A neighbour whose name the path would match as a pattern is neither read nor changed."""
    neighbour = tmp_path / "run1"
    converted(twenty, neighbour, DataSettings(seed=1))
    before = contents(neighbour)
    source = twenty.root.rename(tmp_path / f"source {name}")
    out = tmp_path / name
    for settings in (SMALL_SHARDS, SETTINGS):
        manifest = convert(str(source), str(out), settings)
        assert contents(out) == listed(out)
        assert len(clouds_of(out, "train")) == manifest.shapes("train") == 14
    assert contents(neighbour) == before


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("notes.txt", "mine", "not_ours"),
        ("train/x.wav", "mine", "not_ours"),
        ("manifest.json", '{"audio": []}', "not_ours"),
        ("manifest.json", '{"format": 2, "shards": []}', "not_ours"),
        ("manifest.json", "", "not_ours"),
        ("manifest.json", '{"format": 1, "fingerprint": "0"}', "other_format"),
        ("manifest.json/x", "mine", "not_ours"),
        ("unfinished.json", '{"todo": 1}', "not_ours"),
        ("unfinished.json", '{"versions": ["../../.."]}', "not_ours"),
        ("", "mine", "not_ours"),
    ],
)
def test_a_foreign_output_is_refused(twenty, out, name, content, code):
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text(content)
    before = contents(out.parent)
    error = failure(twenty, out)
    assert (error.code, str(out) in error.file) == (code, True)
    assert contents(out.parent) == before


def test_foreign_files_beside_our_data_set_stay(twenty, out):
    first = converted(twenty, out)
    foreign = ("notes.txt", "train/x.wav", f"{first.version}/train/mine.tfrecord.gz",
               f"{first.version}/notes", "0123456789abcdef/train/part-00000-of-00001.tfrecord.gz",
               f"{out.name}.partial/train/x")  # fmt: skip
    for name in foreign:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    converted(twenty, out, DataSettings(seed=1))
    assert contents(out).keys() == listed(out).keys() | set(foreign)


@pytest.mark.parametrize("place", ["{version}/train/../../../../x", "../x", "/x"])
def test_a_manifest_cannot_name_files_elsewhere(twenty, out, place):
    manifest = converted(twenty, out)
    precious = out.parent / "x"
    precious.write_text("mine")
    text = (out / "manifest.json").read_text()
    place = place.format(version=manifest.version)
    (out / "manifest.json").write_text(text.replace(manifest.shards[0].file, place))
    assert failure(twenty, out, DataSettings(seed=1)).code == "not_ours"
    assert precious.exists()


@pytest.mark.parametrize("with_old", [False, True])
def test_a_full_disk_keeps_the_old_data_set(twenty, out, monkeypatch, with_old):
    if with_old:
        converted(twenty, out, DataSettings(seed=1))
    before = contents(out)
    calls = []

    def full(storage, name, content):
        calls.append(name)
        if len(calls) > 2:
            raise OSError(28, os.strerror(28))
        write(storage, name, content)

    write = Storage.write
    monkeypatch.setattr(Storage, "write", full)
    error = failure(twenty, out, SMALL_SHARDS)
    assert (error.code, error.file) == ("cannot_write", str(out))
    assert "No space left" in error.message
    assert before.items() <= contents(out).items()
    assert (out / "manifest.json").exists() == with_old
    monkeypatch.undo()
    converted(twenty, out, SMALL_SHARDS)
    assert contents(out) == listed(out)


def test_a_folder_that_cannot_be_made(twenty, out):
    out.parent.write_text("a file")
    assert failure(twenty, out).code == "cannot_write"


@pytest.mark.parametrize(
    ("raised", "code", "fact"),
    [
        (UserError("no_source", "nothing there", "source", 3), "no_source", "nothing there"),
        (RuntimeError("one\ntwo"), "worker_stopped", "two"),
    ],
)
def test_an_error_of_a_worker(twenty, out, monkeypatch, raised, code, fact):
    def gone(*_):
        raise raised

    monkeypatch.setattr(shards, "open_reader", gone)
    error = failure(twenty, out, DataSettings(seed=77))
    assert error.code == code
    assert fact in error.message
    assert error.file == ("source" if code == "no_source" else str(out))


@pytest.mark.parametrize(
    ("flags", "fact"),
    [
        (["--runner=Nonsense"], "Nonsense"),
        (["--runner=no.such.Runner"], "'no'"),
        (["--direct_num_workers=two"], "direct_num_workers: invalid int value: 'two'"),
        (["--runner=DataflowRunner"], "option"),
    ],
)
def test_options_that_beam_does_not_take(twenty, out, capfd, flags, fact):
    error = failure(twenty, out, SETTINGS, flags)
    assert error.code == "bad_beam_option"
    assert fact in error.message
    assert "usage:" not in capfd.readouterr().err
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_the_same_bytes_with_two_workers(twenty, out, tmp_path, mode):
    flags = [f"--direct_running_mode={mode}", "--direct_num_workers=2"]
    converted(twenty, out, SMALL_SHARDS)
    converted(twenty, tmp_path / "two", SMALL_SHARDS, flags)
    assert contents(tmp_path / "two") == contents(out)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "no_manifest"),
        (b'{"format": 99}', "other_format"),
        (b"[]", "bad_manifest"),
        (b'{"format": 2}', "bad_manifest"),
        (b"\xff", "bad_manifest"),
    ],
)
def test_a_manifest_that_cannot_be_read(tmp_path, content, code):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(UserError) as error:
        Manifest.load(tmp_path)
    assert error.value.code == code
    assert str(tmp_path) in error.value.file


@pytest.mark.parametrize("name", ["records", "layout", "shapes"])
def test_a_manifests_types_are_checked_and_unknown_keys_are_tolerated(twenty, out, name):
    manifest = converted(twenty, out)
    text = manifest.to_text()
    assert Manifest.from_text(text.replace(f'"{name}"', f'"more": [1], "{name}"')) == manifest
    with pytest.raises(UserError) as error:
        Manifest.from_text(text.replace(f'"{name}": ', f'"{name}": 0.5, "more": '))
    assert error.value.code == "bad_manifest"


def test_real_airplanes(real_data, out):
    manifest = convert(str(real_data / "PartAnnotation"), str(out), SETTINGS)
    assert [manifest.shapes(s) for s in SPLITS] == [14, 2, 4]
    assert not manifest.findings
