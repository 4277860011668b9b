"""CUDA libraries in their wheels' folders are found by name, without LD_LIBRARY_PATH."""

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from model.training.cuda import load_cuda_libraries

PROGRAM = """
import ctypes, sys
from model.training.cuda import load_cuda_libraries
load_cuda_libraries(sys.argv[1])
try:
    ctypes.CDLL(sys.argv[2])
    print("loaded")
except OSError:
    print("missing")
"""


@pytest.mark.parametrize(
    ("driver", "visible", "expected"),
    [
        ("libc.so.6", "0", "loaded"),
        ("libc.so.6", "-1", "missing"),
        ("libno_driver.so.1", "0", "missing"),
    ],
)
def test_a_library_of_an_nvidia_package_is_found_by_its_name(tmp_path, driver, visible, expected):
    """NumPy's own libgfortran stands in: it is in a wheel's folder and needs another one there."""
    folder = tmp_path / "nvidia" / "some_library" / "lib"
    folder.mkdir(parents=True)
    (library,) = Path(numpy.__file__).parents[1].glob("numpy.libs/libgfortran*.so*")
    for path in library.parent.glob("*.so*"):
        shutil.copy(path, folder)
    environment = {
        "PATH": os.environ["PATH"],
        "CUDA_VISIBLE_DEVICES": visible,
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, driver, library.name],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
    assert ctypes.util.find_library(library.name) is None


def test_without_nvidia_packages_nothing_happens():
    load_cuda_libraries("libc.so.6")
