"""What conversion and each Beam component costs: clouds a core-second, and bytes a cloud.

    python -m bench.components [--shapes 400] [--large 2400]

Each runs with the direct runner in this process; what is counted is the processor time of all its
threads. From two sizes follows what a cloud costs without what every run costs; plan.py reckons
with it.
"""

from __future__ import annotations

import argparse
import logging
import re
import tempfile
import time
from pathlib import Path

from absl import logging as absl_logging
from tfx import v1 as tfx
from tfx.orchestration.pipeline import RunOptions

from bench.results import Measurement, record
from pipeline.beam_settings import CONVERSION, beam_args
from pipeline.config import PipelineConfig, load_config
from pipeline.graph import Places, create_pipeline
from preprocessing.conversion.convert import convert
from preprocessing.datasets.demo import make_demo_shapes

POINTS = (2500, 2700)
# By the names of the plan's steps.
COMPONENTS = {
    "ingestion": "ImportExampleGen",
    "statistics": "StatisticsGen",
    "validation": "CloudValidator",
    "transform": "Transform",
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--shapes", type=int, default=400)
    parser.add_argument("--large", type=int, default=2400)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Run(Path(folder) / "first", 40)  # imports, and what else only a first run costs
        small = Run(Path(folder) / "small", asked.shapes)
        large = Run(Path(folder) / "large", asked.large)
    command = f"python -m bench.components --shapes {asked.shapes} --large {asked.large}"
    more = asked.large - asked.shapes
    what = f"{more:,} clouds of {POINTS[0]:,} to {POINTS[1]:,} points, all threads' time"
    rows = [
        Measurement(
            f"{step}_clouds_per_core_second",
            rate(more, large.seconds[step] - small.seconds[step]),
            "clouds/s",
            what,
            command,
        )
        for step in large.seconds
    ]
    rows += [
        Measurement(f"{kind}_bytes_per_cloud", size, "bytes", what, command)
        for kind, size in large.size.items()
    ]
    record(rows)


def rate(clouds: int, seconds: float) -> float | None:
    """Clouds a second; None where the clock was too coarse for the sizes chosen."""
    return clouds / seconds if seconds > 0 else None


class Run:
    """One conversion and one run as far as Transform.

    Attributes:
      seconds: processor time of each step.
      size: bytes of a raw, a converted and a transformed shape.
    """

    def __init__(self, folder: Path, shapes: int) -> None:
        config = load_config("airplane")
        source = Path(make_demo_shapes(folder / "shapes", shapes, ["Airplane"], points=POINTS))
        start = time.process_time()
        options = beam_args(config.beam, CONVERSION)
        manifest = convert(str(source), str(folder / "data"), config.data, options)
        self.seconds = {"conversion": time.process_time() - start}
        places = Places(
            examples=str(folder / "data"),
            pipeline_root=str(folder / "artifacts"),
            serving=str(folder / "serving"),
            metadata=str(folder / "metadata.sqlite"),
            categories=manifest.categories,
        )
        self.seconds |= component_seconds(config, places)
        transformed = folder / "artifacts" / "Transform" / "transformed_examples"
        self.size = {
            "raw": folder_bytes(source) / shapes,
            "converted": folder_bytes(folder / "data") / shapes,
            # Transform leaves the test split alone.
            "transformed": folder_bytes(transformed) / (shapes - manifest.shapes("test")),
        }


def component_seconds(config: PipelineConfig, places: Places) -> dict[str, float]:
    """Processor time of each component, told apart by the local engine's log."""
    clock = _Clock()
    root = logging.getLogger()
    level, verbosity = root.level, absl_logging.get_verbosity()
    root.addHandler(clock)
    root.setLevel(logging.INFO)
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        pipeline = create_pipeline(config, places)
        tfx.orchestration.LocalDagRunner().run(pipeline, RunOptions(to_nodes=["Transform"]))
    finally:
        root.removeHandler(clock)
        root.setLevel(level)
        absl_logging.set_verbosity(verbosity)
    return {step: clock.spent[name] for step, name in COMPONENTS.items()}


class _Clock(logging.Handler):
    """Reads the process's clock where a component begins and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.spent: dict[str, float] = {}
        self._started = 0.0

    def emit(self, log: logging.LogRecord) -> None:
        found = re.match(r"Component (\S+) is (running|finished)\.", log.getMessage())
        if found and found.group(2) == "running":
            self._started = time.process_time()
        elif found:
            self.spent[found.group(1)] = time.process_time() - self._started


def folder_bytes(folder: Path) -> int:
    """What the files below it take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
