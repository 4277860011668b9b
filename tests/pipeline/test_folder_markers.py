"""Objects that stand for folders, in a double of Google's storage that clients take for it."""

import os
import subprocess
import sys

import pytest
from google.api_core.exceptions import NotFound

from pipeline.folder_markers import remove_folder_markers
from tests.google_storage import google_storage
from tests.spec.kubeflow_launcher import DownloadFailed, download

STEP = "root/run/SchemaGen"
# What a step of TFX does: fileio.makedirs, and then a file.
WRITE = f"""
import tensorflow as tf
tf.io.gfile.makedirs("gs://executed/{STEP}/schema")
with tf.io.gfile.GFile("gs://executed/{STEP}/schema/schema.pbtxt", "w") as file:
    file.write("feature {{}}")
"""


@pytest.fixture
def storage(tmp_path, monkeypatch):
    with google_storage(tmp_path, "executed") as (double, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield double


def test_those_below_the_folders_go_and_nothing_else_does(storage):
    others = ["model_run/", "model_run/events", "model/Format-Serving/saved_model.pb", "unnamed/"]
    for name in ["model/", "model/Format-Serving/", *others]:
        storage.write("executed", f"run/Trainer/{name}", b"" if name.endswith("/") else b"x")
    storage.write("executed", "run/Trainer/", b"")
    folders = ["gs://executed/run/Trainer/model", "gs://executed/run/Trainer/nothing"]
    assert remove_folder_markers(folders) == 2
    kept = sorted(f"run/Trainer/{name}" for name in ["", *others])
    assert storage.names("executed") == kept


def test_of_many_objects_none_is_missed(storage):
    for number in range(1_100):  # a listing has pages of 1,000
        storage.write("executed", f"run/model/{number:04}/", b"")
    assert remove_folder_markers(["gs://executed/run/model/"]) == 1_100


def test_a_folder_of_this_machine_is_left_alone_and_nobody_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    assert remove_folder_markers([str(tmp_path)]) == 0
    assert tmp_path.is_dir()


def test_a_bucket_that_is_not_there_is_an_error(storage):
    with pytest.raises(NotFound):
        remove_folder_markers(["gs://elsewhere/run/model"])


@pytest.mark.slow
def test_tensorflow_makes_them_and_kubeflows_launcher_trips_over_them(storage, tmp_path):
    subprocess.run([sys.executable, "-c", WRITE], env=dict(os.environ), check=True)
    schema = f"gs://executed/{STEP}/schema"
    assert f"{STEP}/schema/" in storage.names("executed")
    with pytest.raises(DownloadFailed, match=r"schema/schema.pbtxt: .*(exists|Not a directory)"):
        download(storage, schema, tmp_path / "before")
    assert remove_folder_markers([schema]) == 1
    assert download(storage, schema, tmp_path / "after") == len("feature {}")
    copied = tmp_path / "after" / "gcs" / "executed" / STEP / "schema" / "schema.pbtxt"
    assert copied.read_text() == "feature {}"
