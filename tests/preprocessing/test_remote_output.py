"""Conversion to object storage, on a double of it (object_storage.py), and on Beam's runners."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from preprocessing.convert import convert
from preprocessing.destination import clear, open_store, publish
from preprocessing.findings import BadInput
from preprocessing.manifest import Manifest
from preprocessing.settings import DataSettings

OUT = "object-double://bucket/clouds/data"
# Small shards: five and more of them.
SETTINGS = DataSettings(shard_megabytes=0.0005)
OTHER = DataSettings(shard_megabytes=0.0005, seed=1)


def _double():
    """The double's module, once: Beam finds a file system by its class, and takes no two."""
    name = "object_storage"
    if name not in sys.modules:
        path = Path(__file__).with_name("object_storage.py")
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


storage = _double()


@pytest.fixture
def bucket():
    storage.BUCKET.clear()
    yield storage.BUCKET
    storage.BUCKET.clear()


@pytest.fixture(scope="module")
def source(part_annotation_folder, tmp_path_factory):
    folder = part_annotation_folder(tmp_path_factory.mktemp("remote") / "source")
    for i in range(12):
        folder.shape(f"shape{i:02d}", 6 + i)
    folder.points("nobody", "0 0 0\n1 1 1\n")
    return folder


@pytest.fixture(scope="module")
def local(source, tmp_path_factory):
    """Files by name of conversions to a disk: with SETTINGS, and with OTHER."""
    folder = tmp_path_factory.mktemp("local")
    found = []
    for name, settings in (("data", SETTINGS), ("other", OTHER)):
        convert(str(source.root), str(folder / name), settings)
        found.append(files(folder / name))
    assert len(found[0]) > 6
    assert found[0] != found[1]
    return found


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def below(bucket, root=OUT):
    return {
        address.removeprefix(f"{root}/"): content
        for address, content in bucket.objects.items()
        if address.startswith(f"{root}/")
    }


def assert_whole(bucket):
    """Where there is a manifest, every shard it names is there, and no other."""
    found = below(bucket)
    manifest = found.pop("manifest.json", None)
    if manifest is None:
        return
    found.pop("unfinished", None)
    shards = Manifest.from_text(manifest.decode()).shards
    assert {name: hashlib.sha256(content).hexdigest() for name, content in found.items()} == {
        shard.file: shard.sha256 for shard in shards
    }


def test_the_same_bytes_as_on_a_disk(source, local, bucket):
    manifest = convert(str(source.root), OUT, SETTINGS)
    assert below(bucket) == local[0]
    assert set(bucket.objects) == {f"{OUT}/{name}" for name in local[0]}
    assert manifest == Manifest.from_text(local[0]["manifest.json"].decode())


def test_again_touches_nothing(source, bucket):
    first = convert(str(source.root), OUT + "/", SETTINGS)
    bucket.restart()
    assert convert(str(source.root), OUT, SETTINGS) == first
    assert bucket.changes == []


def test_a_changed_source_replaces_and_stale_shards_go(planes, bucket, tmp_path):
    for i in range(12):
        planes.shape(f"shape{i:02d}", 6 + i)
    convert(str(planes.root), OUT, SETTINGS)
    before = set(below(bucket))
    bucket.restart(watch=lambda: assert_whole(bucket))
    # All in one shard of each split, which has another name.
    planes.shape("one_more")
    convert(str(planes.root), OUT, DataSettings())
    convert(str(planes.root), str(tmp_path / "data"), DataSettings())
    assert below(bucket) == files(tmp_path / "data")
    assert before - set(below(bucket))


def test_finished_shards_are_kept(source, local, bucket):
    """The change is in the middle of the record files: nothing is published yet."""
    convert(str(source.root), OUT, SETTINGS)
    summaries = [
        number
        for number, (what, address) in enumerate(bucket.changes, 1)
        if what == "copy" and ".partial/summaries/" in address
    ]
    bucket.clear()
    bucket.restart(kill_at=summaries[3])
    with pytest.raises(storage.Killed):
        convert(str(source.root), OUT, SETTINGS)
    assert below(bucket) == {}
    kept = [name for name in below(bucket, f"{OUT}.partial") if name.startswith("summaries/")]
    assert len(kept) == 3
    shards = [json.loads(bucket.objects[f"{OUT}.partial/{name}"])["shard"]["file"] for name in kept]
    bucket.restart()
    convert(str(source.root), OUT, SETTINGS)
    assert below(bucket) == local[0]
    assert set(bucket.objects) == {f"{OUT}/{name}" for name in local[0]}
    written = [address for what, address in bucket.changes if what == "copy"]
    assert not {f"{OUT}.partial/{name}" for name in shards} & set(written)


def publication(changes):
    """Numbers of the changes from the staging folder's manifest on."""
    first = next(
        number
        for number, (_, address) in enumerate(changes, 1)
        if address == f"{OUT}.partial/manifest.json"
    )
    return range(first, len(changes) + 1)


