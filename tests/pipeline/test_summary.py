"""The last lines of a run."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from tfx.types import standard_artifacts

from components.data_report import FINDINGS_FILE
from pipeline.summary import (
    data_report_of_last_run,
    print_data_findings,
    print_trials,
    pushed_version,
)


def printed(folder, **findings) -> str:
    (folder / FINDINGS_FILE).write_text(json.dumps(findings))
    screen = Console(file=io.StringIO(), width=200)
    print_data_findings(str(folder), screen)
    return screen.file.getvalue()


def test_what_is_unusual_about_the_data_is_counted_and_said(tmp_path):
    assert printed(tmp_path, anomalies=[], drift=["more [red] points", "x"], skew=[]) == (
        "The data is unusual (anomalies 0, drift 2, skew 0):\n  more [red] points\n  x\n"
    )


def test_nothing_is_said_of_data_as_it_should_be(tmp_path):
    assert printed(tmp_path, anomalies=[], drift=[], skew=[]) == ""


def test_a_store_without_runs_has_no_page(tmp_path):
    assert data_report_of_last_run(tmp_path / "metadata.sqlite", "tiny") is None


def test_the_best_trials_are_shown_and_where_all_of_them_are(tmp_path):
    rows = [{"trial_id": str(i), "score": 0.9 - i / 10, "network.dropout": 0.25} for i in range(7)]
    (tmp_path / "tuner_results.json").write_text(json.dumps(rows))
    screen = Console(file=io.StringIO(), width=300)
    print_trials(str(tmp_path), screen)
    lines = screen.file.getvalue().splitlines()
    assert lines[0].strip() == "The Tuner's trials, the best 5 of 7"
    assert lines[-1] == f"All trials: {tmp_path}/tuner_results.json"
    (scores,) = (line for line in lines if "val instance mIoU" in line)
    assert scores.split("│")[2:-1] and [s.strip() for s in scores.split("│")[2:-1]] == [
        "0.9", "0.8", "0.7", "0.6", "0.5"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "served"),
    [("kept", True), ("removed", True), ("withdrawn", False), ("both gone", False)],
)
def test_a_pushed_version_is_checked_and_put_back_unless_it_was_withdrawn(tmp_path, state, served):
    artifact, version = tmp_path / "artifact", tmp_path / "serving" / "12"
    for folder in (artifact, version):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_text("model")
    if state == "withdrawn":
        version.rename(version.with_name("withdrawn-12"))
    elif state != "kept":
        (version / "saved_model.pb").unlink()
    if state == "both gone":
        (artifact / "saved_model.pb").unlink()
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(artifact)
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_destination", str(version))
    folder, reason = pushed_version(pushed.mlmd_artifact)
    assert folder == (str(version) if served else None)
    assert (version / "saved_model.pb").exists() == served
    assert bool(reason) != served
    if state == "withdrawn":
        assert "withdrawn-12" in reason
