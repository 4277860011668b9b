import os
import zipfile
from collections import Counter

import numpy as np
import pytest

from preprocessing.conversion import shards
from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import Manifest
from preprocessing.conversion.storage import Storage
from preprocessing.settings import DataSettings
from schema.errors import UserError
from schema.record import SPLITS
from tests.preprocessing.conversion.conftest import clouds_of, contents, listed

SETTINGS = DataSettings()
SMALL_SHARDS = DataSettings(shard_megabytes=0.0005)
LENIENT = DataSettings(max_bad_share=0.5)


def failure(source, out, settings=SETTINGS, beam_args=()):
    with pytest.raises(UserError) as error:
        convert(str(source), str(out), settings, beam_args)
    return error.value


@pytest.fixture
def twenty(planes):
    for i in range(20):
        planes.shape(f"shape{i:02d}", 6 + i)
    return planes


def test_every_shape_is_in_one_split_as_it_was_read(twenty, out):
    twenty.points("bare", "0 0 0\n1 1 1\n")
    manifest = convert(str(twenty.root), str(out), SETTINGS)
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
    assert manifest.parts_in("train") == {"body", "wing"}
    assert [f.code for f in manifest.findings] == ["part_without_points"]
    assert "tail" in manifest.findings[0].message
    assert Manifest.load(out) == manifest


def test_an_empty_output_gets_what_the_manifest_lists(twenty, out):
    out.mkdir(parents=True)
    manifest = convert(str(twenty.root), str(out), SMALL_SHARDS)
    assert contents(out) == listed(out)
    assert len(manifest.shards) > 5
    assert sorted(os.listdir(out)) == [manifest.version, "manifest.json"]
    assert os.listdir(out.parent) == ["data"]


def test_the_same_bytes_elsewhere_and_from_a_zip(twenty, out, tmp_path):
    convert(str(twenty.root), str(out), SMALL_SHARDS)
    convert(str(twenty.root), str(tmp_path / "other"), SMALL_SHARDS)
    assert contents(out) == contents(tmp_path / "other")
    archive = tmp_path / "PartAnnotation.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(twenty.root.rglob("*")):
            file.write(path, f"PartAnnotation/{path.relative_to(twenty.root)}")
    convert(str(archive), str(tmp_path / "zipped"), SMALL_SHARDS)
    hashes = [
        {s.file.partition("/")[2]: s.sha256 for s in Manifest.load(folder).shards}
        for folder in (out, tmp_path / "zipped")
    ]
    assert hashes[0] == hashes[1]


def test_again_touches_nothing(twenty, out):
    first = convert(str(twenty.root), str(out), SETTINGS)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert convert(str(twenty.root), str(out), SETTINGS) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("damage", ["split", "file", "cut"])
def test_lost_records_are_written_again(twenty, out, damage):
    convert(str(twenty.root), str(out), SMALL_SHARDS)
    before = contents(out)
    file = out / next(name for name in before if "/train/" in name)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        gone = list(file.parent.iterdir()) if damage == "split" else [file]
        for path in gone:
            path.unlink()
    convert(str(twenty.root), str(out), SMALL_SHARDS)
    assert contents(out) == before


def test_a_changed_source_or_other_settings_replace_the_data_set(twenty, out, capsys):
    first = convert(str(twenty.root), str(out), SETTINGS)
    twenty.shape("one_more")
    second = convert(str(twenty.root), str(out), SETTINGS)
    assert first.fingerprint != second.fingerprint
    assert sum(map(second.shapes, SPLITS)) == 21
    third = convert(str(twenty.root), str(out), DataSettings(seed=1))
    assert str(twenty.root) not in capsys.readouterr().err
    assert Manifest.load(out) == third
    assert contents(out) == listed(out)
    assert os.listdir(out / "..") == ["data"]
    moved = twenty.root.rename(twenty.root.with_name("moved"))
    convert(str(moved), str(out), SETTINGS)
    assert str(twenty.root) in capsys.readouterr().err


def test_unreadable_shapes_are_findings(twenty, out, capsys):
    for shape in ("shape03", "shape04"):
        twenty.points(shape, "0 0 0\n1 1 one\n")
    manifest = convert(str(twenty.root), str(out), SETTINGS)
    found = [f for f in manifest.findings if f.left_out]
    assert [(f.category, f.shape, f.line) for f in found] == [
        ("Airplane", "shape03", 2), ("Airplane", "shape04", 2)
    ]  # fmt: skip
    assert sum(map(manifest.shapes, SPLITS)) == 18
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert f"{found[0].code} 2 times, first: planes/points/shape03.pts, line 2: " in line
    assert "2 shapes" in manifest.summary()[-1]


