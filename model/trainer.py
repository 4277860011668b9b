"""`run_fn`: what TFX's Trainer calls. Reads Transform's output, trains, exports the SavedModel."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from model.input_pipeline import read_clouds
from model.settings import NetworkSettings, TrainingSettings
from model.signatures import export
from model.training import train
from schema.categories import Category


def run_fn(fn_args: Any) -> None:
    """Trains PointNet and exports it.

    Args:
      fn_args: TFX's `FnArgs`. Used are `train_files`, `eval_files` (patterns of gzip TFRecords),
        `model_run_dir` (checkpoints, curves), `serving_model_dir` (the SavedModel) and
        `custom_config` with `network`, `training`, `points_per_cloud` and `categories`.
    """
    config = fn_args.custom_config
    categories = tuple(Category.from_json(value) for value in config["categories"])
    points_per_cloud = config["points_per_cloud"]
    network = train(
        read_clouds(_matching(fn_args.train_files), points_per_cloud),
        read_clouds(_matching(fn_args.eval_files), points_per_cloud),
        categories,
        NetworkSettings.model_validate(config["network"]),
        TrainingSettings.model_validate(config["training"]),
        fn_args.model_run_dir,
    )
    export(network, categories, fn_args.serving_model_dir)


def _matching(patterns: list[str]) -> list[str]:
    return [path for pattern in patterns for path in tf.io.gfile.glob(pattern)]
