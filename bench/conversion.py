"""Raw shapes to TFRecords, against the published example's loading loop.

    python -m bench.conversion [--shapes 2000] [--large 20000] [--rounds 5]

Made-up airplanes of 2,500 to 2,700 points, one core each, files in the page cache, imports not
counted. The example's loop takes a share of the shapes in each round, in turn with a whole
conversion, and the medians of the times a shape are compared. Then a conversion of ten times the
shapes (copies under other names) in a process of its own, for the cost a shape and the memory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.results import Measurement, record

CATEGORY = "Airplane"
POINTS = (2500, 2700)
COUNT = 1024


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=2000)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--convert", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.convert:
        convert_alone(*arguments.convert)
        return
    # One core for everything here, and for the processes started from here.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.shapes, arguments.large, arguments.rounds)


def measure(folder: Path, shapes: int, large: int, rounds: int) -> None:
    """All measurements, on shapes made in a folder."""
    from preprocessing.datasets.demo import make_demo_shapes

    source = make_demo_shapes(folder / "shapes", shapes, [CATEGORY], points=POINTS)
    ours, theirs = compare(source, folder / "converted", rounds)
    copies = copy_shapes(source, folder / "many", -(-large // shapes))
    small_seconds, small_memory = convert_in_process(source, folder / "small")
    large_seconds, large_memory = convert_in_process(copies, folder / "large")
    command = "python -m bench.conversion"
    loop = "the example's loading loop, one core each, imports not counted"
    per_shape = f"conversion of {shapes:,} shapes in a process of its own"
    record(
        [
            Measurement("convert_speedup", theirs / ours, "ratio", loop, command),
            Measurement(
                "convert_large_speedup",
                theirs / (large_seconds / large),
                "ratio",
                f"the same, converting {large:,} shapes (ShapeNet's part annotations: 16,881)",
                command,
            ),
            Measurement("convert_shapes_per_second", 1 / ours, "shapes/s", "conversion", command),
            Measurement("example_load_shapes_per_second", 1 / theirs, "shapes/s", loop, command),
            Measurement(
                "convert_scaling",
                (large_seconds / large) / (small_seconds / shapes),
                "ratio",
                f"time a shape at {large:,} shapes, against {per_shape}",
                command,
            ),
            Measurement("convert_peak_mib", small_memory, "MiB", per_shape, command),
            Measurement(
                "convert_peak_memory_ratio",
                large_memory / small_memory,
                "ratio",
                f"largest resident set at {large:,} shapes, against {per_shape}",
                command,
            ),
        ]
    )


def compare(source: Path, output: Path, rounds: int) -> tuple[float, float]:
    """Median seconds a shape of our conversion and of the example's loop, in turn."""
    from bench.example_loops import load
    from preprocessing.conversion.convert import convert
    from preprocessing.datasets.demo import DEMO_CATEGORIES
    from preprocessing.settings import DataSettings

    folder = next(source.glob("made_up_*"))
    names = sorted(path.stem for path in (folder / "points").glob("*.pts"))
    parts = DEMO_CATEGORIES[CATEGORY].parts
    settings = DataSettings(category=CATEGORY)
    ours, theirs = [], []
    for turn in range(rounds + 1):
        shutil.rmtree(output, ignore_errors=True)
        start = time.perf_counter()
        convert(str(source), str(output), settings)
        converted = time.perf_counter()
        share = names[turn::10]
        load(folder, parts, share, COUNT)
        # The first turn imports Beam and warms the files; it does not count.
        if turn:
            ours.append((converted - start) / len(names))
            theirs.append((time.perf_counter() - converted) / len(share))
    return statistics.median(ours), statistics.median(theirs)


def copy_shapes(source: Path, target: Path, times: int) -> Path:
    """The same shapes `times` times, under other names."""
    shutil.copytree(source, target)
    for path in [path for path in target.rglob("*") if path.suffix in (".pts", ".seg")]:
        for copy in range(1, times):
            shutil.copy(path, path.with_name(f"copy_{copy}_{path.name}"))
    return target


def convert_in_process(source: Path, output: Path) -> tuple[float, float]:
    """Seconds and MiB of a conversion in a new process; see `convert_alone`."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.conversion", "--convert", str(source), str(output)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    seconds, memory = done.stdout.split()[-2:]
    return float(seconds), float(memory)


def convert_alone(source: str, output: str) -> None:
    """Converts and prints seconds, imports not counted, and the largest resident set in MiB."""
    import apache_beam  # noqa: F401

    from preprocessing.conversion.convert import convert
    from preprocessing.settings import DataSettings

    start = time.perf_counter()
    convert(source, output, DataSettings(category=CATEGORY))
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text().splitlines()
    memory = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(seconds, int(memory) / 1024)


if __name__ == "__main__":
    main()