def test_too_many_unreadable_shapes_stop_it(twenty, out):
    for i in range(3):
        twenty.points(f"shape{i:02d}", "")
    error = failure(twenty.root, out)
    assert error.code == "too_many_bad"
    for fact in ("3 of 20", "10%", "3 times", "planes/points/shape00.pts"):
        assert fact in error.message
    assert not (out / "manifest.json").exists()
    manifest = convert(str(twenty.root), str(out), DataSettings(max_bad_share=0.2))
    assert sum(f.left_out for f in manifest.findings) == 3
    assert contents(out) == listed(out)


def test_bad_shapes_are_counted_by_category_and_name(own_clouds, out):
    source = own_clouds(A="ab", B="ab", C="ab", D="ab", E="ab")
    for category in "ABCDE":
        source.cloud("1", [0, 1, 7], category=category)
        source.cloud("2", [0, 1, 1], category=category)
    error = failure(source.root, out, DataSettings(category="all"))
    assert (error.code, "5 of 10" in error.message) == ("too_many_bad", True)


def commas(source):
    for i in range(4):
        source.points(f"s{i}", "0,0,0\n1,1,1\n")
        source.part(f"s{i}", "body", "1\n1\n")
    return "planes/points/s0.pts, line 1: "


def wrong_encoding(source):
    for i in range(4):
        source.points(f"s{i}", "0 0 0\n1 1 ä\n".encode("latin-1"))
        source.part(f"s{i}", "body", "1\n1\n")
    return "planes/points/s0.pts, line 2: "


@pytest.mark.parametrize("fault", [commas, wrong_encoding])
@pytest.mark.parametrize("settings", [SETTINGS, DataSettings(max_bad_share=1)])
def test_the_reason_is_given_if_all_files_have_the_same_fault(planes, out, fault, settings):
    place = fault(planes)
    error = failure(planes.root, out, settings)
    assert error.code == ("too_few_shapes" if settings.max_bad_share == 1 else "too_many_bad")
    (line,) = error.message.splitlines()[1:]
    assert f" 4 times, first: {place}" in line


@pytest.mark.parametrize("with_last", [20, 2, 1])
@pytest.mark.parametrize("settings", [SETTINGS, DataSettings(max_bad_share=1)])
def test_labels_counted_from_one(own_clouds, out, with_last, settings):
    source = own_clouds(Chair=["back", "seat", "leg"])
    for i in range(20):
        source.cloud(f"c{i:02d}", [1, 2, 2] + [3] * (i < with_last))
    error = failure(source.root, out, settings)
    assert (error.code, error.file) == ("labels_from_one", "Chair/c00.csv")
    for fact in ("Chair", "back, seat, leg", "first_label: 1"):
        assert fact in error.message
    (source.root / "clouds.yaml").write_text("first_label: 1\ncategories:\n  Chair: [a, b, c]\n")
    assert sum(map(convert(str(source.root), str(out), SETTINGS).shapes, SPLITS)) == 20


def test_a_stray_label_past_the_last_part_is_no_reason_to_think_so(own_clouds, out):
    source = own_clouds(Chair=["back", "seat"])
    for i in range(19):
        source.cloud(f"c{i:02d}", [0, 1, 1])
    source.cloud("bad", [1, 2])
    manifest = convert(str(source.root), str(out), SETTINGS)
    assert [(f.shape, f.left_out) for f in manifest.findings] == [("bad", True)]


def test_each_split_has_a_shape_even_if_all_of_it_are_unreadable(planes, out):
    for i in range(6):
        planes.shape(f"s{i}")
    convert(str(planes.root), str(out), LENIENT)
    for cloud in clouds_of(out, "test"):
        planes.points(cloud.shape_id, "broken")
    manifest = convert(str(planes.root), str(out), LENIENT)
    assert all(manifest.shapes(split) for split in SPLITS)
    assert sum(map(manifest.shapes, SPLITS)) == 5
    assert contents(out) == listed(out)


def test_too_few_shapes_say_why_there_are_no_labels(own_clouds, out):
    source = own_clouds(Chair=["back"])
    for name in "abcd":
        source.text(f"Chair/{name}.csv", "x,y,z,segment\n0,0,0,0\n1,1,1,0\n")
    error = failure(source.root, out)
    assert error.code == "too_few_shapes"
    for fact in ("0 labelled", "4 without", "segment"):
        assert fact in error.message


