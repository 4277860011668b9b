"""The wheel: what is in it, and what is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile

import pytest

from requirements.environment import ROOT

ROOMS = {"schema", "preprocessing", "model", "components", "pipeline", "serving"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names of the files in a wheel that is built from a copy, without a network."""
    copy = tmp_path_factory.mktemp("copy") / "source"
    ignored = shutil.ignore_patterns(".*", "out", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored)
    words = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "wheels"]
    pip = [sys.executable, "-m", "pip", *words, "."]
    built = subprocess.run(pip, cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = (copy / "wheels").glob("pointnet_parts-*.whl")
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_rooms_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == ROOMS


def test_every_module_and_every_data_file_of_the_rooms_is_in_the_wheel(wheel):
    kinds = {".py", ".pbtxt", ".yaml", ".html", ".css", ".js"}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*"):
            if file.suffix in kinds:
                assert file.relative_to(ROOT).as_posix() in wheel


def test_the_wheel_offers_the_command(wheel):
    (entries,) = (text for name, text in wheel.items() if name.endswith("entry_points.txt"))
    assert "pointnet-parts = pipeline.cli:main" in entries.decode()
