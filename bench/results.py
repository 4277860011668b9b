"""bench/out/results.json, and what every program needs: options, medians, memory, processes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "out" / "results.json"
# Name, value, unit, and what the value is measured against.
Measurement = tuple[str, float, str, str]


def options(description: str, **defaults: Any) -> argparse.Namespace:
    """The command line's options, by their defaults; of a tuple's values it names some."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for name, default in defaults.items():
        if isinstance(default, tuple):
            parser.add_argument(f"--{name}", nargs="+", choices=default, default=default)
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def machine() -> str:
    """Cores, processor and memory of this machine, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {cpu}, {memory:.0f} GiB"


def record(*measurements: Measurement) -> None:
    """Prints measurements and writes them to results.json, with machine and command."""
    table = Table("name", "value", "unit", "against", title=machine())
    for name, value, unit, baseline in measurements:
        table.add_row(name, f"{value:.4g}", unit, baseline)
    Console(width=120).print(table)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    command = shlex.join(["python", "-m", _program(), *sys.argv[1:]])
    for name, value, unit, baseline in measurements:
        values = {"value": value, "unit": unit, "baseline": baseline}
        results[name] = values | {"machine": machine(), "command": command}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")


def _program() -> str:
    """Name of the running program's module."""
    return sys.modules["__main__"].__spec__.name  # type: ignore[union-attr]


def peak_memory() -> float:
    """Largest resident set of this process so far, in MiB."""
    # getrusage would include what the parent had used before it started this process.
    status = Path("/proc/self/status").read_text().splitlines()
    return float(next(x for x in status if x.startswith("VmHWM")).split()[1]) / 1024


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a module's function returns in a new process; arguments and result travel as JSON."""
    module = _program() if function.__module__ == "__main__" else function.__module__
    name = function.__name__
    code = (
        f"import json, sys; from {module} import {name}; "
        f"print(json.dumps({name}(*json.loads(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def alternate(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each call; the calls take turns, after two turns of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if repeat >= 2:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