@pytest.mark.slow
def test_killed_at_any_moment_of_publishing(source, local, bucket):
    """Over an old data set. Then the new one is asked for again, or now and then the old one."""
    convert(str(source.root), OUT, OTHER)
    old = dict(bucket.objects)
    bucket.restart()
    convert(str(source.root), OUT, SETTINGS)
    moments = publication(bucket.changes)
    bucket.clear()
    bucket.objects.update(old)
    bucket.restart(kill_at=moments[0])
    with pytest.raises(storage.Killed):
        convert(str(source.root), OUT, SETTINGS)
    bucket.restart()
    with open_store(f"{OUT}.partial").write("manifest.json") as file:
        file.write(local[0]["manifest.json"])
    begun = dict(bucket.objects)
    bucket.restart()
    publish(f"{OUT}.partial", OUT)
    # At the least: each old file goes, each new one comes.
    last = len(bucket.changes)
    assert last > len(old) + len(local[0])
    seen = set()
    for moment in range(1, last + 1):
        bucket.objects = dict(begun)
        bucket.restart(kill_at=moment, watch=lambda: assert_whole(bucket))
        with pytest.raises(storage.Killed):
            publish(f"{OUT}.partial", OUT)
        seen.add(hashlib.sha256(below(bucket).get("manifest.json", b"")).hexdigest())
        settings, expected = (OTHER, local[1]) if moment % 7 == 2 else (SETTINGS, local[0])
        bucket.restart(watch=lambda: assert_whole(bucket))
        convert(str(source.root), OUT, settings)
        found = below(bucket)
        # Before the old manifest went, it is the old data set that is found whole.
        assert found.pop("unfinished", None) is None or settings is OTHER
        assert found == expected, moment
        assert settings is OTHER or set(bucket.objects) == {f"{OUT}/{name}" for name in expected}
    # Killed with the old manifest there, with none, and with the new one.
    assert len(seen) == 3


def test_emptying_begins_with_the_plan(bucket, tmp_path):
    """Killed while it empties a staging folder, nothing of it is taken for finished."""
    staging = f"{OUT}.partial"
    for name in ("plan.json", "summaries/a.json", "train/a"):
        bucket.objects[f"{staging}/{name}"] = b""
    clear(staging)
    assert bucket.changes[0] == ("delete", f"{staging}/plan.json")
    assert bucket.objects == {}


@pytest.mark.parametrize("name", ["notes.txt", "train/x"])
def test_somebody_elses_objects_are_left_alone(source, bucket, name):
    bucket.objects[f"{OUT}/{name}"] = b"mine"
    with pytest.raises(BadInput, match=r"not replaced"):
        convert(str(source.root), OUT, SETTINGS)
    assert bucket.objects == {f"{OUT}/{name}": b"mine"}
    assert bucket.changes == []


def test_neighbours_are_left_alone(source, local, bucket):
    neighbours = {f"{OUT}2/train/x": b"mine", "object-double://bucket/clouds/notes": b"mine"}
    bucket.objects.update(neighbours)
    convert(str(source.root), OUT, SETTINGS)
    convert(str(source.root), OUT, OTHER)
    assert neighbours.items() <= bucket.objects.items()
    assert len(bucket.objects) == len(local[1]) + 2


def test_a_folder_shown_by_an_empty_object(source, local, bucket):
    bucket.objects[f"{OUT}/"] = b""
    convert(str(source.root), OUT, SETTINGS)
    assert {name: text for name, text in below(bucket).items() if name} == local[0]


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("object-double://bucket", r"whole bucket.*object-double://bucket/shapes"),
        ("object-double://bucket/data[1]", r"holds one of"),
        ("no-such-storage://bucket/data", r"cannot be listed \(.*Correct the address"),
        ("hdfs://host/data", r"is no object storage|cannot be listed"),
    ],
)
def test_an_address_that_cannot_be_written(source, bucket, output, sentence):
    with pytest.raises(BadInput, match=sentence) as error:
        convert(str(source.root), output, SETTINGS)
    assert error.value.code == "bad_address"


def test_a_source_in_object_storage_is_refused(bucket):
    with pytest.raises(BadInput, match=r"gs://bucket/x is an address; sources are read from disks"):
        convert("gs://bucket/x", OUT, SETTINGS)


def test_options_reach_the_file_system_from_the_first_look(source, bucket, monkeypatch):
    seen = []
    real = storage.ObjectStorageDouble.match

    def looked(self, patterns, limits=None):
        seen.append(storage_options())
        return real(self, patterns, limits)

    def storage_options():
        from apache_beam.io.filesystems import FileSystems

        return FileSystems._pipeline_options.get_all_options(drop_default=True)

    monkeypatch.setattr(storage.ObjectStorageDouble, "match", looked)
    convert(str(source.root), OUT, SETTINGS, ["--s3_endpoint_url=http://storage.example"])
    assert seen[0]["s3_endpoint_url"] == "http://storage.example"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--runner=Nonsense"], r"Beam cannot start with '--runner=Nonsense': Unexpected"),
        (["--runner=no.such.Runner"], r"No module named 'no'"),
        (["--direct_num_workers=two"], r"direct_num_workers: invalid int value: 'two'"),
        (["--runner=DataflowRunner"], r"Missing required option: project"),
        (["train"], r"'train' is no option"),
    ],
)
def test_flags_that_beam_does_not_take(source, tmp_path, capfd, flags, sentence):
    out = tmp_path / "data"
    with pytest.raises(BadInput, match=sentence) as error:
        convert(str(source.root), str(out), SETTINGS, flags)
    assert error.value.code == "bad_beam_option"
    assert "\n" not in str(error.value)
    assert "usage:" not in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_flag_keeps_the_finished_shards(source, bucket):
    convert(str(source.root), OUT, SETTINGS)
    bucket.objects = {f"{OUT}.partial/plan.json": b"", f"{OUT}.partial/train/x": b""}
    bucket.restart()
    with pytest.raises(BadInput, match="Unexpected pipeline runner"):
        convert(str(source.root), OUT, SETTINGS, ["--runner=Nonsense"])
    assert bucket.changes == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_the_same_bytes_with_two_workers(source, local, tmp_path, mode):
    flags = [f"--direct_running_mode={mode}", "--direct_num_workers=2"]
    convert(str(source.root), str(tmp_path / "data"), SETTINGS, flags)
    assert files(tmp_path / "data") == local[0]
