"""The network measured on the validation clouds."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from model.loss import cross_entropy
from model.metrics import confusion, evaluate
from model.networks.interface import SegmentationNetwork, limit_to_category
from model.training.input_pipeline import validation_batches
from model.training.job import Job
from schema.categories import class_ranges
from schema.record import CATEGORY, POINTS

# Chooses the epoch whose weights are kept.
MONITORED = "val_instance_miou"
VALIDATED = (MONITORED, "val_point_accuracy", "val_loss")


class Validation:
    """Measures a network on a job's validation clouds, on one device."""

    def __init__(self, network: SegmentationNetwork, job: Job):
        self.job = job
        self.ranges = class_ranges(job.categories)
        self.batches = validation_batches(job.validation, job.settings.batch_size)

        @tf.function(reduce_retracing=True)
        def predict(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> Any:
            logits = network(inputs[POINTS], category=inputs[CATEGORY], training=False)
            annotated = tf.reduce_sum(tf.cast(labels >= 0, tf.float32))
            loss = cross_entropy(labels, logits)
            if len(job.categories) > 1:
                logits = limit_to_category(logits, inputs[CATEGORY], self.ranges)
            finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
            return tf.where(finite, tf.argmax(logits, axis=-1), -1), loss, annotated

        self.predict = predict

    def measure(self) -> dict[str, float]:
        """The numbers VALIDATED of the network as it is."""
        batches = [self.predict(inputs, labels) for inputs, labels in self.batches]
        predicted, losses, weights = zip(*batches, strict=True)
        clouds = self.job.validation
        labels, categories = clouds.labels.numpy(), clouds.category.numpy()
        confusions, names = [], []
        for truth, answer, category in zip(
            labels, np.concatenate(predicted), categories, strict=True
        ):
            start, end = self.ranges[category]
            truth = np.where(truth >= 0, truth - start, truth)
            confusions.append(confusion(truth, answer - start, end - start))
            names.append(self.job.categories[category].name)
        scores = evaluate(confusions, names)
        loss = float(np.average(losses, weights=np.maximum(weights, 1e-9)))
        values = (scores.instance_miou, scores.point_accuracy, loss)
        return dict(zip(VALIDATED, values, strict=True))
