"""The wheel: what is in it, and what is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib import metadata

import pytest

from requirements.environment import ROOT

PACKAGES = {"schema", "preprocessing", "model", "reports", "serving", "components", "pipeline"}


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
        return archive.namelist()


def test_the_wheel_holds_the_rooms_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_every_module_and_every_data_file_of_the_rooms_is_in_the_wheel(wheel):
    kinds = {".py", ".pbtxt", ".yaml", ".html", ".css", ".js"}
    files = {file for room in PACKAGES for file in (ROOT / room).rglob("*") if file.suffix in kinds}
    assert files
    assert {file.relative_to(ROOT).as_posix() for file in files} - set(wheel) == set()


def test_setup_offers_the_command():
    # Read where it is installed: it is the same setup.py, and what a user's shell will find.
    (entry,) = metadata.entry_points(group="console_scripts", name="pointnet-parts")
    assert entry.value == "pipeline.cli:main"
