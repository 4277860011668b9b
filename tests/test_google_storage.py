"""The double of Google's storage, asked by the real clients."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.google_storage import WITHOUT_A_KEY, google_storage

DRIVER = Path(__file__).with_name("storage_driver.py")


@pytest.fixture(params=["key", "metadata_server"])
def drive(request, tmp_path):
    """Runs a part of the driver, which finds its account in either way."""
    with google_storage(tmp_path, "here") as (storage, environment):
        account = WITHOUT_A_KEY if request.param == "metadata_server" else {}

        def run(part):
            done = subprocess.run(
                [sys.executable, DRIVER, part],
                env={**os.environ, **environment, **account},
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"{done.stderr[-3000:]}\n{storage.refused}"
            return storage

        yield run


@pytest.mark.slow
def test_tensorflow_finds_a_file_system(drive):
    storage = drive("tensorflow")
    assert storage.refused == []
    assert storage.names("here") == ["root/"]
    assert {"upload_part", "rewrite", "delete", "list", "media"} <= set(storage.calls)


@pytest.mark.slow
def test_beam_finds_a_file_system(drive):
    storage = drive("beam")
    assert storage.refused == []
    assert storage.names("here") == []
    assert {"upload_part", "batch", "copy", "delete", "list", "media"} <= set(storage.calls)


def test_google_finds_a_bucket_and_what_is_not_doubled_is_kept(drive):
    storage = drive("google")
    double_slash, folder, bucket = storage.refused
    assert "for the name 'root//b'" in double_slash
    assert "'root/a/b', which is an object and others' folder" in folder
    assert "POST https://storage.googleapis.com/storage/v1/b?" in bucket


def test_nobody_is_answered_without_a_token(tmp_path):
    with google_storage(tmp_path, "here") as (storage, _):
        answer = storage.answer("GET", "/storage/v1/b/here/o", {}, b"", "storage.googleapis.com")
    assert answer.status == 401
    assert "without the token" in storage.refused[0]
