"""Data in another unit: drift is named on the page and on the screen, and stops a run if asked."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.e2e.conftest import TINY, Runs


def in_another_unit(shapes: Path, target: Path) -> None:
    """Copies shapes, all coordinates a hundred times as large."""
    shutil.copytree(shapes, target)
    for path in target.rglob("*.pts"):
        points = [[100 * float(value) for value in line.split()] for line in path.open()]
        path.write_text("".join(" ".join(map(str, point)) + "\n" for point in points))


def test_drift_stops_the_run_if_asked_and_goes_on_doing_so(first_run, tmp_path):
    before, _, screen = first_run
    assert "The data is unusual" not in screen
    assert "Nothing unusual" in (before.out / "data_report.html").read_text()
    runs = Runs(tmp_path)
    shutil.copytree(before.out, runs.out)
    in_another_unit(before.out / "demo_shapes", tmp_path / "shapes")
    config = TINY + "validation: {drift: {action: stop}}\n"
    drift = r"drift of train .*the last run, feature points: .* 0\.1"

    status, screen = runs.run(config, data=str(tmp_path / "shapes"))
    assert status == 3, screen
    assert re.search(rf"Stopped in CloudValidator: the data has shifted.*{drift}", screen, re.S)
    page = runs.out / "data_report.html"
    assert re.search(drift, page.read_text())
    assert f"What the data holds: {page}" in screen

    # The repeated run is held against the data before, not against the data that it stopped at.
    executed = runs.executions()
    status, screen = runs.run(config, data=str(tmp_path / "shapes"))
    assert status == 3, screen
    new = runs.executions() - executed
    assert new["DriftValidator", "CACHED"] == new["DataReport", "CACHED"] == 1
    assert new["CloudValidator", "FAILED"] == 1
