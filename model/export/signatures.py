"""Signatures of the exported SavedModel: raw coordinates in, a part for every point out.

    serving_default  points float32 [B, N, 3]                         plain tensor operations only
    serve_padded     points float32 [B, N, 3], num_points int64 [B]   clouds of different sizes
    serve_examples   serialized tf.Examples, each with its own n
    evaluate         the same with labels -> confusion and calibration counts, for the Evaluator

The first three return `part` int64 [B, N] (index into the category's parts) and `probability`
float32 [B, N, K]; rows beyond a cloud's size are -1 and 0. A model of several categories takes
`category` int64 [B] (index into the categories of assets/parts.json) beside the points; Examples
have its name. All signatures normalise like Transform.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf

from model.export.counts import calibration_counts, confusion_counts
from model.export.request_checks import validated_lengths, validated_names, validated_request
from model.export.settings import ServingSettings
from model.export.warm_up import write_warm_up
from model.networks.interface import SegmentationNetwork, limit_to_category
from preprocessing.tensors.normalisation import NORMALISATION_VERSION, normalise
from preprocessing.tensors.transform import category_indices, labels_to_classes
from schema.categories import Category, class_ranges
from schema.record import CATEGORY, LABELS, POINTS, UNANNOTATED

PARTS_ASSET = "parts.json"
EVALUATE_SIGNATURE = "evaluate"
CONFUSION = "confusion"
CALIBRATION = "calibration"
# Increase it when the Evaluator needs something else of the signature `evaluate`.
EVALUATION_VERSION = 1


class Segmenter:
    """A network with the steps from raw clouds to parts; `categories` in the order of classes."""

    def __init__(
        self,
        network: SegmentationNetwork,
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
        """Class of every point, int64 [B, N], and probability of each class, float32 [B, N, K].

        Takes raw points [B, N, 3]; `valid` bool [B, N], False in padding, None: no padding;
        `category` int64 [B], None with a single category. The class is -1 in padding and where the
        network's answer is not finite; probabilities are 0 in padding.
        """
        normalised = normalise(points, valid)
        logits = self.network(normalised, category=category, valid=valid, training=False)
        if category is not None:
            logits = limit_to_category(logits, category, self.ranges)
        probability = tf.nn.softmax(logits)
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
        limits = len(self.categories), self.settings.most_points

        def answer(
            points: tf.Tensor, num_points: tf.Tensor | None, category: tf.Tensor | None = None
        ) -> dict[str, tf.Tensor]:
            with validated_request(points, num_points, category, *limits):
                points = tf.identity(points)
                valid = None
                if num_points is not None:
                    valid = tf.sequence_mask(num_points, tf.shape(points)[1])
                classes, probability = self.segment(points, valid, category)
                return {"part": self.parts(classes, category), "probability": probability}

        def serving_default(
            points: tf.Tensor, category: tf.Tensor | None = None
        ) -> dict[str, tf.Tensor]:
            return answer(points, None, category)

        def serve_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            most_points = self.settings.most_points
            points, num_points, category, _ = self.parse(examples, most_points=most_points)
            return {**answer(points, num_points, category), "num_points": num_points}

        def evaluate(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            points, num_points, category, labels = self.parse(examples, with_labels=True)
            valid = tf.sequence_mask(num_points, tf.shape(points)[1])
            classes, probability = self.segment(points, valid, category)
            predicted = self.parts(classes, category)
            known = tf.zeros([tf.shape(points)[0]], tf.int64) if category is None else category
            # A label that is not a part of the category becomes -1, as in Transform.
            truth = self.parts(labels_to_classes(labels, known, self.categories), known)
            truth = tf.where(valid, truth, tf.constant(UNANNOTATED, tf.int64))
            return {
                CONFUSION: confusion_counts(truth, predicted, most_parts),
                CALIBRATION: calibration_counts(truth, predicted, tf.reduce_max(probability, 2)),
                CATEGORY: known,
            }

        return {
            "serving_default": tf.function(serving_default, [points, *conditional]),
            "serve_padded": tf.function(answer, [points, sizes, *conditional]),
            "serve_examples": tf.function(serve_examples, [examples]),
            EVALUATE_SIGNATURE: tf.function(evaluate, [examples]),
        }

    def parse(
        self, examples: tf.Tensor, with_labels: bool = False, most_points: int | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
        """A padded batch from serialized Examples, string [B].

        Returns points float32 [B, N, 3]; num_points int64 [B]; category int64 [B], None with a
        single category; labels int64 [B, N], -1 in padding, None unless `with_labels`. Fails before
        anything of size B x N is made if that is more than `most_points`.
        """
        features: dict[str, Any] = {POINTS: tf.io.RaggedFeature(tf.float32)}
        if with_labels:
            features[LABELS] = tf.io.RaggedFeature(tf.int64)
        if len(self.categories) > 1:
            features[CATEGORY] = tf.io.FixedLenFeature([], tf.string)
        parsed = tf.io.parse_example(examples, features)
        lengths = tf.cast(parsed[POINTS].row_lengths(), tf.int64)
        with validated_lengths(lengths, most_points):
            flat = parsed[POINTS].to_tensor()  # [B, 3 N]
        points = tf.reshape(flat, [tf.shape(flat)[0], tf.shape(flat)[1] // 3, 3])
        category = None
        if len(self.categories) > 1:
            index = category_indices(parsed[CATEGORY], self.categories)
            names = [category.name for category in self.categories]
            with validated_names(parsed[CATEGORY], index, names):
                category = tf.identity(index)
        labels = None
        if with_labels:
            labels = parsed[LABELS].to_tensor(UNANNOTATED, shape=tf.shape(points)[:2])
        return points, lengths // 3, category, labels


def export(
    network: SegmentationNetwork,
    categories: tuple[Category, ...],
    directory: str,
    settings: ServingSettings | None = None,
) -> None:
    """Writes the SavedModel that is evaluated, blessed, pushed and served, batch norm folded.

    The network is not changed; `directory` may be on remote storage.
    """
    segmenter = Segmenter(network.for_inference(), categories, settings)
    most_points = segmenter.settings.most_points
    functions = {name: f.get_concrete_function() for name, f in segmenter.signatures().items()}
    exported = tf.Module()
    # TensorFlow's own variables: of a Keras one it would save a copy beside the one that the graph
    # reads, and a server, which restores what was saved, would find that one empty.
    exported.weights = list({id(v): v for f in functions.values() for v in f.variables}.values())
    about = {
        "categories": [category.to_json() for category in categories],
        "normalisation_version": NORMALISATION_VERSION,
        "evaluation_version": EVALUATION_VERSION,
        "most_points": most_points,
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / PARTS_ASSET
        path.write_text(json.dumps(about, indent=1), "utf-8")
        exported.about = tf.saved_model.Asset(str(path))
        tf.saved_model.save(exported, directory, signatures=functions)
    write_warm_up(directory, categories, most_points)
