"""The network as it was trained, in a folder of its SavedModel that servers ignore.

Keras cannot load weights from a SavedModel, and the served graph has batch norm folded. The next
training starts from these weights, and ModelServerProbe compares the served answers with them.
"""

from __future__ import annotations

import json
import os
from tempfile import TemporaryDirectory

import tensorflow as tf

from model.networks.families import NetworkSettings
from model.networks.interface import SegmentationNetwork


def weights_path(serving_model_dir: str) -> str:
    """The weights file in a SavedModel's folder."""
    return os.path.join(serving_model_dir, "assets.extra", "network.weights.h5")


def save_trained_network(network: SegmentationNetwork, serving_model_dir: str) -> None:
    """Writes the weights and the settings that make the same network."""
    about = {
        "settings": network.settings.model_dump(mode="json"),
        "num_classes": network.num_classes,
        "num_categories": network.num_categories,
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
    about_path, path = _about_path(serving_model_dir), weights_path(serving_model_dir)
    for needed in (about_path, path):
        if not tf.io.gfile.exists(needed):
            raise FileNotFoundError(needed)
    with tf.io.gfile.GFile(about_path, "r") as file:
        about = json.loads(file.read())
    settings = NetworkSettings.model_validate(about["settings"])
    network = settings.build(about["num_classes"], about["num_categories"])
    with TemporaryDirectory() as folder:
        local = os.path.join(folder, "trained.weights.h5")
        tf.io.gfile.copy(path, local)
        network.load_weights(local)
    return network


def _about_path(serving_model_dir: str) -> str:
    return os.path.join(os.path.dirname(weights_path(serving_model_dir)), "network.json")
