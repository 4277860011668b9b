"""What the recipe is worth: ours and the published example's, same data, network and epochs.

    python -m bench.quality [--shapes 120] [--data FOLDER] [--epochs 40] [--widths demo] [--seeds 3]

Without --data on made-up shapes of five categories, `--shapes` of each; with it on a folder or .zip
of real ones, all categories together. Splits, test clouds and metric are the same for both:
instance mIoU over all points of the test clouds, the official convention. `--widths keras_example`
takes the example's widths, which want a GPU; `demo` a narrow network of the same form. For ShapeNet
itself: python -m bench.quality --data PartAnnotation.zip --epochs 60 --widths keras_example
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from bench.example_recipe import train_example
from bench.results import Measurement, record
from model.input_pipeline import TransformedClouds
from model.metrics import confusion, evaluate
from model.network import PointNet
from model.settings import TrainingSettings
from model.signatures import Segmenter
from model.training import train
from pipeline.config import load_config
from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import Manifest
from preprocessing.conversion.records import from_example, read_records
from preprocessing.datasets.demo import make_demo_shapes
from preprocessing.settings import DataSettings
from preprocessing.tensors.transform import preprocessing_fn
from schema.categories import Category
from schema.record import CATEGORY, LABELS, POINTS, SHAPE_ID, SPLITS, Cloud

COUNT = 1024
STORED = 2048


def main() -> None:
    """Train, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=120)
    parser.add_argument("--data", default="")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--widths", choices=("demo", "keras_example"), default="demo")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Trains both recipes once for each seed."""
    source = arguments.data or str(make_demo_shapes(folder / "shapes", arguments.shapes))
    manifest = convert(source, str(folder / "data"), DataSettings(category="all"))
    clouds = {split: list(read_split(folder / "data", manifest, split)) for split in SPLITS}
    scores: dict[str, list[float]] = {"ours": [], "example": []}
    for seed in range(arguments.seeds):
        for recipe in scores:
            network = train_one(recipe, clouds, manifest.categories, folder, seed, arguments)
            scores[recipe].append(instance_miou(network, clouds["test"], manifest.categories))
            print(f"seed {seed}, {recipe}: instance mIoU {scores[recipe][-1]:.4f}", flush=True)
    report(scores, arguments, len(clouds["train"]), len(clouds["test"]))


def report(
    scores: dict[str, list[float]], arguments: argparse.Namespace, train_size: int, test_size: int
) -> None:
    """Prints and records the means and their spread."""
    kind = "real" if arguments.data else "made_up"
    shown = " --data FOLDER" if arguments.data else f" --shapes {arguments.shapes}"
    command = (
        f"python -m bench.quality{shown} --epochs {arguments.epochs} --batch {arguments.batch} "
        f"--widths {arguments.widths} --seeds {arguments.seeds}"
    )
    what = f"{train_size} shapes to train on, {test_size} to test on, {arguments.epochs} epochs"
    rows = []
    for recipe, values in scores.items():
        name = f"quality_{kind}_{recipe}_instance_miou"
        mean, low, high = statistics.mean(values), min(values), max(values)
        text = f"mean of {len(values)} seeds, from {low:.4f} to {high:.4f}; {what}"
        rows.append(Measurement(name, mean, "instance mIoU", text, command))
    gain = statistics.mean(scores["ours"]) - statistics.mean(scores["example"])
    rows.append(
        Measurement(
            f"quality_{kind}_gain",
            gain,
            "instance mIoU",
            f"ours less the example's recipe on the same network; {what}",
            command,
        )
    )
    record(rows)


def read_split(data: Path, manifest: Manifest, split: str) -> Iterator[Cloud]:
    """The clouds of a converted split."""
    for shard in manifest.shards:
        if shard.split == split:
            with (data / shard.file).open("rb") as file:
                yield from map(from_example, read_records(file, shard.file))


def train_one(
    recipe: str,
    clouds: dict[str, list[Cloud]],
    categories: tuple[Category, ...],
    folder: Path,
    seed: int,
    arguments: argparse.Namespace,
) -> PointNet:
    """A network trained by one of the two recipes."""
    network = load_config(arguments.widths).network
    run = folder / f"{recipe}-{seed}"
    run.mkdir()
    if recipe == "example":
        network = network.model_copy(update={"dropout": 0.0, "bias_before_batch_norm": True})
        return train_example(
            clouds["train"],
            clouds["val"],
            categories,
            network,
            arguments.epochs,
            arguments.batch,
            COUNT,
            seed,
            run,
        )
    settings = TrainingSettings(
        epochs=arguments.epochs,
        batch_size=arguments.batch,
        points_per_draw=COUNT,
        warmup_epochs=min(5, arguments.epochs / 10),
        seed=seed,
    )
    training, validation = (transformed(clouds[split], categories) for split in ("train", "val"))
    return train(training, validation, categories, network, settings, str(run))


def transformed(records: Sequence[Cloud], categories: tuple[Category, ...]) -> TransformedClouds:
    """What Transform makes of raw clouds."""
    sizes = [len(r.points) for r in records]
    labels = np.concatenate([np.zeros(0, np.int64), *(r.labels for r in records)])
    features = preprocessing_fn(
        {
            SHAPE_ID: tf.constant([[r.shape_id] for r in records]),
            CATEGORY: tf.constant([[r.category] for r in records]),
            POINTS: tf.RaggedTensor.from_row_lengths(
                np.concatenate([r.points for r in records]), sizes
            ),
            LABELS: tf.RaggedTensor.from_row_lengths(labels, sizes),
        },
        {
            "transform": {"points_per_cloud": STORED},
            "categories": [category.to_json() for category in categories],
        },
    )
    return TransformedClouds(
        features[POINTS],
        tf.cast(features[LABELS], tf.int32),
        tf.cast(features[CATEGORY][:, 0], tf.int32),
    )


def instance_miou(
    network: PointNet, records: Sequence[Cloud], categories: tuple[Category, ...]
) -> float:
    """Official instance mIoU over all points of the clouds."""
    segmenter = Segmenter(network, categories)
    names = [category.name for category in categories]
    confusions = []
    for cloud in records:
        kind = names.index(cloud.category)
        told = None if len(categories) == 1 else tf.constant([kind], tf.int64)
        classes, _ = segmenter.segment(tf.constant(cloud.points[np.newaxis]), None, told)
        answer = segmenter.parts(classes, told).numpy()[0]
        confusions.append(confusion(cloud.labels, answer, len(categories[kind].parts)))
    return evaluate(confusions, [cloud.category for cloud in records]).instance_miou


if __name__ == "__main__":
    main()
