"""The network measured on the validation clouds."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from model.loss import cross_entropy
from model.metrics import Scores, confusion, evaluate
from model.networks.interface import SegmentationNetwork, limit_to_category
from model.training.input_pipeline import TransformedClouds, validation_batches
from schema.categories import Category, class_ranges
from schema.record import CATEGORY, POINTS

# Chooses the epoch whose weights are kept.
MONITORED = "val_instance_miou"


class Validation:
    """Measures a network on clouds, on one device."""

    def __init__(
        self,
        network: SegmentationNetwork,
        clouds: TransformedClouds,
        categories: tuple[Category, ...],
        batch_size: int,
    ):
        self.categories = categories
        self.ranges = class_ranges(categories)
        self.batches = validation_batches(clouds, batch_size)
        self.category = clouds.category.numpy()
        self.labels = clouds.labels.numpy()

        @tf.function(reduce_retracing=True)
        def predict(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> Any:
            logits = network(inputs[POINTS], category=inputs[CATEGORY], training=False)
            annotated = tf.reduce_sum(tf.cast(labels >= 0, tf.float32))
            loss = cross_entropy(labels, logits)
            if len(categories) > 1:
                logits = limit_to_category(logits, inputs[CATEGORY], self.ranges)
            finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
            return tf.where(finite, tf.argmax(logits, axis=-1), -1), loss, annotated

        self.predict = predict

    def measure(self) -> dict[str, float]:
        """val_loss, val_point_accuracy and val_instance_miou of the network as it is."""
        predicted, losses, weights = [], [], []
        for inputs, labels in self.batches:
            classes, loss, annotated = self.predict(inputs, labels)
            predicted.append(classes.numpy())
            losses.append(float(loss))
            weights.append(float(annotated))
        scores = self.score(np.concatenate(predicted))
        return {
            "val_loss": float(np.average(losses, weights=np.maximum(weights, 1e-9))),
            "val_point_accuracy": scores.point_accuracy,
            MONITORED: scores.instance_miou,
        }

    def score(self, predicted: np.ndarray) -> Scores:
        """The metrics of predicted classes, int [M, P]."""
        confusions = []
        for truth, answer, category in zip(self.labels, predicted, self.category, strict=True):
            start, end = self.ranges[category]
            truth = np.where(truth >= 0, truth - start, truth)
            confusions.append(confusion(truth, answer - start, end - start))
        return evaluate(confusions, [self.categories[i].name for i in self.category])
