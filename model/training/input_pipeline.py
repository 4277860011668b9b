"""Transform's Examples -> batches, drawn and augmented again for each epoch.

A split is held in memory as whole tensors (all of ShapeNet's part annotations, 16,881 clouds of
2,048 points, take 0.5 GB), so that a batch is a gather. What a step gets is a function of the seed
and the step's number, so training can be resumed at any step.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from model.training.settings import TrainingSettings
from preprocessing.tensors.augmentation import augment
from preprocessing.tensors.sampling import draw_indices
from preprocessing.tensors.transform import CLASS_POINTS
from schema.record import CATEGORY, LABELS, POINTS

_PARSE_BATCH = 256


@dataclass(frozen=True)
class TransformedClouds:
    """A split as Transform wrote it: M clouds of P points.

    points: float32 [M, P, 3], normalised. labels: int32 [M, P], classes of the model, -1
    unannotated. category: int32 [M], index into the categories. class_points: int64 [K], points of
    each class in the training split, if Transform counted them.
    """

    points: tf.Tensor
    labels: tf.Tensor
    category: tf.Tensor
    class_points: tf.Tensor | None = None

    def __len__(self) -> int:
        return int(self.points.shape[0])

    def fingerprint(self) -> str:
        """16 hexadecimal digits that depend on every number in it."""
        digest = hashlib.sha256()
        for column in (self.points, self.labels, self.category):
            digest.update(str((column.dtype.name, tuple(column.shape))).encode())
            digest.update(np.ascontiguousarray(column.numpy()).data)
        return digest.hexdigest()[:16]


def is_record_file(path: str) -> bool:
    """Whether a file in a split's folder has records; a failed Beam job leaves other ones."""
    return not path.rstrip("/").rpartition("/")[2].startswith("beam-temp-")


def read_clouds(patterns: list[str], points_per_cloud: int) -> TransformedClouds:
    """Reads the gzip TFRecords of a split of Transform's output, in the order of their names.

    Raises ValueError if they hold no cloud.
    """
    features = {
        POINTS: tf.io.FixedLenFeature([points_per_cloud, 3], tf.float32),
        LABELS: tf.io.FixedLenFeature([points_per_cloud], tf.int64),
        CATEGORY: tf.io.FixedLenFeature([1], tf.int64),
        CLASS_POINTS: tf.io.RaggedFeature(tf.int64),
    }
    files = [path for pattern in patterns for path in tf.io.gfile.glob(pattern)]
    files = sorted(path for path in files if is_record_file(path))
    examples = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_PARSE_BATCH)
    # tf.data draws from them on the CPU: on a GPU they would only take its memory.
    with tf.device("CPU:0"):
        batches = [
            (
                parsed[POINTS],
                tf.cast(parsed[LABELS], tf.int32),
                tf.cast(parsed[CATEGORY][:, 0], tf.int32),
                parsed[CLASS_POINTS][:1].values,
            )
            for parsed in examples.map(lambda batch: tf.io.parse_example(batch, features))
        ]
        if not batches:
            raise ValueError(f"no cloud in {', '.join(patterns) or 'an empty list of files'}")
        *columns, counted = zip(*batches, strict=True)
        points, labels, category = (tf.concat(column, axis=0) for column in columns)
    # The same in every Example.
    class_points = counted[0] if counted[0].shape[0] else None
    return TransformedClouds(points, labels, category, class_points)


def steps_until(epochs: float, clouds: int, settings: TrainingSettings) -> int:
    """Number of steps when so many epochs are finished; a batch may span two epochs."""
    return int(epochs * clouds) // settings.batch_size


def training_batches(
    clouds: TransformedClouds, settings: TrainingSettings, first_step: int = 0
) -> tf.data.Dataset:
    """The batches of all steps from `first_step` on.

    Every epoch takes each cloud once, in a new order; an epoch's last clouds share a batch with the
    next one's first. Elements are ({"points": float32 [B, N, 3], "category": int32 [B]}, labels
    int32 [B, N]); B, which is at most the number of clouds, and N are those of the settings.
    """
    count, size = len(clouds), settings.batch_size
    available = clouds.points.shape[1]
    draw = settings.points_per_draw or available
    first_epoch, skipped = divmod(first_step * size, count)

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        scores = tf.random.stateless_uniform([count], _seed(settings, epoch, -1), dtype=tf.float64)
        return tf.data.Dataset.from_tensor_slices(tf.argsort(scores))

    def batch(places: tf.Tensor, step: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        seeds = tf.random.experimental.stateless_split(_seed(settings, step, 0), 2)
        points = tf.gather(clouds.points, places)  # [B, P, 3]
        labels = tf.gather(clouds.labels, places)
        if draw < available:
            rows = tf.random.stateless_uniform([size], seeds[0], None, None, tf.int64)
            indices = draw_indices(rows, tf.fill([size], available), available, draw)
            points = tf.gather(points, indices, batch_dims=1)  # [B, N, 3]
            labels = tf.gather(labels, indices, batch_dims=1)
        points = augment(points, seeds[1], settings.augmentation)
        return {POINTS: points, CATEGORY: tf.gather(clouds.category, places)}, labels

    places = tf.data.Dataset.range(first_epoch, settings.epochs).flat_map(order).skip(skipped)
    steps = tf.data.Dataset.range(first_step, steps_until(settings.epochs, count, settings))
    batches = tf.data.Dataset.zip((places.batch(size, drop_remainder=True), steps))
    return batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def validation_batches(clouds: TransformedClouds, batch_size: int) -> tf.data.Dataset:
    """Every cloud once, as Transform sampled it, in its order: same form as training batches."""
    inputs = {POINTS: clouds.points, CATEGORY: clouds.category}
    return tf.data.Dataset.from_tensor_slices((inputs, clouds.labels)).batch(batch_size)


def _seed(settings: TrainingSettings, number: tf.Tensor, stream: int) -> tf.Tensor:
    """Seed int64 [2] of an epoch's or a step's random numbers."""
    run = tf.constant(settings.seed, tf.int64) * 1_000_003
    return tf.stack([run + tf.cast(number, tf.int64), tf.constant(stream, tf.int64)])