def test_clouds_without_any_label_count_as_unlabelled(own_clouds, out):
    source = own_clouds(Chair=["back", "seat"])
    for i in range(12):
        source.cloud(f"c{i}", [0, 1, -1] if i < 8 else [-1, -1])
    manifest = convert(str(source.root), str(out), SETTINGS)
    assert manifest.shapes("unlabelled") == 4
    assert sum(map(manifest.shapes, SPLITS)) == 8
    assert {c.labels for c in clouds_of(out, "unlabelled")} == {None}
    assert Counter(f.code for f in manifest.findings) == {"no_labels": 4}
    assert contents(out) == listed(out)


def test_summary(part_annotation_folder, tmp_path, out):
    of = {name: {"directory": name.lower(), "lables": ["body", "wing"]} for name in ("A", "B", "C")}
    folder = part_annotation_folder(tmp_path / "source", of)
    for i in range(10):
        folder.shape(f"s{i}", 6, "a")
        folder.shape(f"t{i}", 6, "b")
    folder.points("bare", "0 0 0\n", "a")
    folder.points("s3", "broken", "a")
    manifest = convert(str(folder.root), str(out), DataSettings(category="A", max_bad_share=0.2))
    first, left_out, not_converted = manifest.summary()
    splits = ", ".join(f"{manifest.shapes(split)} {split}" for split in SPLITS)
    assert first.startswith(f"A {splits}, 1 unlabelled; 10 shapes, 55 points")
    assert "body 49.1%, wing 49.1%, unannotated 1.8%" in first
    assert "1 shape" in left_out
    assert "B, C" in not_converted
    error = failure(folder.root, out, DataSettings(category="D"))
    assert error.code == "unknown_category"


def test_surveyed_coordinates_keep_their_shape(own_clouds, out):
    source = own_clouds(Chair=["back", "seat"])
    points = np.random.default_rng(0).uniform(4_649_776, 4_649_777, (500, 3))
    for i in range(3):
        source.cloud(f"c{i}", [0, 1] * 250, points)
    convert(str(source.root), str(out), SETTINGS)
    (cloud,) = clouds_of(out, "test")
    assert np.abs(cloud.coordinates - points).max() < 1e-6


def test_256_parts(own_clouds, out):
    source = own_clouds(Chair=[f"p{i}" for i in range(256)])
    for i in range(3):
        source.cloud(f"c{i}", [*range(256), -1])
    manifest = convert(str(source.root), str(out), SETTINGS)
    (cloud,) = clouds_of(out, "val")
    assert cloud.labels.tolist() == [*range(256), -1]
    assert manifest.findings == ()


@pytest.mark.parametrize("name", ["run[1]", "run*", "run?", "a b#{x}"])
def test_paths_are_literal(twenty, tmp_path, name):
    """A neighbour whose name the path would match as a pattern is neither read nor changed."""
    neighbour = tmp_path / "run1"
    convert(str(twenty.root), str(neighbour), DataSettings(seed=1))
    before = contents(neighbour)
    source = twenty.root.rename(tmp_path / f"source {name}")
    out = tmp_path / name
    for settings in (SMALL_SHARDS, SETTINGS, SETTINGS):
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
        ("unfinished.json", "", "not_ours"),
        ("", "mine", "not_ours"),
    ],
)
def test_a_foreign_output_is_refused(twenty, out, name, content, code):
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text(content)
    if name:
        (out / "train").mkdir(exist_ok=True)
        (out / "train" / "precious.wav").write_text("mine")
    before = contents(out.parent)
    error = failure(twenty.root, out)
    assert error.code == code
    assert str(out) in error.file
    assert contents(out.parent) == before


def test_foreign_files_beside_our_data_set_stay(twenty, out):
    first = convert(str(twenty.root), str(out), SETTINGS)
    foreign = ("notes.txt", "train/x.wav", f"{first.version}/train/mine.tfrecord.gz",
               f"{first.version}/notes", "0123456789abcdef/train/part-00000-of-00001.tfrecord.gz",
               f"{out.name}.partial/train/x")  # fmt: skip
    for name in foreign:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    convert(str(twenty.root), str(out), DataSettings(seed=1))
    assert contents(out).keys() == listed(out).keys() | set(foreign)


