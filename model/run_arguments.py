"""What TFX hands to `run_fn` and to `tuner_fn`, in our own terms."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from absl import logging

from model.input_pipeline import TransformedClouds, read_clouds
from model.search_space import changes, with_choice
from model.settings import NetworkSettings, TrainingSettings


def is_record_file(path: str) -> bool:
    """Whether a file in a split's folder has records; a failed Beam job leaves other ones there."""
    return not path.rstrip("/").rpartition("/")[2].startswith("beam-temp-")


def read_splits(fn_args: Any) -> tuple[TransformedClouds, TransformedClouds]:
    """The training and the validation clouds.

    Args:
      fn_args: TFX's `FnArgs`. Used are `train_files`, `eval_files` (patterns of gzip TFRecords) and
        `custom_config` with `points_per_cloud`.
    """
    points_per_cloud = fn_args.custom_config["points_per_cloud"]

    def read(patterns: list[str]) -> TransformedClouds:
        files = [path for pattern in patterns for path in tf.io.gfile.glob(pattern)]
        return read_clouds([path for path in files if is_record_file(path)], points_per_cloud)

    return read(fn_args.train_files), read(fn_args.eval_files)


def chosen_recipe(fn_args: Any) -> tuple[NetworkSettings, TrainingSettings]:
    """The config's recipe, with the values of the Tuner's best trial where there was a Tuner.

    Args:
      fn_args: TFX's `FnArgs`. Used are `hyperparameters` and `custom_config` with `network` and
        `training`.
    """
    network = NetworkSettings.model_validate(fn_args.custom_config["network"])
    training = TrainingSettings.model_validate(fn_args.custom_config["training"])
    values = (fn_args.hyperparameters or {}).get("values", {})
    for change in changes(network, training, values):
        logging.info("The Tuner chose %s", change)
    return with_choice(network, training, values)
