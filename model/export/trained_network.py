"""The network as it was trained, in a folder of its SavedModel that servers ignore.

Keras cannot load weights from a SavedModel, and the served graph has batch norm folded. The next
training starts from these weights, and ModelServerProbe compares the served answers with them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf

from model.networks.families import NetworkSettings
from model.networks.interface import SegmentationNetwork
from schema.categories import Category


def weights_path(serving_model_dir: str) -> str:
    """The weights file in a SavedModel's folder."""
    return os.path.join(serving_model_dir, "assets.extra", "network.weights.h5")


def save_trained_network(
    network: SegmentationNetwork, categories: Sequence[Category], serving_model_dir: str
) -> None:
    """Writes the weights, and the settings and categories that they belong to."""
    about = {
        "settings": network.settings.model_dump(mode="json"),
        "num_classes": network.num_classes,
        "num_categories": network.num_categories,
        "categories": [category.to_json() for category in categories],
    }
    path = weights_path(serving_model_dir)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with TemporaryDirectory() as folder:
        # Keras writes local files only.
        local = os.path.join(folder, "new.weights.h5")
        network.save_weights(local)
        tf.io.gfile.copy(local, path, overwrite=True)
    with tf.io.gfile.GFile(_about_path(serving_model_dir), "w") as file:
        file.write(json.dumps(about, indent=1))


def load_trained_network(serving_model_dir: str) -> SegmentationNetwork:
    """The network that `save_trained_network` wrote, in float32; FileNotFoundError without one."""
    about = read_about(serving_model_dir)
    path = weights_path(serving_model_dir)
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(path)
    settings = NetworkSettings.model_validate(about["settings"])
    network = settings.build(about["num_classes"], about["num_categories"])
    with TemporaryDirectory() as folder:
        local = os.path.join(folder, "trained.weights.h5")
        tf.io.gfile.copy(path, local)
        network.load_weights(local)
    return network


def read_about(serving_model_dir: str) -> dict[str, Any]:
    """`settings`, `num_classes`, `num_categories` and `categories` of the trained network.

    Models exported by earlier releases have no `categories`. FileNotFoundError without a network.
    """
    path = _about_path(serving_model_dir)
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(path)
    with tf.io.gfile.GFile(path, "r") as file:
        about: dict[str, Any] = json.loads(file.read())
    return about


def _about_path(serving_model_dir: str) -> str:
    return os.path.join(os.path.dirname(weights_path(serving_model_dir)), "network.json")
