"""Evaluation: the model's share of its time, and how time and memory grow with the clouds.

    python -m bench.evaluation [--clouds 340] [--points 2600] [--large 1360]

The Evaluator's executor on random clouds and a network of the example's widths with random
weights, in a process of its own each time; imports are not counted. The model's time is that of
its signature `evaluate` on the same Examples, called directly in batches of 8.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.results import Measurement, record

BATCH = 8


def main() -> None:
    """Measure, print and write; with --alone, measure one size and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clouds", type=int, default=340)
    parser.add_argument("--points", type=int, default=2600)
    parser.add_argument("--large", type=int, default=1360)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(measure(arguments.clouds, arguments.points)))
        return
    small, large = (in_a_process(n, arguments.points) for n in (arguments.clouds, arguments.large))
    command = (
        f"python -m bench.evaluation --clouds {arguments.clouds} --points {arguments.points} "
        f"--large {arguments.large}"
    )
    what = f"{arguments.clouds} clouds of {arguments.points} points, the example's widths"
    growth = (large["total"] / arguments.large) / (small["total"] / arguments.clouds)
    of_large = f"at {arguments.large} clouds, against {arguments.clouds}"
    memory = large["peak_mib"] / small["peak_mib"]
    rows = [
        (
            "evaluate_model_share",
            small["model"] / small["total"],
            "ratio",
            f"signature alone; {what}",
        ),
        ("evaluate_seconds", small["total"], "s", what),
        ("evaluate_scaling", growth, "ratio", f"time a cloud {of_large}"),
        ("evaluate_peak_memory_ratio", memory, "ratio", f"largest resident set {of_large}"),
    ]
    record([Measurement(*row, command) for row in rows])


def in_a_process(clouds: int, points: int) -> dict[str, float]:
    """What `measure` finds, in a fresh process."""
    options = ["--alone", "--clouds", str(clouds), "--points", str(points)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.evaluation", *options],
        check=True,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(clouds: int, points: int) -> dict[str, float]:
    """Seconds of the whole evaluation and of the model in it, and the largest resident set."""
    import numpy as np
    import tensorflow as tf

    from components.evaluator.standalone import SPLIT, evaluate, stage_clouds, stage_model
    from model.network import build_network
    from model.signatures import EVALUATE_SIGNATURE, export
    from pipeline.beam_settings import beam_args
    from pipeline.config import load_config
    from pipeline.graph import Places, evaluation_config
    from schema.categories import SHAPENET_CATEGORIES
    from schema.record import Cloud

    config = load_config("airplane")
    category = SHAPENET_CATEGORIES[0]
    parts = len(category.parts)
    rng = np.random.default_rng(0)

    def cloud(number: int) -> Cloud:
        coordinates = rng.normal(size=(points, 3)).astype(np.float32)
        return Cloud(f"{number}", category.name, coordinates, rng.integers(0, parts, points))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(build_network(config.network, parts, 1), (category,), str(folder / "model"))
        examples, _ = stage_clouds(map(cloud, range(clouds)), folder / "examples")
        places = Places("", "", "", None, (category,))
        staged = stage_model(folder / "model", folder / "staged")
        start = time.perf_counter()
        bounds = evaluation_config(config, places)
        evaluate(staged, examples, bounds, folder / "out", None, beam_args(config.beam))
        total = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        loaded = tf.saved_model.load(str(folder / "model"))
        signature = loaded.signatures[EVALUATE_SIGNATURE]
        files = [str(path) for path in (folder / "examples" / f"Split-{SPLIT}").iterdir()]
        batches = list(tf.data.TFRecordDataset(files, "GZIP").batch(BATCH))
        signature(examples=batches[0])
        start = time.perf_counter()
        for batch in batches:
            signature(examples=batch)
        model = time.perf_counter() - start
    return {"total": total, "model": model, "peak_mib": peak}


if __name__ == "__main__":
    main()
