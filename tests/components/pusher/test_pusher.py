"""Versions grow, appear whole, are kept to a number, and can be taken back."""

import os
from pathlib import Path

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import json_utils, proto_utils

from components.pusher import executor, versions
from components.pusher.executor import Executor
from components.pusher.versions import NoVersionError, next_version, remove_old, withdraw


def made(base, *names):
    for name in names:
        (base / str(name)).mkdir(parents=True)
        (base / str(name) / "saved_model.pb").write_text(str(name))
    return str(base)


def push(folder, blessed=1, keep=None):
    """Runs the component; returns the artifact that says what was pushed."""
    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    model.uri, blessing.uri = str(folder / "model"), str(folder / "blessing")
    (folder / "model" / "Format-Serving" / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "Format-Serving" / "saved_model.pb").write_text("graph")
    (folder / "model" / "Format-Serving" / "assets" / "parts.json").write_text("{}")
    blessing.set_int_custom_property("blessed", blessed)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "serving"))
    )
    Executor().Do(
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {
            "push_destination": proto_utils.proto_to_json(destination),
            "custom_config": json_utils.dumps({"keep_versions": keep}),
        },
    )
    return pushed


def test_versions_pushed_within_one_second_still_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(versions.time, "time", lambda: 1000.9)
    destinations = [push(tmp_path).get_string_custom_property("pushed_destination") for _ in "123"]
    assert [Path(path).name for path in destinations] == ["1000", "1001", "1002"]
    assert all((Path(path) / "assets" / "parts.json").exists() for path in destinations)


def test_what_is_not_blessed_is_not_pushed(tmp_path):
    pushed = push(tmp_path, blessed=0)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def test_a_version_appears_whole(tmp_path, monkeypatch):
    """At the moment that the number appears, every file is in it; half a copy has no number."""
    seen = []
    rename = os.rename

    def watched(source, target):
        seen.append((versions.versions(str(tmp_path / "serving")), sorted(os.listdir(source))))
        rename(source, target)

    monkeypatch.setattr(executor.os, "rename", watched)
    push(tmp_path)
    assert seen == [([], ["assets", "saved_model.pb"])]


def test_what_a_cut_off_push_left_is_removed(tmp_path):
    (tmp_path / "serving" / ".partial-7").mkdir(parents=True)
    assert versions.versions(str(tmp_path / "serving")) == []
    push(tmp_path)
    assert len(os.listdir(tmp_path / "serving")) == 1


def test_old_versions_are_kept_to_a_number_and_nothing_else_is_touched(tmp_path):
    base = made(tmp_path / "serving", 3, 10, 200, "notes")
    (tmp_path / "serving" / "1").mkdir()  # no SavedModel: somebody's own
    push(tmp_path, keep=2)
    left = sorted(os.listdir(base))
    assert {"1", "200", "notes"} < set(left) and len(left) == 4
    assert remove_old(base, 5) == []


def test_a_version_is_taken_back_and_its_number_is_not_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(versions.time, "time", lambda: 5.0)
    base = made(tmp_path / "serving", 8, 9)
    assert withdraw(base) == (9, 8)
    assert (tmp_path / "serving" / "withdrawn-9" / "saved_model.pb").read_text() == "9"
    assert versions.versions(base) == [8]
    assert next_version(base) == 10
    with pytest.raises(NoVersionError, match="8 is the only version"):
        withdraw(base)
    with pytest.raises(NoVersionError, match=r"no version 7 to take back; found 8\. Give"):
        withdraw(base, 7)
    with pytest.raises(NoVersionError, match="nowhere: there is no numbered version of a model in"):
        withdraw(str(tmp_path / "nowhere"))


def test_what_cannot_be_renamed_is_said_and_goes_on_serving(tmp_path, monkeypatch):
    with pytest.raises(NoVersionError, match="nothing can be renamed in a bucket"):
        withdraw("gs://a-bucket/serving_model/pointnet_parts")
    base = made(tmp_path / "serving", 8, 9)
    (tmp_path / "serving" / "withdrawn-9").mkdir()
    (tmp_path / "serving" / "withdrawn-9" / "something").touch()
    with pytest.raises(NoVersionError, match=r"renamed to withdrawn-9 \(Directory not empty"):
        withdraw(base)
    assert versions.versions(base) == [8, 9]
