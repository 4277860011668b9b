"""Transform's Examples -> what the training loop reads, drawn and augmented afresh each epoch.

A split is held in memory as whole tensors (all of ShapeNet's part annotations, 16,881 clouds of
2,048 points, take 0.5 GB), so that an epoch is gathers on whole batches. What an epoch sees is a
function of the seed and the epoch's number alone; training can go on from any epoch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from model.settings import TrainingSettings
from preprocessing.tensors.augmentation import augment
from preprocessing.tensors.sampling import draw_indices
from preprocessing.tensors.transform import CLASS_POINTS
from schema.record import CATEGORY, LABELS, POINTS

_PARSE_BATCH = 256


@dataclass(frozen=True)
class TransformedClouds:
    """A split as Transform wrote it.

    Attributes:
      points: float32 [M, P, 3], normalised.
      labels: int32 [M, P], the model's classes, -1 unannotated.
      category: int32 [M], index into the categories.
      class_points: int64 [K], the training split's annotated points of each class, if Transform
        counted them.
    """

    points: tf.Tensor
    labels: tf.Tensor
    category: tf.Tensor
    class_points: tf.Tensor | None = None

    def __len__(self) -> int:
        return int(self.points.shape[0])

    def fingerprint(self) -> str:
        """16 hexadecimal digits that follow from every number in it."""
        digest = hashlib.sha256()
        for column in (self.points, self.labels, self.category):
            digest.update(str((column.dtype.name, tuple(column.shape))).encode())
            digest.update(np.ascontiguousarray(column.numpy()).data)
        return digest.hexdigest()[:16]


def read_clouds(files: list[str], points_per_cloud: int) -> TransformedClouds:
    """Reads a split of Transform's output.

    Args:
      files: gzip TFRecords of transformed Examples.
      points_per_cloud: P.

    Returns:
      The split's clouds, in the order of the files' names.

    Raises:
      ValueError: the files hold no cloud.
    """
    features = {
        POINTS: tf.io.FixedLenFeature([points_per_cloud, 3], tf.float32),
        LABELS: tf.io.FixedLenFeature([points_per_cloud], tf.int64),
        CATEGORY: tf.io.FixedLenFeature([1], tf.int64),
        CLASS_POINTS: tf.io.RaggedFeature(tf.int64),
    }
    examples = tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").batch(_PARSE_BATCH)
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
            raise ValueError(f"no cloud in {', '.join(files) or 'an empty list of files'}")
        *columns, counted = zip(*batches, strict=True)
        points, labels, category = (tf.concat(column, axis=0) for column in columns)
    # The same in every Example.
    class_points = counted[0] if counted[0].shape[0] else None
    return TransformedClouds(points, labels, category, class_points)


def training_batches(
    clouds: TransformedClouds, settings: TrainingSettings, first_epoch: int = 0, first_step: int = 0
) -> tf.data.Dataset:
    """All epochs from step `first_step` of `first_epoch` on, one behind the other.

    Every epoch takes each cloud once, in a new order; a last, smaller batch is dropped, since batch
    norm's statistics of a few clouds would disturb the rest.

    Args:
      clouds: the training split.
      settings: batch size, points per draw, augmentation, epochs, seed.
      first_epoch: where to go on.
      first_step: steps of the first epoch that are left out.

    Returns:
      Batches of ({"points": float32 [B, N, 3], "category": int32 [B]}, labels int32 [B, N]).
    """
    count = len(clouds)
    available = clouds.points.shape[1]
    draw = settings.points_per_draw or available
    batch_size = min(settings.batch_size, count)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        def batch(places: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            # Seeds of this batch: of its first cloud's identity within this epoch.
            seed = tf.stack([_seed(settings.seed, epoch), tf.cast(places[0], tf.int64)])
            seeds = tf.random.experimental.stateless_split(seed, 2)
            points = tf.gather(clouds.points, places)  # [B, P, 3]
            labels = tf.gather(clouds.labels, places)
            if draw < available:
                rows = tf.random.stateless_uniform(
                    [batch_size], seeds[0], minval=None, maxval=None, dtype=tf.int64
                )
                sizes = tf.fill([batch_size], available)
                indices = draw_indices(rows, sizes, available, draw)
                points = tf.gather(points, indices, batch_dims=1)  # [B, N, 3]
                labels = tf.gather(labels, indices, batch_dims=1)
            points = augment(points, seeds[1], settings.augmentation)
            return {POINTS: points, CATEGORY: tf.gather(clouds.category, places)}, labels

        order = tf.argsort(
            tf.random.stateless_uniform(
                [count], [_seed(settings.seed, epoch), -1], dtype=tf.float64
            )
        )
        places = tf.data.Dataset.from_tensor_slices(order)
        done = tf.where(epoch == first_epoch, tf.constant(first_step, tf.int64), 0)
        batches = places.batch(batch_size, drop_remainder=True).skip(done)
        return batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    epochs = tf.data.Dataset.range(first_epoch, settings.epochs)
    return epochs.flat_map(one_epoch).prefetch(tf.data.AUTOTUNE)


def steps_per_epoch(clouds: TransformedClouds, settings: TrainingSettings) -> int:
    """Batches that `training_batches` makes of one epoch."""
    return len(clouds) // min(settings.batch_size, len(clouds))


def validation_batches(clouds: TransformedClouds, batch_size: int) -> tf.data.Dataset:
    """Every cloud once, as Transform sampled it, in its order: same form as training batches."""
    inputs = {POINTS: clouds.points, CATEGORY: clouds.category}
    return tf.data.Dataset.from_tensor_slices((inputs, clouds.labels)).batch(batch_size)


def _seed(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """One number of a run's seed and an epoch."""
    return tf.constant(seed, tf.int64) * 1_000_003 + tf.cast(epoch, tf.int64)
