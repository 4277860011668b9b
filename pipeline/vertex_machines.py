"""Which GPUs Google has in which of its machines: Vertex AI says no only when the job starts.

The source is Google's "Configure compute resources for custom training". A kind of machine that is
not in the table, such as one of the years to come, is left to Vertex AI.
"""

from __future__ import annotations

import re

from schema.errors import UserError

# GPUs that are in the machine whether one asks for them or not, by how the machine's name begins.
_BUILT_IN = {
    "g2-standard": "NVIDIA_L4",
    "a2-highgpu": "NVIDIA_TESLA_A100",
    "a2-megagpu": "NVIDIA_TESLA_A100",
    "a2-ultragpu": "NVIDIA_A100_80GB",
    "a3-highgpu": "NVIDIA_H100_80GB",
    "a3-megagpu": "NVIDIA_H100_MEGA_80GB",
    "a3-ultragpu": "NVIDIA_H200_141GB",
}
# GPUs that are put into a machine of N1: how many at most, and how many cores one of them serves.
_FOR_N1 = {
    "NVIDIA_TESLA_T4": (4, 16),
    "NVIDIA_TESLA_P4": (4, 16),
    "NVIDIA_TESLA_P100": (4, 16),
    "NVIDIA_TESLA_V100": (8, 8),
}
# Newer than what the image's TensorFlow 2.21 is built for; see model/devices.py.
_TOO_NEW = ("NVIDIA_B200", "NVIDIA_GB200", "NVIDIA_RTX_PRO_6000")
# Cores of a G2 with more than one GPU.
_SEVERAL_L4 = {24: 2, 48: 4, 96: 8}
_COUNTS = (1, 2, 4, 8, 16)


def check_count(key: str, kind: str, count: int) -> None:
    """Looks whether some machine has so many of a GPU.

    Args:
      key: of the config, where the count is found.
      kind: Vertex AI's name of the GPU.
      count: how many of them.

    Raises:
      UserError: no machine has, or the image's TensorFlow cannot use the GPU.
    """
    most = _FOR_N1[kind][0] if kind in _FOR_N1 else max(_COUNTS)
    counts = [known for known in _COUNTS if known <= most]
    _check_known(key.removesuffix("s"), kind)
    _check_count(key, kind, count, counts, "a machine has")


def check_machine(section: str, machine: str, kind: str | None, count: int) -> None:
    """Looks whether a machine has these GPUs.

    Args:
      section: of the config, such as "vertex.training"; its keys are machine, accelerator and
        accelerators.
      machine: type of machine, such as "n1-standard-16".
      kind: Vertex AI's name of the GPU; None: without.
      count: how many of them.

    Raises:
      UserError: it has others, or another number, and which; or the image's TensorFlow cannot use
        the GPU.
    """
    family, cores = machine.rpartition("-")[0], int(re.findall(r"\d+", machine)[-1])
    built_in = _BUILT_IN.get(family)
    if built_in and kind != built_in:
        raise UserError(
            "bad_config",
            f"{section}.machine is {machine}, which has {built_in}, and {section}.accelerator is "
            f"{kind or 'null'}: give the machine's own, or another machine",
        )
    if kind is None:
        return
    _check_known(f"{section}.accelerator", kind)
    if built_in:
        counts = [_SEVERAL_L4.get(cores, 1) if family == "g2-standard" else cores]
    elif machine.startswith("n1-") and kind in _FOR_N1:
        most, cores_of_one = _FOR_N1[kind]
        least = min(-(-cores // cores_of_one), most)
        counts = [known for known in _COUNTS if least <= known <= most]
    elif kind in _FOR_N1 or kind in _BUILT_IN.values():
        fitting = [name for name, own in _BUILT_IN.items() if own == kind] or ["n1-standard"]
        raise UserError(
            "bad_config",
            f"{section}.machine is {machine}, which has no {kind} ({section}.accelerator); those "
            f"with it are called {' or '.join(f'{name}-...' for name in fitting)}",
        )
    else:
        return
    _check_count(f"{section}.accelerators", kind, count, counts, f"{machine} has")


def _check_known(key: str, kind: str) -> None:
    if kind in _TOO_NEW:
        raise UserError(
            "bad_config",
            f"{key}: found {kind}, which is newer than the image's TensorFlow knows: take one of "
            "the generations Volta to Hopper, such as NVIDIA_L4 or NVIDIA_H100_80GB",
        )


def _check_count(key: str, kind: str, count: int, counts: list[int], who: str) -> None:
    if count not in counts:
        raise UserError(
            "bad_config",
            f"{key}: found {count}; {who} {', '.join(map(str, counts))} of {kind}: give "
            f"{'that' if len(counts) == 1 else 'one of these'}, or more machines for more of them",
        )
