"""Conversion to object storage, on a fake of it."""

import hashlib

import pytest

from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import Manifest
from preprocessing.settings import DataSettings
from schema.errors import UserError
from tests.preprocessing.conversion import fake_storage

OUT = "fake-storage://bucket/clouds/data"
SETTINGS = DataSettings(shard_megabytes=0.0005)
OTHER = DataSettings(shard_megabytes=0.0005, seed=1)


@pytest.fixture
def bucket():
    fake_storage.BUCKET.clear()
    yield fake_storage.BUCKET
    fake_storage.BUCKET.clear()


@pytest.fixture(scope="module")
def source(part_annotation_folder, tmp_path_factory):
    folder = part_annotation_folder(tmp_path_factory.mktemp("remote") / "source")
    for i in range(12):
        folder.shape(f"shape{i:02d}", 6 + i)
    folder.points("bare", "0 0 0\n1 1 1\n")
    return str(folder.root)


@pytest.fixture(scope="module")
def local(source, tmp_path_factory):
    """Content by name of conversions to a disk: with SETTINGS, and with OTHER."""
    folder = tmp_path_factory.mktemp("local")
    found = []
    for name, settings in (("data", SETTINGS), ("other", OTHER)):
        convert(source, str(folder / name), settings)
        paths = [path for path in (folder / name).rglob("*") if path.is_file()]
        found.append({p.relative_to(folder / name).as_posix(): p.read_bytes() for p in paths})
    assert len(found[0]) > 6
    assert not (found[0].keys() - {"manifest.json"}) & found[1].keys()
    return found


def below(bucket):
    return {
        address.removeprefix(f"{OUT}/"): content
        for address, content in bucket.objects.items()
        if address.startswith(f"{OUT}/")
    }


def assert_complete(bucket):
    """If there is a manifest, every shard that it lists is there."""
    found = below(bucket)
    if "manifest.json" in found:
        for shard in Manifest.from_text(found["manifest.json"]).shards:
            assert hashlib.sha256(found[shard.file]).hexdigest() == shard.sha256


def test_the_same_bytes_as_on_a_disk_and_again_nothing(source, local, bucket):
    manifest = convert(source, OUT + "/", SETTINGS)
    assert below(bucket) == local[0]
    assert len(bucket.objects) == len(local[0])
    assert manifest == Manifest.from_text(local[0]["manifest.json"])
    bucket.restart()
    assert convert(source, OUT, SETTINGS) == manifest
    assert bucket.changes == []


@pytest.mark.slow
def test_killed_at_any_change(source, local, bucket):
    """Over an old data set. Then the new one is asked for again, or now and then the old one."""
    convert(source, OUT, OTHER)
    old = dict(bucket.objects)
    bucket.restart()
    convert(source, OUT, SETTINGS)
    last = len(bucket.changes)
    # At the least: each old file goes, each new one comes.
    assert last > len(old) + len(local[0])
    seen = set()
    for moment in sorted({*range(1, last + 1, 3), *range(last - 20, last + 1)}):
        bucket.objects = dict(old)
        bucket.restart(kill_at=moment, watch=lambda: assert_complete(bucket))
        with pytest.raises((fake_storage.Killed, UserError)):
            convert(source, OUT, SETTINGS)
        seen.add(below(bucket)["manifest.json"])
        settings, expected = (OTHER, local[1]) if moment % 7 == 2 else (SETTINGS, local[0])
        bucket.restart(watch=lambda: assert_complete(bucket))
        convert(source, OUT, settings)
        assert below(bucket) == expected, moment
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.txt", b"mine"), ("train/x", b"mine"), ("manifest.json", b'{"audio": []}')],
)
def test_foreign_objects_are_refused(source, bucket, name, content):
    bucket.objects = {f"{OUT}/{name}": content, f"{OUT}/train/y": b"mine"}
    before = dict(bucket.objects)
    with pytest.raises(UserError) as error:
        convert(source, OUT, SETTINGS)
    assert error.value.code == "not_ours"
    assert OUT in error.value.file
    assert (bucket.objects, bucket.changes) == (before, [])


def test_neighbours_and_foreign_objects_beside_ours_stay(source, local, bucket):
    convert(source, OUT, SETTINGS)
    root = OUT.rpartition("/")[0]
    foreign = {
        f"{OUT}2/train/x": b"mine",
        f"{root}/notes": b"mine",
        f"{OUT}/": b"",
        f"{OUT}/train/x": b"mine",
    }
    bucket.objects.update(foreign)
    convert(source, OUT, OTHER)
    assert bucket.objects == {**foreign, **{f"{OUT}/{n}": c for n, c in local[1].items()}}


@pytest.mark.parametrize(
    "output",
    [
        "fake-storage://bucket",
        "fake-storage://bucket/data[1]",
        "no-such-storage://bucket/data",
        "hdfs://host/data",
    ],
)
def test_an_address_that_cannot_be_written(source, bucket, output):
    with pytest.raises(UserError) as error:
        convert(source, output, SETTINGS)
    assert (error.value.code, error.value.file) == ("bad_address", output)


def test_a_bucket_is_checked_before_beam_tries_for_minutes(source, monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(UserError) as error:
        convert(source, "gs://bucket/data", SETTINGS)
    assert error.value.code == "bad_address"
    assert "none.json" in error.value.message


def test_options_reach_the_file_system_from_the_first_look(source, bucket, monkeypatch):
    from apache_beam.io.filesystems import FileSystems

    seen = []
    real = fake_storage.FakeStorage.exists

    def looked(self, path):
        seen.append(FileSystems._pipeline_options.get_all_options(drop_default=True))
        return real(self, path)

    monkeypatch.setattr(fake_storage.FakeStorage, "exists", looked)
    convert(source, OUT, SETTINGS, ["--s3_endpoint_url=http://storage.example"])
    assert seen[0]["s3_endpoint_url"] == "http://storage.example"


def test_an_error_of_the_storage_is_a_clear_error(source, bucket, monkeypatch):
    def refused(self, path, *_, **__):
        raise RuntimeError("403 no rights")

    monkeypatch.setattr(fake_storage.FakeStorage, "create", refused)
    with pytest.raises(UserError) as error:
        convert(source, OUT, SETTINGS)
    assert (error.value.code, error.value.file) == ("cannot_write", OUT)
    assert "403 no rights" in error.value.message
