"""`preprocessing_fn`: ragged raw clouds to a normalised sample of fixed size, labels to classes.

in   shape_id string [B, 1], category string [B, 1], points float32 [B, (n), 3] ragged,
labels int64 [B, (n)] ragged
out  shape_id string [B, 1], category int64 [B, 1] (index into the categories),
points float32 [B, P, 3], labels int64 [B, P] (class of the model, -1 unannotated);
on request class_points int64 [B, K], the points of each class in all of `train`, the same
in each row
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from preprocessing.settings import TransformSettings
from preprocessing.tensors.normalisation import normalise
from preprocessing.tensors.sampling import draw_indices, seeds_from_shape_ids
from schema.categories import Category, class_ranges
from schema.record import CATEGORY, LABELS, POINTS, SHAPE_ID, UNANNOTATED

CLASS_POINTS = "class_points"


def category_indices(names: tf.Tensor, categories: tuple[Category, ...]) -> tf.Tensor:
    """Index of each category name: string [B] -> int64 [B]; -1 for an unknown name."""
    known = tf.constant([category.name for category in categories])
    matches = tf.equal(names[:, tf.newaxis], known[tf.newaxis, :])  # [B, C]
    index = tf.argmax(tf.cast(matches, tf.int32), axis=1)
    return tf.where(tf.reduce_any(matches, axis=1), index, -tf.ones_like(index))


def labels_to_classes(
    labels: tf.Tensor, category: tf.Tensor, categories: tuple[Category, ...]
) -> tf.Tensor:
    """The model's classes, int64 [B, N], of labels int64 [B, N]; -1: unannotated or not a part.

    `category`, int64 [B], is each cloud's index into `categories`, those that the model knows.
    """
    ranges = tf.constant(class_ranges(categories), tf.int64)  # [C, 2]
    bounds = tf.gather(ranges, tf.maximum(category, 0))  # [B, 2]
    classes = labels + bounds[:, :1]
    known = (labels >= 0) & (classes < bounds[:, 1:]) & (category[:, tf.newaxis] >= 0)
    return tf.where(known, classes, tf.constant(UNANNOTATED, tf.int64))


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """The function that TFX's Transform component calls; shapes are in the module's docstring.

    `custom_config` has `transform` (TransformSettings), `categories` (Category.to_json), perhaps
    `count_class_points`, and `code_fingerprint`, which makes TFX run Transform again for new code.
    """
    settings = TransformSettings.model_validate(custom_config["transform"])
    categories = tuple(Category.from_json(value) for value in custom_config["categories"])
    shape_ids = inputs[SHAPE_ID]
    sizes = inputs[POINTS].row_lengths()
    points = inputs[POINTS].to_tensor(shape=[None, None, 3])  # [B, N, 3]
    labels = inputs[LABELS].to_tensor(UNANNOTATED)
    category = category_indices(inputs[CATEGORY][:, 0], categories)

    padded = tf.shape(points)[1]
    valid = tf.sequence_mask(sizes, padded)
    indices = draw_indices(
        seeds_from_shape_ids(shape_ids[:, 0], settings.seed),
        sizes,
        padded,
        settings.points_per_cloud,
    )
    drawn = tf.gather(normalise(points, valid), indices, batch_dims=1)  # [B, P, 3]
    classes = labels_to_classes(tf.gather(labels, indices, batch_dims=1), category, categories)
    count = settings.points_per_cloud
    outputs = {
        SHAPE_ID: shape_ids,
        CATEGORY: category[:, tf.newaxis],
        POINTS: tf.ensure_shape(drawn, [None, count, 3]),
        LABELS: tf.ensure_shape(classes, [None, count]),
    }
    if custom_config.get("count_class_points"):
        outputs[CLASS_POINTS] = _class_points(classes, class_ranges(categories)[-1][1])
    return outputs


def _class_points(classes: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Points of each class in all that Transform analyses, int64 [B, K], the same in each row."""
    import tensorflow_transform as tft

    # Class by class: [B, P, K] would not fit into memory.
    found = [tf.reduce_sum(tf.cast(classes == i, tf.int64), axis=1) for i in range(num_classes)]
    total = tft.sum(tf.stack(found, axis=1), reduce_instance_dims=False)
    return tf.tile(total[tf.newaxis, :], [tf.shape(classes)[0], 1])
