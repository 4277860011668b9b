"""Versions that Pusher writes: growing numbers, complete at once, kept to a number."""

import os
from pathlib import Path

from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import json_utils, proto_utils

from components import pusher
from serving import versions


def push(folder, blessed=1, keep=None, graph="graph"):
    """Runs the executor; returns the artifact that says what was pushed."""
    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    model.uri, blessing.uri = str(folder / "model"), str(folder / "blessing")
    (folder / "model" / "Format-Serving" / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "Format-Serving" / "saved_model.pb").write_text(graph)
    (folder / "model" / "Format-Serving" / "assets" / "parts.json").write_text("{}")
    blessing.set_int_custom_property("blessed", blessed)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "serving"))
    )
    pusher.Executor().Do(
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {
            "push_destination": proto_utils.proto_to_json(destination),
            "custom_config": json_utils.dumps({"keep_versions": keep}),
        },
    )
    return pushed


def test_versions_pushed_within_one_second_grow_and_old_ones_go(tmp_path, monkeypatch):
    monkeypatch.setattr(versions.time, "time", lambda: 1000.9)
    (tmp_path / "serving" / ".partial-7").mkdir(parents=True)  # of a push that was cut off
    pushed = [push(tmp_path, keep=2, graph=graph) for graph in "1233"]
    targets = [Path(one.get_string_custom_property("pushed_destination")) for one in pushed]
    # The last one is served already.
    assert [path.name for path in targets] == ["1000", "1001", "1002", "1002"]
    assert sorted(os.listdir(tmp_path / "serving")) == ["1001", "1002"]
    assert (targets[-1] / "assets" / "parts.json").exists()


def test_a_model_without_a_blessing_is_not_pushed(tmp_path):
    assert push(tmp_path, blessed=0).get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def test_a_version_appears_with_all_its_files(tmp_path, monkeypatch):
    renamed = []
    rename = os.rename

    def watched(source, target):
        renamed.append((versions.versions(str(tmp_path / "serving")), sorted(os.listdir(source))))
        rename(source, target)

    monkeypatch.setattr(pusher.os, "rename", watched)
    push(tmp_path)
    assert renamed == [([], ["assets", "saved_model.pb"])]
