"""TFRecords to normalised samples, against the published example's preprocessing loop.

    python -m bench.transform [--shapes 2000] [--large 17500] [--points 1024] [--rounds 5]

Made-up airplanes of 2,500 to 2,700 points; 1,024 are drawn of each, as the example does; one core.

- The preprocessing graph alone, on batches that are in memory, in turn with the loop.
- TFX's whole Transform component: Beam's direct runner, reading and inflating the records, parsing,
  the graph, encoding, deflating and writing. It is run at two sizes, the larger one about that of
  ShapeNet's part annotations, which gives what a run costs whatever its size (building graphs and
  Beam's stages), and what a cloud costs on top of that: the floor of a large data set.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.conversion import CATEGORY, POINTS, copy_shapes
from bench.results import Measurement, record

BATCH = 64
COMMAND = "python -m bench.transform"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=2000)
    parser.add_argument("--large", type=int, default=17_500)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    # Before TensorFlow counts the cores.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.shapes, arguments.large, arguments.points, arguments.rounds)


def measure(folder: Path, shapes: int, large: int, count: int, rounds: int) -> None:
    """All measurements, on shapes made in a folder."""
    from preprocessing.conversion.convert import convert
    from preprocessing.datasets.demo import make_demo_shapes
    from preprocessing.settings import DataSettings

    settings = DataSettings(category=CATEGORY)
    source = make_demo_shapes(folder / "shapes", shapes, [CATEGORY], points=POINTS)
    copies = copy_shapes(source, folder / "many", -(-large // shapes))
    for raw, converted in ((source, "small"), (copies, "large")):
        convert(str(raw), str(folder / converted), settings)
    graph, loop = compare_graph(folder / "small", source, count, rounds)
    small_seconds, small_clouds = run_component(folder / "small", folder / "small_run", count)
    # The loop once more, so that it is timed on both sides of the long run.
    seconds, clouds = run_component(folder / "large", folder / "large_run", count)
    loop = statistics.median([loop, compare_graph(folder / "small", source, count, rounds)[1]])
    each = (seconds - small_seconds) / (clouds - small_clouds)
    baseline = "the example's preprocessing loop on the same clouds, one core each"
    whole = f"TFX's Transform component, {clouds:,} clouds"
    record(
        [
            Measurement("transform_speedup", loop / graph, "ratio", baseline, COMMAND),
            Measurement(
                "transform_component_ratio",
                loop / (seconds / clouds),
                "ratio",
                f"{whole}, against {baseline}",
                COMMAND,
            ),
            Measurement(
                "transform_component_floor_ratio",
                loop / each,
                "ratio",
                "the same without what every run costs",
                COMMAND,
            ),
            Measurement(
                "transform_component_fixed_seconds",
                seconds - each * clouds,
                "s",
                "what every run of the component costs, whatever its size",
                COMMAND,
            ),
            Measurement(
                "transform_graph_clouds_per_second", 1 / graph, "clouds/s", "graph alone", COMMAND
            ),
            Measurement(
                "transform_component_clouds_per_second",
                clouds / seconds,
                "clouds/s",
                whole,
                COMMAND,
            ),
            Measurement(
                "example_preprocess_clouds_per_second", 1 / loop, "clouds/s", baseline, COMMAND
            ),
        ]
    )


def compare_graph(data: Path, source: Path, count: int, rounds: int) -> tuple[float, float]:
    """Median seconds a cloud of the graph and of the example's loop, in turn."""
    import tensorflow as tf

    from bench.example_loops import load, preprocess
    from preprocessing.conversion.manifest import MANIFEST, Manifest
    from preprocessing.conversion.records import from_example, read_records
    from preprocessing.datasets.demo import DEMO_CATEGORIES
    from preprocessing.tensors.transform import preprocessing_fn
    from schema.record import CATEGORY as CATEGORY_FEATURE
    from schema.record import LABELS, SHAPE_ID
    from schema.record import POINTS as POINTS_FEATURE

    manifest = Manifest.from_text((data / MANIFEST).read_text())
    config = {
        "transform": {"points_per_cloud": count},
        "categories": [category.to_json() for category in manifest.categories],
    }
    shard = data / manifest.shards[0].file
    with shard.open("rb") as file:
        records = [from_example(example) for example in read_records(file, str(shard))][:BATCH]
    batch = {
        SHAPE_ID: tf.constant([[r.shape_id] for r in records]),
        CATEGORY_FEATURE: tf.constant([[r.category] for r in records]),
        POINTS_FEATURE: tf.RaggedTensor.from_row_lengths(
            np.concatenate([r.points for r in records]), [len(r.points) for r in records]
        ),
        LABELS: tf.RaggedTensor.from_row_lengths(
            np.concatenate([r.labels for r in records]), [len(r.points) for r in records]
        ),
    }
    graph = tf.function(lambda: preprocessing_fn(batch, config)[POINTS_FEATURE])
    folder = next(source.glob("made_up_*"))
    names = sorted(path.stem for path in (folder / "points").glob("*.pts"))[: 2 * BATCH]
    loaded = load(folder, DEMO_CATEGORIES[CATEGORY].parts, names, count)
    ours, theirs = [], []
    for turn in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(5):
            graph()
        middle = time.perf_counter()
        preprocess(loaded, count)
        # The first turn traces the graph; it does not count.
        if turn:
            ours.append((middle - start) / (5 * len(records)))
            theirs.append((time.perf_counter() - middle) / len(loaded))
    return statistics.median(ours), statistics.median(theirs)


def run_component(data: Path, folder: Path, count: int) -> tuple[float, int]:
    """Seconds of the component's executor on train and val, and the number of their clouds."""
    from tfx import v1 as tfx
    from tfx.components.util import examples_utils
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import artifact_utils, standard_artifacts

    import schema
    from components.transform.component import Transform
    from components.transform.executor import Executor
    from pipeline.beam_settings import BeamSettings, beam_args
    from preprocessing.conversion.manifest import MANIFEST, Manifest

    manifest = Manifest.from_text((data / MANIFEST).read_text())
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "examples")
    examples.split_names = artifact_utils.encode_split_names(["train", "val"])
    examples_utils.set_payload_format(examples, tfx.proto.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    for split in ("train", "val"):
        shutil.copytree(data / manifest.version / split, folder / "examples" / f"Split-{split}")
    described = standard_artifacts.Schema()
    described.uri = str(folder / "schema")
    os.makedirs(described.uri)
    shutil.copy(Path(str(schema.__file__)).parent / "schema.pbtxt", described.uri)
    component: Any = Transform(
        examples=tfx.dsl.Channel(type=standard_artifacts.Examples),
        schema=tfx.dsl.Channel(type=standard_artifacts.Schema),
        preprocessing_fn="preprocessing.tensors.transform.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=["train"], transform=["train", "val"]),
        custom_config={
            "transform": {"points_per_cloud": count},
            "categories": [category.to_json() for category in manifest.categories],
        },
        disable_statistics=True,
    )
    outputs = {}
    for name, channel in component.outputs.items():
        artifact = channel.type()
        artifact.uri = str(folder / "out" / name)
        os.makedirs(artifact.uri)
        outputs[name] = [artifact]
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=beam_args(BeamSettings()), tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    start = time.perf_counter()
    Executor(context).Do(
        {"examples": [examples], "schema": [described]}, outputs, dict(component.exec_properties)
    )
    return time.perf_counter() - start, sum(manifest.shapes(split) for split in ("train", "val"))


if __name__ == "__main__":
    main()
