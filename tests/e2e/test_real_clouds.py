"""Whole runs on real labelled clouds, where the machine has some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, Runs

FOLDER = Path(os.environ.get("POINTNET_REAL_DATA", "")) / "PartAnnotation"

pytestmark = pytest.mark.skipif(
    "POINTNET_REAL_DATA" not in os.environ or not FOLDER.is_dir(),
    reason="POINTNET_REAL_DATA names no folder with PartAnnotation in it",
)


@pytest.mark.parametrize("category", ["Airplane", "all"])
def test_a_run_on_real_clouds_ends_with_a_pushed_model(tmp_path, category):
    runs = Runs(tmp_path)
    config = TINY + "data: {split: {train: 0.6, val: 0.15, test: 0.25}}\n"
    status, screen = runs.run(config, data=str(FOLDER), category=category)
    assert status == 0, screen
    assert len(runs.versions()) == 1
    assert ("Glasses lens" if category == "all" else "engine") in screen
