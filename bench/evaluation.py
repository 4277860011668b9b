"""The Evaluator against the exported model alone, and how it grows with the number of clouds.

    python -m bench.evaluation [--clouds 340] [--points 2600] [--large 1360]

The Evaluator's executor on random clouds and a network of the example's widths with random weights,
in its own process each time; imports are not counted. The model's time is that of its signature
`evaluate` on the same Examples, called directly in batches of 8.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.results import in_process, options, peak_memory, record

BATCH = 8


def main() -> None:
    """Measures, prints and records."""
    arguments = options(__doc__, clouds=340, points=2600, large=1360)
    clouds, large = arguments.clouds, arguments.large
    total, model, memory = in_process(measure, clouds, arguments.points)
    large_total, _, large_memory = in_process(measure, large, arguments.points)
    what = f"{clouds} clouds of {arguments.points} points, the example's widths"
    growth = (large_total / large) / (total / clouds)
    sizes = f"at {large} clouds, against {clouds}"
    record(
        ("evaluate_model_share", model / total, "ratio", f"signature alone / Evaluator; {what}"),
        ("evaluate_seconds", total, "s", what),
        ("evaluate_scaling", growth, "ratio", f"time a cloud {sizes}"),
        ("evaluate_peak_memory_ratio", large_memory / memory, "ratio", f"peak memory {sizes}"),
    )


def measure(clouds: int, points: int) -> tuple[float, float, float]:
    """Seconds of the whole evaluation and of the model in it, and the peak memory in MiB."""
    import numpy as np
    import tensorflow as tf

    from components.evaluator.bounds import evaluation_config
    from components.evaluator.standalone import SPLIT, evaluate, stage_clouds, stage_model
    from model.export.signatures import EVALUATE_SIGNATURE, export
    from pipeline.beam_settings import beam_args
    from pipeline.config import load_config
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
        export(config.network.build(parts), (category,), str(folder / "model"))
        examples, _ = stage_clouds(map(cloud, range(clouds)), folder / "examples")
        bounds = evaluation_config(config.evaluation, (category,))
        staged = stage_model(folder / "model", folder / "staged")
        start = time.perf_counter()
        evaluate(staged, examples, bounds, folder / "out", None, beam_args(config.beam))
        total = time.perf_counter() - start
        peak = peak_memory()
        loaded = tf.saved_model.load(str(folder / "model"))
        signature = loaded.signatures[EVALUATE_SIGNATURE]
        files = [str(path) for path in (folder / "examples" / f"Split-{SPLIT}").iterdir()]
        batches = list(tf.data.TFRecordDataset(files, "GZIP").batch(BATCH))
        signature(examples=batches[0])
        start = time.perf_counter()
        for batch in batches:
            signature(examples=batch)
        return total, time.perf_counter() - start, peak


if __name__ == "__main__":
    main()
