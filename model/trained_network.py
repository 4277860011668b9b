"""The network as it was trained, inside the folder of the SavedModel that is made of it.

Keras cannot load weights from a SavedModel, and what is served has batch norm folded away. The next
training starts from these weights, and what is served is held against this network. They lie where
servers do not look, and go wherever the model is pushed to.
"""

from __future__ import annotations

import json
import os
from tempfile import TemporaryDirectory

import tensorflow as tf

from model.network import PointNet
from model.settings import NetworkSettings

_FOLDER = "assets.extra"


def weights_path(serving_model_dir: str) -> str:
    """Where the weights of the network behind a SavedModel lie, given that one's folder."""
    return os.path.join(serving_model_dir, _FOLDER, "network.weights.h5")


def save_trained_network(network: PointNet, serving_model_dir: str) -> None:
    """Writes the weights and what makes the same network into the SavedModel's folder."""
    about = {
        "settings": network.settings.model_dump(mode="json"),
        "num_classes": network.num_classes,
        "num_categories": network.num_categories,
    }
    tf.io.gfile.makedirs(os.path.join(serving_model_dir, _FOLDER))
    with TemporaryDirectory() as folder:
        # Keras writes files of this machine only.
        local = os.path.join(folder, "new.weights.h5")
        network.save_weights(local)
        tf.io.gfile.copy(local, weights_path(serving_model_dir), overwrite=True)
    with tf.io.gfile.GFile(_about_path(serving_model_dir), "w") as file:
        file.write(json.dumps(about, indent=1))


def load_trained_network(serving_model_dir: str) -> PointNet:
    """The network that `save_trained_network` wrote, computing in float32.

    Raises:
      FileNotFoundError: there is none.
    """
    for path in (_about_path(serving_model_dir), weights_path(serving_model_dir)):
        if not tf.io.gfile.exists(path):
            raise FileNotFoundError(path)
    with tf.io.gfile.GFile(_about_path(serving_model_dir), "r") as file:
        about = json.loads(file.read())
    settings = NetworkSettings.model_validate(about.pop("settings"))
    network = PointNet(settings, **about, dtype="float32")
    with TemporaryDirectory() as folder:
        local = os.path.join(folder, "trained.weights.h5")
        tf.io.gfile.copy(weights_path(serving_model_dir), local)
        network.load_weights(local)
    return network


def _about_path(serving_model_dir: str) -> str:
    return os.path.join(serving_model_dir, _FOLDER, "network.json")
