"""Raw shapes to TFRecords, against the published example's loading loop.

    python -m bench.conversion [--shapes 2000] [--large 20000] [--rounds 5]

Made-up airplanes of 2,500 to 2,700 points, one core each, files in the page cache, imports not
counted. The example's loop takes a share of the shapes in each round, in turn with a whole
conversion, and the medians of the times a shape are compared. Then a conversion of ten times the
shapes (copies under other names) in its own process, for the cost a shape and the memory.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from pathlib import Path

from bench.results import alternate, in_process, options, peak_memory, record

CATEGORY = "Airplane"
POINTS = (2500, 2700)
COUNT = 1024


def main() -> None:
    """Measures, prints and records."""
    from preprocessing.datasets.demo import make_demo_shapes

    arguments = options(__doc__, shapes=2000, large=20_000, rounds=5)
    shapes, large = arguments.shapes, arguments.large
    # One core for everything here, and for the processes started from here.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = make_demo_shapes(folder / "shapes", shapes, [CATEGORY], points=POINTS)
        ours, theirs = compare(source, arguments.rounds)
        copies = copy_shapes(source, folder / "many", -(-large // shapes))
        seconds, memory = in_process(convert_alone, str(source), str(folder / "small"))
        large_seconds, large_memory = in_process(convert_alone, str(copies), str(folder / "large"))
    loop = "the example's loading loop, one core each, imports not counted"
    sizes = f"at {large:,} shapes (ShapeNet's part annotations: 16,881)"
    small = f"conversion of {shapes:,} shapes in its own process"
    growth = (large_seconds / large) / (seconds / shapes)
    record(
        ("convert_speedup", theirs / ours, "ratio", loop),
        ("convert_large_speedup", theirs / (large_seconds / large), "ratio", f"{loop}, {sizes}"),
        ("convert_shapes_per_second", 1 / ours, "shapes/s", "conversion"),
        ("example_load_shapes_per_second", 1 / theirs, "shapes/s", loop),
        ("convert_scaling", growth, "ratio", f"time a shape {sizes}, against {small}"),
        ("convert_peak_mib", memory, "MiB", small),
        ("convert_peak_memory_ratio", large_memory / memory, "ratio", f"{sizes}, against {small}"),
    )


def compare(source: Path, rounds: int) -> tuple[float, float]:
    """Median seconds a shape of our conversion and of the example's loop, in turn."""
    from bench.keras_example import load
    from preprocessing.conversion.convert import convert
    from preprocessing.datasets.demo import DEMO_CATEGORIES
    from preprocessing.settings import DataSettings

    folder, names = shape_names(source)
    shares = [names[turn::10] for turn in range(10)]
    turns = itertools.cycle(shares)
    parts, settings = DEMO_CATEGORIES[CATEGORY].parts, DataSettings(category=CATEGORY)
    with tempfile.TemporaryDirectory() as output:
        calls = {
            "ours": lambda: convert(str(source), tempfile.mkdtemp(dir=output), settings),
            "theirs": lambda: load(folder, parts, next(turns), COUNT),
        }
        seconds = alternate(calls, rounds)
    return seconds["ours"] / len(names), seconds["theirs"] / (len(names) / len(shares))


def shape_names(source: Path) -> tuple[Path, list[str]]:
    """The folder of the made-up category, and its shapes."""
    folder = next(source.glob("made_up_*"))
    return folder, sorted(path.stem for path in (folder / "points").glob("*.pts"))


def copy_shapes(source: Path, target: Path, times: int) -> Path:
    """The same shapes `times` times, under other names."""
    shutil.copytree(source, target)
    for path in [path for path in target.rglob("*") if path.suffix in (".pts", ".seg")]:
        for copy in range(1, times):
            shutil.copy(path, path.with_name(f"copy_{copy}_{path.name}"))
    return target


def convert_alone(source: str, output: str) -> tuple[float, float]:
    """Seconds of a conversion, imports not counted, and this process's peak memory in MiB."""
    import apache_beam  # noqa: F401

    from preprocessing.conversion.convert import convert
    from preprocessing.settings import DataSettings

    start = time.perf_counter()
    convert(source, output, DataSettings(category=CATEGORY))
    return time.perf_counter() - start, peak_memory()


if __name__ == "__main__":
    main()