@pytest.mark.parametrize("place", ["{version}/train/../../../../x", "../x", "/x"])
def test_a_manifest_cannot_name_files_elsewhere(twenty, out, place):
    manifest = convert(str(twenty.root), str(out), SETTINGS)
    precious = out.parent / "x"
    precious.write_text("mine")
    text = (out / "manifest.json").read_text()
    place = place.format(version=manifest.version)
    (out / "manifest.json").write_text(text.replace(manifest.shards[0].file, place))
    assert failure(twenty.root, out, DataSettings(seed=1)).code == "not_ours"
    assert precious.exists()


def test_other_data_is_not_replaced_if_not_asked_for(twenty, out):
    convert(str(twenty.root), str(out), SETTINGS)
    before = contents(out)
    with pytest.raises(UserError) as error:
        convert(str(twenty.root), str(out), DataSettings(seed=1), replace_other=False)
    assert error.value.code == "other_data"
    assert contents(out) == before


@pytest.mark.parametrize("with_old", [False, True])
def test_a_full_disk_keeps_the_old_data_set(twenty, out, monkeypatch, with_old):
    if with_old:
        convert(str(twenty.root), str(out), DataSettings(seed=1))
    before = contents(out)
    calls = []

    def full(storage, name, content):
        calls.append(name)
        if len(calls) > 2:
            raise OSError(28, os.strerror(28))
        write(storage, name, content)

    write = Storage.write
    monkeypatch.setattr(Storage, "write", full)
    error = failure(twenty.root, out, SMALL_SHARDS)
    assert (error.code, error.file) == ("cannot_write", str(out))
    assert "No space left" in error.message
    assert before.items() <= contents(out).items()
    assert (out / "manifest.json").exists() == with_old
    monkeypatch.undo()
    convert(str(twenty.root), str(out), SMALL_SHARDS)
    assert contents(out) == listed(out)


def test_a_folder_that_cannot_be_made(twenty, out):
    out.parent.write_text("a file")
    assert failure(twenty.root, out).code == "cannot_write"


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
    error = failure(twenty.root, out, DataSettings(seed=77))
    assert error.code == code
    assert fact in error.message
    assert error.file == ("source" if code == "no_source" else str(out))


@pytest.mark.parametrize(
    ("flags", "fact"),
    [
        (["--runner=Nonsense"], "Nonsense"),
        (["--runner=no.such.Runner"], "'no'"),
        (["--direct_num_workers=two"], "direct_num_workers: invalid int value: 'two'"),
        (["--runner=DataflowRunner"], "project"),
        (["train"], "'train'"),
    ],
)
def test_options_that_beam_does_not_take(twenty, out, capfd, flags, fact):
    error = failure(twenty.root, out, SETTINGS, flags)
    assert error.code == "bad_beam_option"
    assert fact in error.message
    assert "usage:" not in capfd.readouterr().err
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_the_same_bytes_with_two_workers(twenty, out, tmp_path, mode):
    flags = [f"--direct_running_mode={mode}", "--direct_num_workers=2"]
    convert(str(twenty.root), str(out), SMALL_SHARDS)
    convert(str(twenty.root), str(tmp_path / "two"), SMALL_SHARDS, flags)
    assert contents(tmp_path / "two") == contents(out)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "no_manifest"),
        ('{"format": 99}', "other_format"),
        ("[]", "bad_manifest"),
        ('{"format": 2}', "bad_manifest"),
        ("{", "bad_manifest"),
        (b"\xff", "bad_manifest"),
    ],
)
def test_a_manifest_that_cannot_be_read(tmp_path, text, code):
    if text is not None:
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(UserError) as error:
        Manifest.load(tmp_path)
    assert error.value.code == code
    assert str(tmp_path) in error.value.file


@pytest.mark.parametrize(
    ("old", "new"),
    [('"records": 14', '"records": "14"'), ('"source": "', '"source": 5, "x": "'),
     ('"bytes": ', '"bytes": 0.5, "y": ')],
)  # fmt: skip
def test_a_manifests_types_are_checked_and_unknown_keys_are_tolerated(twenty, out, old, new):
    manifest = convert(str(twenty.root), str(out), SETTINGS)
    text = manifest.to_text()
    assert Manifest.from_text(text.replace('"layout"', '"more": [1], "layout"')) == manifest
    assert old in text
    with pytest.raises(UserError) as error:
        Manifest.from_text(text.replace(old, new, 1))
    assert error.value.code == "bad_manifest"


def test_real_airplanes(real_data, out):
    manifest = convert(str(real_data / "PartAnnotation"), str(out), SETTINGS)
    assert [manifest.shapes(s) for s in SPLITS] == [14, 2, 4]
    assert not manifest.findings
