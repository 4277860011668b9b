import errno
import hashlib
import os
import zipfile

import numpy as np
import pytest

from preprocessing import shard_writer
from preprocessing.convert import convert
from preprocessing.destination import PLAN, LocalStore
from preprocessing.examples import from_example
from preprocessing.findings import BadInput
from preprocessing.manifest import Manifest
from preprocessing.settings import DataSettings
from preprocessing.tfrecord import read_records

SETTINGS = DataSettings()
SMALL_SHARDS = DataSettings(shard_megabytes=0.001)


def contents(folder):
    """Hash of every file, by name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def records(folder, split):
    found = []
    for path in sorted((folder / split).glob("*.tfrecord.gz")):
        with open(path, "rb") as file:
            found += [from_example(record) for record in read_records(file, str(path))]
    return found


@pytest.fixture
def twenty(planes):
    for i in range(20):
        planes.shape(f"shape{i:02d}", 6 + i)
    return planes


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "data"


def test_every_shape_stands_in_one_split_as_it_was_read(twenty, out):
    twenty.points("nobody", "0 0 0\n1 1 1\n")
    manifest = convert(str(twenty.root), str(out), SETTINGS)
    splits = {s: records(out, s) for s in ("train", "val", "test", "unlabelled")}
    assert {s: len(r) for s, r in splits.items()} == {
        "train": 14,
        "val": 2,
        "test": 4,
        "unlabelled": 1,
    }
    assert splits["unlabelled"][0].labels is None
    ids = [record.shape_id for s in ("train", "val", "test") for record in splits[s]]
    assert sorted(ids) == [f"shape{i:02d}" for i in range(20)]
    for record in splits["train"]:
        points = twenty.root / "planes" / "points" / f"{record.shape_id}.pts"
        np.testing.assert_array_equal(record.points, np.loadtxt(points).astype(np.float32))
    assert [c.name for c in manifest.categories] == ["Airplane"]
    assert {s: manifest.shapes(s) for s in splits} == {s: len(r) for s, r in splits.items()}
    train = next(count for count in manifest.counts if count.split == "train")
    assert train.parts["body"] == sum(int((r.labels == 0).sum()) for r in splits["train"])
    assert train.shapes_with_part == {"body": 14, "wing": 14, "tail": 0}
    assert Manifest.load(out) == manifest


def test_the_manifest_tells_the_files_hashes(twenty, out):
    manifest = convert(str(twenty.root), str(out), SETTINGS)
    found = contents(out)
    assert {shard.file: shard.sha256 for shard in manifest.shards} == {
        name: value for name, value in found.items() if name != "manifest.json"
    }
    assert all((out / shard.file).stat().st_size == shard.bytes for shard in manifest.shards)
    assert os.listdir(out.parent) == ["data"]


def test_again_touches_nothing(twenty, out):
    first = convert(str(twenty.root), str(out), SETTINGS)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert convert(str(twenty.root), str(out), SETTINGS) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_the_same_bytes_elsewhere(twenty, out, tmp_path):
    settings = DataSettings(shard_megabytes=0.0005)
    convert(str(twenty.root), str(out), settings)
    convert(str(twenty.root), str(tmp_path / "other"), settings)
    assert contents(out) == contents(tmp_path / "other")
    assert len(contents(out)) > 4


def test_changed_source_or_settings_replace_the_output(twenty, out):
    first = convert(str(twenty.root), str(out), SETTINGS)
    twenty.shape("one_more")
    second = convert(str(twenty.root), str(out), SETTINGS)
    assert first.fingerprint != second.fingerprint
    assert sum(second.shapes(s) for s in ("train", "val", "test")) == 21
    third = convert(str(twenty.root), str(out), DataSettings(seed=1))
    assert Manifest.load(out) == third
    assert os.listdir(out.parent) == ["data"]


def test_zip_gives_the_same_records(twenty, out, tmp_path):
    archive = tmp_path / "PartAnnotation.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(twenty.root.rglob("*")):
            file.write(path, f"PartAnnotation/{path.relative_to(twenty.root)}")
    folder = convert(str(twenty.root), str(out), SETTINGS)
    zipped = convert(str(archive), str(tmp_path / "zipped"), SETTINGS)
    assert zipped.shards == folder.shards


def test_unreadable_shapes_are_findings(twenty, out, capsys):
    twenty.points("shape03", "0 0 0\n1 1 one\n")
    manifest = convert(str(twenty.root), str(out), SETTINGS)
    (finding,) = manifest.findings
    assert (finding.code, finding.shape, finding.line) == ("not_a_number", "shape03", 2)
    assert finding.left_out
    assert sum(manifest.shapes(split) for split in ("train", "val", "test")) == 19
    assert "left out: planes/points/shape03.pts, line 2: found 'one'" in capsys.readouterr().err


def test_too_many_unreadable_shapes_stop_it(twenty, out):
    for i in range(3):
        twenty.points(f"shape{i:02d}", "")
    with pytest.raises(BadInput, match=r"3 of 20 shapes cannot be read, more than the 10%"):
        convert(str(twenty.root), str(out), SETTINGS)
    assert os.listdir(out.parent) == []
    lenient = DataSettings(max_bad_share=0.2)
    assert len(convert(str(twenty.root), str(out), lenient).findings) == 3


def test_each_split_has_a_shape_even_if_one_was_to_be_all_unreadable(planes, out):
    for i in range(6):
        planes.shape(f"s{i}")
    settings = DataSettings(max_bad_share=0.5)
    convert(str(planes.root), str(out), settings)
    for record in records(out, "test"):
        planes.points(record.shape_id, "broken")
    manifest = convert(str(planes.root), str(out), settings)
    assert all(manifest.shapes(split) >= 1 for split in ("train", "val", "test"))
    assert manifest.findings[0].code == "wrong_columns"


def test_too_few_shapes(planes, out):
    planes.shape("a")
    with pytest.raises(BadInput, match=r"found 1 labelled shape,"):
        convert(str(planes.root), str(out), SETTINGS)
    assert not out.exists()


def test_why_labels_are_too_few_is_said(tmp_path, out, capsys):
    for name in "abcd":
        file = tmp_path / "source" / "Chair" / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x,y,z,segment\n0,0,0,0\n")
    (tmp_path / "source" / "clouds.yaml").write_text("categories:\n  Chair: [back]\n")
    with pytest.raises(BadInput, match=r"found 0 labelled shapes \(4 without labels are there\)"):
        convert(str(tmp_path / "source"), str(out), DataSettings(category="Chair"))
    assert "If segment is the label, write `label: segment`" in capsys.readouterr().err


def test_the_only_category_is_taken_with_a_note(twenty, out):
    manifest = convert(str(twenty.root), str(out), DataSettings(category="Chair"))
    assert [category.name for category in manifest.categories] == ["Airplane"]
    (finding,) = manifest.findings
    assert (finding.code, finding.left_out) == ("only_category", False)
    assert "no category 'Chair' in this source; Airplane, its only one" in finding.sentence


def test_overview(part_annotation_folder, tmp_path, out):
    of = {name: {"directory": name.lower(), "lables": ["body", "wing"]} for name in ("A", "B", "C")}
    folder = part_annotation_folder(tmp_path / "source", of)
    for i in range(10):
        folder.shape(f"s{i}", 6, "a")
        folder.shape(f"t{i}", 6, "b")
    folder.points("bare", "0 0 0\n", "a")
    folder.points("s3", "broken", "a")
    manifest = convert(str(folder.root), str(out), DataSettings(category="A", max_bad_share=0.2))
    first, *others = manifest.overview()
    shapes = {split: manifest.shapes(split) for split in ("train", "val", "test")}
    assert sum(shapes.values()) == 9
    splits = ", ".join(f"{n} {split}" for split, n in shapes.items())
    assert first == f"A {splits}, 1 unlabelled; 10 shapes, 55 points"
    assert others == [
        "left out: 1 shape, named in manifest.json",
        "not converted: B, C (--category all)",
    ]
    assert Manifest.load(out) == manifest
    with pytest.raises(BadInput, match=r"it has A, B, C\. Choose one of these, or all: --category"):
        convert(str(folder.root), str(out), DataSettings(category="D"))


def test_another_sources_conversion_is_replaced_with_a_note(
    part_annotation_folder, twenty, tmp_path, out, capsys
):
    convert(str(twenty.root), str(out), SETTINGS)
    twenty.points("shape03", "0 0 0\n1 1 1\n")
    convert(str(twenty.root), str(out), SETTINGS)
    assert "replaced" not in capsys.readouterr().err
    other = part_annotation_folder(tmp_path / "other")
    for i in range(4):
        other.shape(f"s{i}")
    convert(str(other.root), str(out), SETTINGS)
    assert f"note: {out} held the conversion of {twenty.root}" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(twenty, out, monkeypatch):
    whole = convert(str(twenty.root), str(out.with_name("whole")), SMALL_SHARDS)
    write = LocalStore.write

    def full(store, name):
        if name == whole.shards[-1].file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(store, name)

    monkeypatch.setattr(LocalStore, "write", full)
    with pytest.raises(BadInput) as error:
        convert(str(twenty.root), str(out), SMALL_SHARDS)
    assert error.value.code == "cannot_write"
    assert f"stopped while writing to {out}.partial (no space left on device)" in str(error.value)
    assert (out.with_name("data.partial") / PLAN).is_file()
    monkeypatch.undo()
    assert convert(str(twenty.root), str(out), SMALL_SHARDS).shards == whole.shards


def test_what_a_worker_says_is_said(twenty, out, monkeypatch):
    def gone(*_):
        raise BadInput("no_source", "nothing there. Give a folder.", "source")

    monkeypatch.setattr(shard_writer, "open_reader", gone)
    with pytest.raises(BadInput) as error:
        convert(str(twenty.root), str(out), DataSettings(seed=77))
    assert str(error.value) == "source: nothing there. Give a folder."


def test_all_categories_share_ids(part_annotation_folder, tmp_path, out):
    folder = part_annotation_folder(
        tmp_path / "source",
        {
            "A": {"directory": "a", "lables": ["body", "wing"]},
            "B": {"directory": "b", "lables": ["body", "wing"]},
        },
    )
    for i in range(5):
        folder.shape(f"s{i}", 6, "a")
        folder.shape(f"t{i}", 6, "b")
    folder.shape("s0", 8, "b")
    manifest = convert(str(folder.root), str(out), DataSettings(category="all"))
    assert [f.code for f in manifest.findings] == ["duplicate_id"]
    by_split = {s: {r.shape_id for r in records(out, s)} for s in ("train", "val", "test")}
    holding = [s for s, ids in by_split.items() if ids & {"A/s0", "B/s0"}]
    assert len(holding) == 1
    assert {"A/s0", "B/s0"} <= by_split[holding[0]]


@pytest.mark.parametrize("name", ["notes.txt", "train/x"])
def test_somebody_elses_folder_is_left_alone(twenty, out, name):
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(BadInput, match=r"not replaced"):
        convert(str(twenty.root), str(out), SETTINGS)
    assert (out / name).read_text() == "mine"


def test_own_files_in_our_folder_are_left_alone(twenty, out):
    convert(str(twenty.root), str(out), SETTINGS)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"holds notes.txt"):
        convert(str(twenty.root), str(out), DataSettings(seed=1))
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["manifest.json", "train", "val"])
def test_a_file_for_a_folder_and_a_folder_for_a_file(twenty, out, name):
    convert(str(twenty.root), str(out), SETTINGS)
    (out / name).rename(out.parent / "aside")
    if name == "manifest.json":
        (out / name).mkdir()
    elif name == "train":
        (out / name).write_text("mine")
    else:
        (out / name).symlink_to(out.parent / "aside")
    before = sorted(out.rglob("*"))
    with pytest.raises(BadInput, match=rf"{name} is no .*nothing here is replaced"):
        convert(str(twenty.root), str(out), DataSettings(seed=1))
    assert sorted(out.rglob("*")) == before


def test_an_empty_folder_is_taken(twenty, out):
    out.mkdir(parents=True)
    convert(str(twenty.root), str(out), SETTINGS)
    assert Manifest.load(out).shapes("train") == 14


def test_a_second_conversion_at_the_same_time_is_refused(twenty, out):
    from preprocessing.destination import staging_lock

    with (
        staging_lock(f"{out}.partial"),
        pytest.raises(BadInput, match=r"another conversion is writing"),
    ):
        convert(str(twenty.root), str(out), SETTINGS)


def test_no_finished_data_set(tmp_path):
    with pytest.raises(BadInput, match=r"no finished data set"):
        Manifest.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(BadInput, match=r"has format 99"):
        Manifest.load(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(BadInput, match=r"is no manifest"):
        Manifest.load(tmp_path)


def test_finished_shards_are_not_written_again(twenty, out, monkeypatch):
    from preprocessing import convert as convert_module
    from preprocessing import shard_writer

    calls = []
    real = shard_writer._write_records

    def counted(plan, reader, store):
        if len(calls) == 2:
            raise RuntimeError("stop here")
        calls.append(plan.file)
        return real(plan, reader, store)

    monkeypatch.setattr(shard_writer, "_write_records", counted)
    with pytest.raises(RuntimeError, match="stop here"):
        convert(str(twenty.root), str(out), SETTINGS)
    assert not out.exists()
    assert convert_module.open_store(f"{out}.partial").count("summaries") == 2
    first, calls[:] = list(calls), []
    convert(str(twenty.root), str(out), SETTINGS)
    assert len(calls) == 1
    assert not set(calls) & set(first)


def test_real_airplanes(real_data, out):
    manifest = convert(str(real_data / "PartAnnotation"), str(out), SETTINGS)
    assert [manifest.shapes(s) for s in ("train", "val", "test")] == [14, 2, 4]
    assert not manifest.findings
