"""What the training recipe is worth: ours against others on the same shapes, by instance mIoU.

    python -m bench.quality [--shapes 120] [--data FOLDER] [--epochs 40] [--widths demo] [--seeds 3]

example: the published example's recipe, faults included (bench/keras_example.py).
ordinary: what a Keras user would write. The same transformed clouds as ours with as many points
    drawn, batch norm's momentum 0.99, no regulariser, Adam with a constant rate, no augmentation,
    lowest validation loss.
forest: a random forest for each category on features of a point and its neighbours.

Without --data on made-up shapes of five categories, `--shapes` of each; with it on a folder or .zip
of real ones, all categories together. Splits, test clouds and metric are the same for all: instance
mIoU over all points of the test clouds, the official convention. The networks have the same widths
and epochs: `--widths demo` is a narrow network, `keras_example` the example's, which needs a GPU.
For ShapeNet: python -m bench.quality --data PartAnnotation.zip --epochs 60 --widths keras_example
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import NearestNeighbors

from bench import keras_example
from bench.results import options, record
from bench.transform import ragged_batch, read_split, transform_config
from model.export.signatures import Segmenter
from model.metrics import confusion, evaluate
from model.networks.interface import SegmentationNetwork
from model.training.input_pipeline import TransformedClouds, validation_batches
from model.training.job import Job
from model.training.loop import train
from model.training.settings import TrainingSettings
from pipeline.config import load_config
from preprocessing.conversion.convert import convert
from preprocessing.datasets.demo import make_demo_shapes
from preprocessing.settings import DataSettings
from preprocessing.tensors.transform import preprocessing_fn
from schema.categories import class_ranges
from schema.record import CATEGORY, LABELS, POINTS, SPLITS, Cloud

COUNT = 1024
STORED = 2048
# Of the forest: points of a training cloud, neighbours of a point, trees.
FOREST_POINTS, NEIGHBOURS, TREES = 128, 24, 50
RECIPES = {
    "ours": "our recipe",
    "example": "the published example's recipe",
    "ordinary": "Adam, batch norm's momentum 0.99, no regulariser, no augmentation",
    "forest": f"random forests of {TREES} trees on local features",
}
# Parts of a cloud, int [n].
Predict = Callable[[Cloud], np.ndarray]


def main() -> None:
    """Trains every recipe once for each seed, measures, prints and records."""
    arguments = options(__doc__, shapes=120, data="", epochs=40, batch=32, widths="demo", seeds=3)
    scores: dict[str, list[float]] = {recipe: [] for recipe in RECIPES}
    with tempfile.TemporaryDirectory() as folder:
        recipes = Recipes(Path(folder), arguments)
        for seed in range(arguments.seeds):
            for recipe, values in scores.items():
                run = Path(tempfile.mkdtemp(dir=folder))
                values.append(recipes.instance_miou(getattr(recipes, recipe)(seed, run)))
                print(f"seed {seed}, {recipe}: instance mIoU {values[-1]:.4f}", flush=True)
    kind = "real" if arguments.data else "made_up"
    sizes = " and ".join(f"{len(recipes.clouds[split])} {split}" for split in ("train", "test"))
    what = f"{kind.replace('_', '-')} data, {sizes} shapes, {arguments.epochs} epochs"
    what += f", {arguments.widths}'s widths"
    rows = []
    for recipe, values in scores.items():
        name, mean = f"quality_{kind}_{recipe}_instance_miou", statistics.mean(values)
        spread = f"mean of {len(values)} seeds, {min(values):.4f} to {max(values):.4f}"
        text = f"{RECIPES[recipe]}; {spread}; {what}"
        rows.append((name, mean, "instance mIoU", text))
        if recipe != "ours":
            name, text = f"quality_{kind}_gain_over_{recipe}", f"{RECIPES[recipe]}; {what}"
            gain = statistics.mean(scores["ours"]) - mean
            rows.append((name, gain, "instance mIoU", text))
    record(*rows)


class Recipes:
    """The data, and for each recipe a method of a seed and an empty folder."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        source = arguments.data or str(make_demo_shapes(folder / "shapes", arguments.shapes))
        manifest = convert(source, str(folder / "data"), DataSettings(category="all"))
        self.categories = manifest.categories
        self.names = [category.name for category in manifest.categories]
        self.clouds = {x: list(read_split(folder / "data", manifest, x)) for x in SPLITS}
        self.epochs, self.batch = arguments.epochs, min(arguments.batch, len(self.clouds["train"]))
        self.recipe = TrainingSettings(
            epochs=self.epochs,
            batch_size=self.batch,
            points_per_draw=COUNT,
            warmup_epochs=min(5, self.epochs / 10),
        )
        self.network = load_config(arguments.widths).network
        self.training, self.validation = map(self.transformed, ("train", "val"))

    def transformed(self, split: str) -> TransformedClouds:
        """What Transform makes of a split."""
        batch, config = ragged_batch(self.clouds[split]), transform_config(self.categories, STORED)
        features = preprocessing_fn(batch, config)
        category = tf.cast(features[CATEGORY][:, 0], tf.int32)
        return TransformedClouds(features[POINTS], tf.cast(features[LABELS], tf.int32), category)

    def ours(self, seed: int, folder: Path) -> Predict:
        settings = self.recipe.model_copy(update={"seed": seed})
        job = Job(self.training, self.validation, self.categories, self.network, settings)
        return self.predicting(train(job, str(folder)))

    def example(self, seed: int, folder: Path) -> Predict:
        changes = {"dropout": 0.0, "bias_before_batch_norm": True}
        network = self.build(seed, num_more_classes=1, **changes)
        network.set_batch_norm_momentum(0.0)
        for transform in (network.input_transform, network.feature_transform):
            transform.activity_regularizer = keras_example.mixed_orthogonality
        rng = np.random.default_rng(seed)
        training, validation = (
            keras_example.drawn_samples(self.clouds[split], self.categories, COUNT, rng)
            for split in ("train", "val")
        )
        rate = keras_example.learning_rate(-(-len(training) // self.batch) * self.epochs)
        shuffled = training.shuffle(len(training), seed).batch(self.batch)
        batches = shuffled.map(keras_example.jittered), validation.batch(self.batch)
        keras_example.fit(network, *batches, self.epochs, rate, folder)
        return self.predicting(network)

    def ordinary(self, seed: int, folder: Path) -> Predict:
        network = self.build(seed)
        network.set_batch_norm_momentum(0.99)

        def draw(inputs: Any, labels: Any) -> Any:
            drawn = tf.random.shuffle(tf.range(STORED))[:COUNT]
            points = tf.gather(inputs[POINTS], drawn, axis=1)
            return {**inputs, POINTS: points}, tf.gather(labels, drawn, axis=1)

        shuffled = validation_batches(self.training, 1).unbatch().shuffle(len(self.training), seed)
        batches = (
            shuffled.batch(self.batch).map(draw),
            validation_batches(self.validation, self.batch),
        )
        keras_example.fit(network, *batches, self.epochs, keras_example.LEARNING_RATE, folder)
        return self.predicting(network)

    def forest(self, seed: int, folder: Path) -> Predict:
        rng = np.random.default_rng(seed)
        features: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        labels: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        for cloud in self.clouds["train"]:
            drawn = rng.permutation(np.flatnonzero(cloud.labels >= 0))[:FOREST_POINTS]
            features[cloud.category].append(local_features(cloud.points)[drawn])
            labels[cloud.category].append(cloud.labels[drawn])
        make = partial(RandomForestClassifier, TREES, random_state=seed, n_jobs=-1)
        forests = {
            name: make().fit(np.concatenate(features[name]), np.concatenate(labels[name]))
            for name in self.names
        }
        return lambda cloud: forests[cloud.category].predict(local_features(cloud.points))

    def build(self, seed: int, num_more_classes: int = 0, **changes: Any) -> Any:
        """A network without regulariser."""
        keras.utils.set_random_seed(seed)
        settings = self.network.model_copy(update={"orthogonality": 0.0, **changes})
        classes = class_ranges(self.categories)[-1][1] + num_more_classes
        return settings.build(classes, len(self.categories))

    def predicting(self, network: SegmentationNetwork) -> Predict:
        segmenter = Segmenter(network, self.categories)

        @tf.function(reduce_retracing=True)
        def parts(points: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
            category = None if len(self.categories) == 1 else kind
            return segmenter.parts(segmenter.segment(points, None, category)[0], category)

        def predict(cloud: Cloud) -> np.ndarray:
            kind = tf.constant([self.names.index(cloud.category)], tf.int64)
            return parts(tf.constant(cloud.points[np.newaxis]), kind).numpy()[0]

        return predict

    def instance_miou(self, predict: Predict) -> float:
        """Official instance mIoU over all points of the test clouds."""
        test = self.clouds["test"]
        parts = {category.name: len(category.parts) for category in self.categories}
        counts = [confusion(c.labels, predict(c), parts[c.category]) for c in test]
        return evaluate(counts, [cloud.category for cloud in test]).instance_miou


def local_features(points: np.ndarray) -> np.ndarray:
    """Position in the normalised cloud and shape of each point's neighbourhood, float [n, 12]."""
    points = points - points.mean(axis=0, dtype=np.float64)
    points = points / max(np.linalg.norm(points, axis=1).max(), 1e-9)
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(points))).fit(points)
    distances, nearest = search.kneighbors(points)
    centres = points[nearest].mean(axis=1)
    offsets = points[nearest] - centres[:, None]  # [n, k, 3]
    spread, directions = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets))
    lengths = [np.linalg.norm(points, axis=1), np.linalg.norm(points - centres, axis=1)]
    columns = [points, spread, np.abs(directions[:, :, 0]), *(x[:, None] for x in lengths)]
    return np.concatenate([*columns, distances[:, -1:]], axis=1)


if __name__ == "__main__":
    main()
