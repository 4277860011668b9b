"""What the exported SavedModel offers: raw coordinates in, a part for every point out.

    serving_default  points float32 [B, N, 3]                         plain tensor operations only
    serve_padded     points float32 [B, N, 3], num_points int64 [B]   clouds of different sizes
    serve_examples   serialized tf.Examples, each with its own n
    evaluate         the same with labels -> confusion and calibration counts, for the Evaluator

The first three return `part` int64 [B, N] (index into the category's parts) and `probability`
float32 [B, N, K]; rows beyond a cloud's size are -1 and 0. A model of several categories takes
`category` int64 [B] (index into the categories of assets/parts.json) beside the points; Examples
carry its name. Every signature normalises with `preprocessing.tensors.normalisation.normalise`, as
Transform does.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import tensorflow as tf

from model.folding import fold_batch_norm
from model.metrics import CALIBRATION_BINS, PROBABILITY_UNIT
from model.network import PointNet, limit_to_category
from model.pooled_layer import repeat_first_point
from model.request_checks import request_is_sound
from model.settings import ServingSettings
from model.warm_up import write_warm_up
from preprocessing.tensors.normalisation import NORMALISATION_VERSION, normalise
from preprocessing.tensors.transform import category_indices, labels_to_classes
from schema.categories import Category, class_ranges
from schema.record import CATEGORY, LABELS, POINTS, UNANNOTATED

PARTS_ASSET = "parts.json"
EVALUATE_SIGNATURE = "evaluate"
CONFUSION = "confusion"
CALIBRATION = "calibration"
# Changes when the Evaluator needs something else of the signature `evaluate`.
EVALUATION_VERSION = 1


class Segmenter:
    """The network with everything around it that turns raw clouds into parts.

    Args:
      network: logits [B, N, K] from normalised points; see model/network.py.
      categories: the categories the network was trained on, in the order of its classes.
      settings: what a request may ask for; None: the defaults.
    """

    def __init__(
        self,
        network: keras.Model,
        categories: tuple[Category, ...],
        settings: ServingSettings | None = None,
    ):
        self.network = network
        self.categories = categories
        self.ranges = class_ranges(categories)
        self.settings = settings or ServingSettings()

    def segment(
        self, points: tf.Tensor, valid: tf.Tensor | None, category: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Names the class of every point.

        Args:
          points: float32 [B, N, 3], raw coordinates.
          valid: bool [B, N], False in padding; None: no padding.
          category: int64 [B]; None with a single category.

        Returns:
          The class, int64 [B, N], -1 in padding and where the network's answer is not a number; and
          each class's probability, float32 [B, N, K], 0 in padding.
        """
        normalised = normalise(points, valid)
        if valid is not None:
            normalised = repeat_first_point(normalised, valid)
        if category is None:
            logits = self.network(normalised, training=False)
        else:
            inputs = {"points": normalised, "category": category}
            logits = self.network(inputs, training=False)
            logits = limit_to_category(logits, category, self.ranges)
        probability = tf.nn.softmax(logits)  # [B, N, K]
        answered = tf.reduce_all(tf.math.is_finite(probability), axis=2)
        if valid is not None:
            answered &= valid
            probability = tf.where(valid[:, :, tf.newaxis], probability, 0.0)
        classes = tf.argmax(logits, axis=2)
        return tf.where(answered, classes, tf.constant(-1, tf.int64)), probability

    def parts(self, classes: tf.Tensor, category: tf.Tensor | None) -> tf.Tensor:
        """Turns the model's classes [B, N] into indices into each category's parts; -1 stays."""
        if category is None:
            return classes
        starts = tf.constant([start for start, _ in self.ranges], tf.int64)
        return tf.where(classes >= 0, classes - tf.gather(starts, category)[:, tf.newaxis], classes)

    def signatures(self) -> dict[str, Any]:
        """The functions to export, by signature name."""
        points = tf.TensorSpec([None, None, 3], tf.float32, name=POINTS)
        sizes = tf.TensorSpec([None], tf.int64, name="num_points")
        examples = tf.TensorSpec([None], tf.string, name="examples")
        category = tf.TensorSpec([None], tf.int64, name=CATEGORY)
        conditional = [category] if len(self.categories) > 1 else []
        most_parts = max(len(category.parts) for category in self.categories)

        def answer(
            points: tf.Tensor, valid: tf.Tensor | None, category: tf.Tensor | None
        ) -> dict[str, tf.Tensor]:
            classes, probability = self.segment(points, valid, category)
            return {"part": self.parts(classes, category), "probability": probability}

        def serving_default(
            points: tf.Tensor, category: tf.Tensor | None = None
        ) -> dict[str, tf.Tensor]:
            with self.sound(points, None, category):
                return answer(tf.identity(points), None, category)

        def serve_padded(
            points: tf.Tensor, num_points: tf.Tensor, category: tf.Tensor | None = None
        ) -> dict[str, tf.Tensor]:
            with self.sound(points, num_points, category):
                points = tf.identity(points)
                return answer(points, tf.sequence_mask(num_points, tf.shape(points)[1]), category)

        def serve_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            points, valid, category, _ = self.parse(examples, with_labels=False)
            sizes = tf.reduce_sum(tf.cast(valid, tf.int64), axis=1)
            with self.sound(points, sizes, category):
                return {**answer(tf.identity(points), valid, category), "num_points": sizes}

        def evaluate(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            points, valid, category, labels = self.parse(examples, with_labels=True)
            classes, probability = self.segment(points, valid, category)
            predicted = self.parts(classes, category)
            known = tf.zeros([tf.shape(points)[0]], tf.int64) if category is None else category
            # Truth that is no part of the category becomes -1, as in Transform.
            truth = self.parts(labels_to_classes(labels, known, self.categories), known)
            return {
                CONFUSION: confusion_counts(truth, predicted, most_parts),
                CALIBRATION: calibration_counts(truth, predicted, tf.reduce_max(probability, 2)),
                CATEGORY: known,
            }

        return {
            "serving_default": tf.function(serving_default, [points, *conditional]),
            "serve_padded": tf.function(serve_padded, [points, sizes, *conditional]),
            "serve_examples": tf.function(serve_examples, [examples]),
            EVALUATE_SIGNATURE: tf.function(evaluate, [examples]),
        }

    def sound(
        self, points: tf.Tensor, num_points: tf.Tensor | None, category: tf.Tensor | None
    ) -> AbstractContextManager[None]:
        """See `model.request_checks.request_is_sound`."""
        most = self.settings.most_points
        return request_is_sound(points, num_points, category, len(self.categories), most)

    def parse(
        self, examples: tf.Tensor, with_labels: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
        """Reads serialized Examples into a padded batch.

        Args:
          examples: string [B].
          with_labels: whether the Examples must have labels.

        Returns:
          points float32 [B, N, 3]; valid bool [B, N]; category int64 [B] or None with a single
          category; labels int64 [B, N], -1 in padding, or None.
        """
        features: dict[str, object] = {POINTS: tf.io.RaggedFeature(tf.float32)}
        if with_labels:
            features[LABELS] = tf.io.RaggedFeature(tf.int64)
        if len(self.categories) > 1:
            features[CATEGORY] = tf.io.FixedLenFeature([], tf.string)
        parsed = tf.io.parse_example(examples, features)
        lengths = parsed[POINTS].row_lengths()
        whole = tf.debugging.assert_equal(
            lengths % 3, tf.zeros_like(lengths), "points: x y z of each point, a multiple of 3"
        )
        with tf.control_dependencies([whole] if whole is not None else []):
            flat = parsed[POINTS].to_tensor()  # [B, 3 N]
        points = tf.reshape(flat, [tf.shape(flat)[0], tf.shape(flat)[1] // 3, 3])
        valid = tf.sequence_mask(lengths // 3, tf.shape(points)[1])
        category = None
        if len(self.categories) > 1:
            category = category_indices(parsed[CATEGORY], self.categories)
            known = tf.debugging.assert_non_negative(
                category, "category: not one that this model was trained on"
            )
            with tf.control_dependencies([known] if known is not None else []):
                category = tf.identity(category)
        labels = None
        if with_labels:
            shape = tf.shape(points)[:2]
            labels = parsed[LABELS].to_tensor(UNANNOTATED, shape=[None, None])
            missing = tf.maximum(shape[1] - tf.shape(labels)[1], 0)
            labels = tf.pad(labels, [[0, 0], [0, missing]], constant_values=UNANNOTATED)
            labels = labels[:, : shape[1]]
        return points, valid, category, labels


def confusion_counts(truth: tf.Tensor, predicted: tf.Tensor, num_parts: int) -> tf.Tensor:
    """Counts each cloud's points by true and predicted part, as `model.metrics.confusion` does.

    Args:
      truth: int64 [B, N]; points of truth -1 count nowhere.
      predicted: int64 [B, N]; -1: no answer.
      num_parts: K.

    Returns:
      int64 [B, K, K + 1]; the last column counts points without an answer.
    """
    batch = tf.shape(truth, tf.int64)[0]
    cells = num_parts * (num_parts + 1)
    column = tf.where(predicted >= 0, predicted, tf.constant(num_parts, tf.int64))
    row = tf.range(batch)[:, tf.newaxis] * num_parts + truth
    cell = tf.where(truth >= 0, row * (num_parts + 1) + column, tf.constant(-1, tf.int64))
    flat = tf.reshape(cell, [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, batch * cells)
    return tf.reshape(counts, [-1, num_parts, num_parts + 1])


def calibration_counts(truth: tf.Tensor, predicted: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """Counts each cloud's points by the probability of their answer.

    Args:
      truth: int64 [B, N]; points of truth -1 count nowhere.
      predicted: int64 [B, N]; -1, no answer, counts nowhere.
      probability: float32 [B, N], of the answer.

    Returns:
      int64 [B, CALIBRATION_BINS, 3], as `model.metrics.calibration_counts` of each cloud.
    """
    batch = tf.shape(truth, tf.int64)[0]
    counted = (truth >= 0) & (predicted >= 0)
    sure = tf.where(counted, probability, 0.0)
    place = tf.cast(sure * CALIBRATION_BINS, tf.int64)
    place = tf.clip_by_value(place, 0, CALIBRATION_BINS - 1)
    cell = tf.range(batch)[:, tf.newaxis] * CALIBRATION_BINS + place
    cell = tf.reshape(tf.where(counted, cell, tf.constant(-1, tf.int64)), [-1])
    units = tf.cast(tf.round(tf.cast(sure, tf.float64) / PROBABILITY_UNIT), tf.int64)
    right = tf.cast(truth == predicted, tf.int64)
    values = tf.reshape(tf.stack([tf.ones_like(units), right, units], axis=2), [-1, 3])
    sums = tf.math.unsorted_segment_sum(values, cell, batch * CALIBRATION_BINS)
    return tf.reshape(sums, [-1, CALIBRATION_BINS, 3])


def export(
    network: PointNet,
    categories: tuple[Category, ...],
    directory: str,
    settings: ServingSettings | None = None,
) -> None:
    """Writes the SavedModel that is evaluated, blessed, pushed and served, batch norm folded.

    Args:
      network: the trained network; it stays as it is.
      categories: its categories, in the order of its classes.
      directory: where to write; gs:// and the like will do.
      settings: what a request may ask for; None: the defaults.
    """
    folded = fold_batch_norm(network)
    exported = tf.Module()
    # TensorFlow's own variables: of a Keras one it would save a copy beside the one that the graph
    # reads, and a server, which restores what was saved, would find that one empty.
    exported.weights = [variable.value for variable in folded.variables]
    about = {
        "categories": [category.to_json() for category in categories],
        "normalisation_version": NORMALISATION_VERSION,
        "evaluation_version": EVALUATION_VERSION,
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / PARTS_ASSET
        path.write_text(json.dumps(about, indent=1), "utf-8")
        exported.about = tf.saved_model.Asset(str(path))
        functions = Segmenter(folded, categories, settings).signatures()
        tf.saved_model.save(
            exported,
            directory,
            signatures={name: f.get_concrete_function() for name, f in functions.items()},
        )
    write_warm_up(directory, categories, (settings or ServingSettings()).most_points)
