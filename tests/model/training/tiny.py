"""A tiny made set to train on, and networks that learn it in a second."""

import csv

import numpy as np
import tensorflow as tf

from model.networks.families import NetworkSettings
from model.training.curves import CURVES_FILE
from model.training.input_pipeline import TransformedClouds
from model.training.job import Job
from model.training.settings import TrainingSettings
from schema.categories import Category

ROCKET = (Category("Rocket", "1", ("body", "nose")),)
POINTS = 32
NARROW = NetworkSettings(
    local_widths=(8, 8),
    global_widths=(8, 16),
    transform_widths=(8, 8),
    transform_dense_widths=(8,),
    head_widths=(16,),
    dropout=0.1,
)
# Without T-Nets, for what does not depend on them: most of a short training is making its graph.
PLAIN = NARROW.model_copy(update={"input_transform": False, "feature_transform": False})
SETTINGS = TrainingSettings(
    epochs=5,
    batch_size=4,
    points_per_draw=24,
    learning_rate=0.02,
    warmup_epochs=1,
    precision="float32",
)


def clouds(count, seed, points=POINTS):
    """Clouds in which a point is nose where it is above the middle, and one in ten unannotated."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(-0.6, 0.6, (count, points, 3)).astype(np.float32)
    labels = np.where(rng.random((count, points)) < 0.1, -1, places[..., 2] > 0)
    return TransformedClouds(
        tf.constant(places), tf.constant(labels, tf.int32), tf.zeros([count], tf.int32)
    )


def job(count=16, network=NARROW, **changes):
    """A training of `count` clouds, with changed settings."""
    settings = SETTINGS.model_copy(update=changes)
    return Job(clouds(count, 0), clouds(6, 1), ROCKET, network, settings)


def write_split(path, split, class_points=None):
    """Writes clouds as Transform does."""
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for points, labels in zip(split.points.numpy(), split.labels.numpy(), strict=True):
            example = tf.train.Example()
            feature = example.features.feature
            feature["points"].float_list.value.extend(points.ravel())
            feature["labels"].int64_list.value.extend(labels)
            feature["category"].int64_list.value.append(0)
            if class_points:
                feature["class_points"].int64_list.value.extend(class_points)
            writer.write(example.SerializeToString())


def read_curves(folder):
    """The rows of curves.csv as numbers."""
    with (folder / CURVES_FILE).open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
