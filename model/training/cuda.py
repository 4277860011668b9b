"""Makes TensorFlow find the CUDA libraries of pip's nvidia-* packages.

TensorFlow 2.16 looks for them on the dynamic loader's path alone. A library that is already loaded
is found by its name, however the program was started.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
from pathlib import Path


def load_cuda_libraries(driver: str = "libcuda.so.1") -> None:
    """Loads them all if there is a driver; to be called before TensorFlow looks for GPUs."""
    packages = importlib.util.find_spec("nvidia")
    if packages is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "-1":
        return
    with contextlib.suppress(OSError):
        ctypes.CDLL(driver)
        folders = map(Path, packages.submodule_search_locations or ())
        libraries = [str(path) for folder in folders for path in folder.glob("*/lib/*.so*")]
        # Libraries need each other: every pass loads those whose needs are met.
        for library in libraries * 4:
            with contextlib.suppress(OSError):
                ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
