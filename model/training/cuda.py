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
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "-1":
        return
    packages = importlib.util.find_spec("nvidia")
    if packages is None:
        return
    try:
        ctypes.CDLL(driver)
    except OSError:
        return
    folders = packages.submodule_search_locations or ()
    waiting = [str(path) for folder in folders for path in Path(folder).glob("*/lib/*.so*")]
    # One needs another: those that cannot be loaded yet are tried again.
    while waiting:
        missing = []
        for path in waiting:
            with contextlib.suppress(OSError):
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
                continue
            missing.append(path)
        if len(missing) == len(waiting):
            return
        waiting = missing
