"""Runs after files of earlier runs were removed, or OUT was renamed."""

from __future__ import annotations

import shutil

from components.evaluator.verdict import read_verdict
from tests.e2e.conftest import TINY, Runs

OTHER = TINY.replace("epochs: 2", "epochs: 3")
THIRD = TINY.replace("epochs: 2", "epochs: 4")


def verdict(runs):
    """The newest run's verdict."""
    folder = runs.out / "pipeline" / "artifacts" / "Evaluator" / "evaluation"
    newest = max(folder.iterdir(), key=lambda path: int(path.name))
    return read_verdict(str(newest))


def drops(runs):
    return {row.state for row in verdict(runs).bounds if row.kind == "largest_drop"}


def test_a_lost_baseline_is_replaced_by_the_pushed_copy_or_stops_the_run(tmp_path):
    runs = Runs(tmp_path)
    status, screen = runs.run(TINY)
    assert status == 0 and drops(runs) == {"not applicable"}, screen
    (version,) = runs.versions()
    # A cached run puts a removed version back.
    shutil.rmtree(runs.out / "serving_model")
    status, screen = runs.run(TINY)
    assert status == 0 and runs.versions() == [version], screen

    out, runs.out = runs.out, tmp_path / "renamed"
    out.rename(runs.out)
    shutil.rmtree(runs.out / "pipeline" / "artifacts" / "Trainer")
    status, screen = runs.run(OTHER)
    assert status == 0 and drops(runs) == {"met"}, screen
    assert len(runs.versions()) == 2

    for folder in ("Trainer", "PushedModel"):
        shutil.rmtree(runs.out / "pipeline" / "artifacts" / folder)
    shutil.rmtree(runs.out / "serving_model")
    status, screen = runs.run(THIRD)
    assert status == 3 and "Stopped in Evaluator" in screen and not runs.versions()
