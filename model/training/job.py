"""What a training is given, checked against the data and the devices."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from model.loss import class_weights
from model.networks.interface import SegmentationNetwork
from model.networks.settings import FamilySettings
from model.training.devices import dtype_policy
from model.training.input_pipeline import TransformedClouds, steps_until
from model.training.settings import TrainingSettings
from schema.categories import Category, class_ranges
from schema.errors import UserError


@dataclass(frozen=True)
class Job:
    """Clouds to learn from, clouds that choose the epoch, and the recipe.

    The categories are in the order of the model's classes.
    """

    training: TransformedClouds
    validation: TransformedClouds
    categories: tuple[Category, ...]
    network: FamilySettings
    settings: TrainingSettings

    def new_network(self, dtype: str = "float32") -> SegmentationNetwork:
        """A network for these categories, with random weights; `dtype` is a Keras policy."""
        num_classes = class_ranges(self.categories)[-1][1]
        return self.network.build(num_classes, len(self.categories), dtype)

    def identity(self, **others: Any) -> str:
        """16 hexadecimal digits; equal ones mean equal results on one machine.

        `others` are further plain values that decide the result.
        """
        decisive = {
            "training": self.training.fingerprint(),
            "validation": self.validation.fingerprint(),
            "categories": [category.to_json() for category in self.categories],
            "network": self.network.model_dump(mode="json"),
            # How often a checkpoint is written changes no number.
            "settings": self.settings.model_dump(mode="json", exclude={"checkpoint_seconds"}),
            "policy": dtype_policy(self.settings.precision),
            "versions": [tf.__version__, keras.__version__],
            **others,
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    def steps_until(self, epochs: float) -> int:
        """Number of steps when so many epochs are finished."""
        return steps_until(epochs, len(self.training), self.settings)

    def fitted(self, replicas: int) -> Job:
        """The job with a batch that the split has and that the replicas can share.

        Raises UserError if there is none, if a split has no annotated point, or if a draw has more
        points than the clouds.
        """
        for split, clouds in (("train", self.training), ("val", self.validation)):
            if not bool(tf.reduce_any(clouds.labels >= 0)):
                message = f"no cloud of {split} has an annotated point; give labelled shapes for it"
                raise UserError("cannot_train", message)
        settings, count = self.settings, len(self.training)
        available = self.training.points.shape[1]
        if (settings.points_per_draw or 0) > available:
            raise UserError(
                "cannot_train",
                f"training.points_per_draw is {settings.points_per_draw}, and the clouds have "
                f"{available} points each; lower it or raise transform.points_per_cloud",
            )
        if settings.batch_size % replicas:
            raise UserError(
                "cannot_train",
                f"training.batch_size is {settings.batch_size}; it must be a multiple of the "
                f"{replicas} devices that share a batch",
            )
        size = min(settings.batch_size, count) // replicas * replicas
        least = self.network.min_clouds_per_device
        if size < least * replicas:
            raise UserError(
                "cannot_train",
                f"a batch has {size} clouds (training.batch_size {settings.batch_size}, {count} "
                f"in train), and {replicas} devices need {least} each to train this network: "
                "give more shapes or a larger batch, or train on fewer devices",
            )
        if size < settings.batch_size:
            logging.warning("train has %d clouds: a step takes %d of them.", count, size)
        return replace(self, settings=settings.model_copy(update={"batch_size": size}))

    def class_weights(self) -> list[float] | None:
        """K class weights as the settings ask for them, from the points that Transform counted."""
        if self.settings.class_weights == "none":
            return None
        weights = class_weights(self.training.class_points, self.settings.class_weights)
        logging.info("Class weights: %s", ", ".join(f"{weight:.2f}" for weight in weights))
        return weights
