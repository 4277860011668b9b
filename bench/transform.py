"""TFRecords to normalised samples, against the published example's preprocessing loop.

    python -m bench.transform [--shapes 2000] [--large 17500] [--points 1024] [--rounds 5]

Made-up airplanes of 2,500 to 2,700 points; 1,024 are drawn of each, as the example does; one core.

- The preprocessing graph alone, on batches in memory, in turn with the loop.
- TFX's whole Transform component: Beam's direct runner, reading and inflating the records, parsing,
  the graph, encoding, deflating and writing. It is run at two sizes, the larger one about that of
  ShapeNet's part annotations. That separates the fixed cost of a run (building graphs and Beam's
  stages) from the cost of a cloud, which is the floor of a large data set.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.conversion import CATEGORY, POINTS, copy_shapes, shape_names
from bench.results import alternate, options, record
from preprocessing.conversion.manifest import MANIFEST, Manifest
from preprocessing.conversion.records import from_example, read_records
from schema import record as features
from schema.categories import Category

BATCH = 64


def main() -> None:
    """Measures, prints and records."""
    from preprocessing.conversion.convert import convert
    from preprocessing.datasets.demo import make_demo_shapes
    from preprocessing.settings import DataSettings

    arguments = options(__doc__, shapes=2000, large=17_500, points=1024, rounds=5)
    count, rounds = arguments.points, arguments.rounds
    # Before TensorFlow counts the cores.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = make_demo_shapes(folder / "raw", arguments.shapes, [CATEGORY], points=POINTS)
        copies = copy_shapes(source, folder / "many", -(-arguments.large // arguments.shapes))
        for raw, converted in ((source, "small"), (copies, "large")):
            convert(str(raw), str(folder / converted), DataSettings(category=CATEGORY))
        graph, before = compare_graph(folder / "small", source, count, rounds)
        small_seconds, small_clouds = run_component(folder / "small", folder / "run", count)
        seconds, clouds = run_component(folder / "large", folder / "large_run", count)
        # The loop once more, so that it is timed on both sides of the long run.
        loop = (before + compare_graph(folder / "small", source, count, rounds)[1]) / 2
    each = (seconds - small_seconds) / (clouds - small_clouds)
    baseline = "the example's preprocessing loop on the same clouds, one core each"
    whole, rate = f"TFX's Transform component, {clouds:,} clouds", "clouds/s"
    fixed = "fixed cost of each run of the component"
    record(
        ("transform_speedup", loop / graph, "ratio", baseline),
        ("transform_component_ratio", loop * clouds / seconds, "ratio", f"{whole}, {baseline}"),
        ("transform_component_floor_ratio", loop / each, "ratio", f"{baseline}; without {fixed}"),
        ("transform_component_fixed_seconds", seconds - each * clouds, "s", fixed),
        ("transform_graph_clouds_per_second", 1 / graph, rate, "graph alone"),
        ("transform_component_clouds_per_second", clouds / seconds, rate, whole),
        ("example_preprocess_clouds_per_second", 1 / loop, rate, baseline),
    )


def read_split(data: Path, manifest: Manifest, split: str) -> Iterator[features.Cloud]:
    """The clouds of a converted split."""
    for shard in manifest.shards:
        if shard.split == split:
            with (data / shard.file).open("rb") as file:
                yield from map(from_example, read_records(file, shard.file))


def ragged_batch(clouds: Sequence[features.Cloud]) -> dict[str, Any]:
    """Clouds as `preprocessing_fn` takes them."""
    import tensorflow as tf

    sizes = [len(cloud.points) for cloud in clouds]
    points, labels = (
        tf.RaggedTensor.from_row_lengths(np.concatenate(values), sizes)
        for values in ([cloud.points for cloud in clouds], [cloud.labels for cloud in clouds])
    )
    return {
        features.SHAPE_ID: tf.constant([[cloud.shape_id] for cloud in clouds]),
        features.CATEGORY: tf.constant([[cloud.category] for cloud in clouds]),
        features.POINTS: points,
        features.LABELS: labels,
    }


def transform_config(categories: Sequence[Category], count: int) -> dict[str, Any]:
    """The configuration of `preprocessing_fn` that draws `count` points."""
    return {
        "transform": {"points_per_cloud": count},
        "categories": [category.to_json() for category in categories],
    }


def compare_graph(data: Path, source: Path, count: int, rounds: int) -> tuple[float, float]:
    """Median seconds a cloud of the graph and of the example's loop, in turn."""
    import tensorflow as tf

    from bench.keras_example import load, preprocess
    from preprocessing.datasets.demo import DEMO_CATEGORIES
    from preprocessing.tensors.transform import preprocessing_fn

    manifest = Manifest.from_text((data / MANIFEST).read_text())
    clouds = list(read_split(data, manifest, "train"))[:BATCH]
    batch, config = ragged_batch(clouds), transform_config(manifest.categories, count)
    graph = tf.function(lambda: preprocessing_fn(batch, config)[features.POINTS])
    folder, names = shape_names(source)
    loaded = load(folder, DEMO_CATEGORIES[CATEGORY].parts, names[: 2 * BATCH], count)
    calls = {
        "ours": lambda: [graph() for _ in range(5)],
        "theirs": lambda: preprocess(loaded, count),
    }
    seconds = alternate(calls, rounds)
    return seconds["ours"] / (5 * len(clouds)), seconds["theirs"] / len(loaded)


def run_component(data: Path, folder: Path, count: int) -> tuple[float, int]:
    """Seconds of the component's executor on train and val, and the number of their clouds."""
    from tfx import v1 as tfx
    from tfx.components.util import examples_utils
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import artifact_utils, standard_artifacts

    import schema
    from components.transform import Executor, Transform
    from pipeline.beam_settings import BeamSettings, beam_args

    def placed(artifact: Any, name: str) -> Any:
        artifact.uri = str(folder / name)
        os.makedirs(artifact.uri)
        return artifact

    manifest = Manifest.from_text((data / MANIFEST).read_text())
    examples = placed(standard_artifacts.Examples(), "examples")
    examples.split_names = artifact_utils.encode_split_names(["train", "val"])
    examples_utils.set_payload_format(examples, tfx.proto.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    for split in ("train", "val"):
        shutil.copytree(data / manifest.version / split, folder / "examples" / f"Split-{split}")
    described = placed(standard_artifacts.Schema(), "schema")
    shutil.copy(Path(str(schema.__file__)).parent / "schema.pbtxt", described.uri)
    component: Any = Transform(
        examples=tfx.dsl.Channel(type=standard_artifacts.Examples),
        schema=tfx.dsl.Channel(type=standard_artifacts.Schema),
        preprocessing_fn="preprocessing.tensors.transform.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=["train"], transform=["train", "val"]),
        custom_config=transform_config(manifest.categories, count),
        disable_statistics=True,
    )
    outputs = {k: [placed(x.type(), f"out/{k}")] for k, x in component.outputs.items()}
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=[*beam_args(BeamSettings())], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    start = time.perf_counter()
    Executor(context).Do(
        {"examples": [examples], "schema": [described]}, outputs, dict(component.exec_properties)
    )
    return time.perf_counter() - start, sum(manifest.shapes(split) for split in ("train", "val"))


if __name__ == "__main__":
    main()
