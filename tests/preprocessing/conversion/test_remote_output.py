"""Conversion to object storage, on a fake of it."""

import hashlib

import pytest

from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import Manifest
from preprocessing.settings import DataSettings
from schema.errors import UserError
from tests.google_storage import google_storage
from tests.preprocessing.conversion import fake_storage

OUT = "fake-storage://bucket/clouds/data"
SETTINGS = DataSettings(shard_megabytes=0.0005)
OTHER = DataSettings(shard_megabytes=0.0005, seed=1)


@pytest.fixture
def bucket():
    fake_storage.BUCKET.__init__()
    yield fake_storage.BUCKET
    fake_storage.BUCKET.__init__()


@pytest.fixture(scope="module")
def local(twelve, tmp_path_factory):
    """Content by name of conversions to a disk: with SETTINGS, and with OTHER."""
    folder = tmp_path_factory.mktemp("local")
    found = []
    for name, settings in (("data", SETTINGS), ("other", OTHER)):
        convert(twelve, str(folder / name), settings)
        paths = [path for path in (folder / name).rglob("*") if path.is_file()]
        found.append({p.relative_to(folder / name).as_posix(): p.read_bytes() for p in paths})
    assert len(found[0]) > 6
    return found


def below(bucket):
    """Content by name, of a bucket with nothing else."""
    return {address.removeprefix(f"{OUT}/"): content for address, content in bucket.objects.items()}


def assert_complete(bucket):
    """If there is a manifest, every shard that it lists is there."""
    found = below(bucket)
    if "manifest.json" in found:
        for shard in Manifest.from_text(found["manifest.json"]).shards:
            assert hashlib.sha256(found[shard.file]).hexdigest() == shard.sha256


def test_the_same_bytes_as_on_a_disk_and_again_nothing(twelve, local, bucket):
    manifest = convert(twelve, OUT + "/", SETTINGS)
    assert below(bucket) == local[0]
    assert manifest == Manifest.from_text(local[0]["manifest.json"])
    bucket.restart()
    assert convert(twelve, OUT, SETTINGS) == manifest
    assert bucket.changes == []


@pytest.mark.slow
def test_killed_at_any_change(twelve, local, bucket):
    """Over an old data set. Then the new one is asked for again, or now and then the old one."""
    convert(twelve, OUT, OTHER)
    old = dict(bucket.objects)
    bucket.restart()
    convert(twelve, OUT, SETTINGS)
    last = len(bucket.changes)
    seen = set()
    for moment in sorted({*range(1, last + 1, 3), *range(last - 12, last + 1)}):
        bucket.objects = dict(old)
        bucket.restart(kill_at=moment, watch=lambda: assert_complete(bucket))
        with pytest.raises((fake_storage.Killed, UserError)):
            convert(twelve, OUT, SETTINGS)
        seen.add(below(bucket)["manifest.json"])
        settings, expected = (OTHER, local[1]) if moment % 7 == 2 else (SETTINGS, local[0])
        bucket.restart(watch=lambda: assert_complete(bucket))
        convert(twelve, OUT, settings)
        assert below(bucket) == expected, moment
    assert len(seen) == 2


def test_neighbours_and_foreign_objects_beside_ours_stay(twelve, local, bucket):
    convert(twelve, OUT, SETTINGS)
    names = (f"{OUT}2/train/x", f"{OUT}/", f"{OUT}/train/x", OUT.rpartition("/")[0] + "/notes")
    foreign = dict.fromkeys(names, b"mine")
    bucket.objects.update(foreign)
    convert(twelve, OUT, OTHER)
    assert bucket.objects == {**foreign, **{f"{OUT}/{n}": c for n, c in local[1].items()}}


@pytest.mark.parametrize(
    ("output", "fact"),
    [
        ("fake-storage://bucket", "gs://bucket/shapes"),
        ("fake-storage://bucket/data[1]", "* ? ["),
        ("no-such-storage://bucket/data", "no-such-storage"),
        ("hdfs://host/data", "hdfs"),
        ("gs://bucket/data", "none.json"),
    ],
)
def test_an_address_that_cannot_be_written(twelve, bucket, monkeypatch, tmp_path, output, fact):
    """On gs:// one short request finds that out, before Beam would try for minutes."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(UserError) as error:
        convert(twelve, output, SETTINGS)
    assert (error.value.code, error.value.file) == ("bad_address", output)
    assert fact in error.value.message


def test_a_bucket_that_is_missing(twelve, monkeypatch, tmp_path):
    with google_storage(tmp_path, "here") as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError) as error:
            convert(twelve, "gs://elsewhere/data", SETTINGS)
    assert (error.value.code, "404" in error.value.message) == ("bad_address", True)


def test_options_reach_the_file_system_from_the_first_look(twelve, bucket, monkeypatch):
    from apache_beam.io.filesystems import FileSystems

    seen = []
    real = fake_storage.FakeStorage.exists

    def looked(self, path):
        seen.append(FileSystems._pipeline_options.get_all_options(drop_default=True))
        return real(self, path)

    monkeypatch.setattr(fake_storage.FakeStorage, "exists", looked)
    convert(twelve, OUT, SETTINGS, ["--s3_endpoint_url=http://storage.example"])
    assert seen[0]["s3_endpoint_url"] == "http://storage.example"


def test_an_error_of_the_storage_is_a_clear_error(twelve, bucket, monkeypatch):
    def refused(self, path, *_, **__):
        raise RuntimeError("403 no rights")

    monkeypatch.setattr(fake_storage.FakeStorage, "create", refused)
    with pytest.raises(UserError) as error:
        convert(twelve, OUT, SETTINGS)
    assert (error.value.code, error.value.file) == ("cannot_write", OUT)
    assert "403 no rights" in error.value.message
