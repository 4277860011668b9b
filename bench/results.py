"""bench/out/results.json: each measurement's value, unit, baseline, command and machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "out" / "results.json"


@dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
      name: what it is called in results.json.
      value: the number; None where it cannot be measured here.
      unit: its unit; "ratio" for a pure number.
      baseline: what it was measured against, in the same run, or what it means.
      command: what measures it again.
    """

    name: str
    value: float | None
    unit: str
    baseline: str
    command: str


def machine() -> str:
    """The machine's size, in words."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [x for x in information.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {cpu}, {memory:.0f} GiB"


def record(measurements: Sequence[Measurement]) -> None:
    """Prints measurements and puts them into results.json, in place of older ones."""
    table = Table("name", "value", "unit", "against", title=machine())
    for measurement in measurements:
        value = "-" if measurement.value is None else f"{measurement.value:.4g}"
        table.add_row(measurement.name, value, measurement.unit, measurement.baseline)
    Console(width=120).print(table)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for measurement in measurements:
        values = asdict(measurement)
        results[values.pop("name")] = values | {"machine": machine()}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
