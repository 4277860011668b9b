"""`run_fn`: what TFX's Trainer calls. Reads Transform's output, trains, exports the SavedModel."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf
from absl import logging

from model.devices import is_chief, training_strategy
from model.input_pipeline import TransformedClouds, steps_per_epoch
from model.run_arguments import chosen_recipe, read_splits
from model.settings import ServingSettings, TrainingSettings
from model.signatures import export
from model.trained_network import save_trained_network, weights_path
from model.training import identity, train
from model.training_state import TrainingState
from model.workers import lost_workers_named, wait_for_all
from schema.categories import Category
from schema.errors import UserError


def run_fn(fn_args: Any) -> None:
    """Trains PointNet and exports it; takes up a training that was stopped where it was.

    Among several workers only the chief writes; the others train with it, and return when all is
    written. They all must see `training_state`.

    Args:
      fn_args: TFX's `FnArgs`. Used are `train_files`, `eval_files` (patterns of gzip TFRecords),
        `train_steps` (if given, how long to train in place of the recipe's epochs),
        `model_run_dir` (checkpoints, curves), `serving_model_dir` (the SavedModel),
        `hyperparameters` (the Tuner's choice, if there was one), `base_model` (the SavedModel to
        start from, if any) and `custom_config` with `network`, `training`, `points_per_cloud`,
        `categories`, `serving`, `code_fingerprint` and, where unfinished trainings are to be kept,
        `training_state`, a folder.

    Raises:
      UserError: see `train`; or one of several workers was lost.
    """
    strategy = training_strategy()  # before anything is computed
    values = fn_args.custom_config["categories"]
    categories = tuple(Category.from_json(value) for value in values)
    clouds, validation = read_splits(fn_args)
    network_settings, settings = chosen_recipe(fn_args)
    settings = for_steps(settings, fn_args.train_steps, clouds)
    data = (clouds, validation, categories, network_settings, settings)
    base_model = fn_args.base_model
    if base_model and not tf.io.gfile.exists(os.path.join(base_model, "saved_model.pb")):
        logging.info("No model was pushed before: training starts from new weights.")
        base_model = None
    with TemporaryDirectory() as folder:
        initial = _local_copy(weights_path(base_model), folder) if base_model else None
        state = None
        if fn_args.custom_config.get("training_state"):
            name = identity(
                *data,
                code=fn_args.custom_config.get("code_fingerprint"),
                base_model=base_model,
                replicas=strategy.num_replicas_in_sync,
            )
            state = TrainingState(os.path.join(fn_args.custom_config["training_state"], name))
        then = f"training {'goes on from its last checkpoint' if state else 'begins anew'}"
        with lost_workers_named(strategy, then):
            network = train(
                *data,
                fn_args.model_run_dir,
                state=state,
                strategy=strategy,
                initial_weights=initial,
            )
            if is_chief(strategy):
                serving = ServingSettings.model_validate(fn_args.custom_config.get("serving", {}))
                export(network, categories, fn_args.serving_model_dir, serving)
                save_trained_network(network, fn_args.serving_model_dir)
            wait_for_all(strategy)
    if state is not None and is_chief(strategy):
        state.remove()


def for_steps(
    settings: TrainingSettings, steps: int | None, clouds: TransformedClouds
) -> TrainingSettings:
    """The recipe with as many whole epochs as hold so many steps; None or 0: the recipe's own."""
    if not steps:
        return settings
    epochs = -(-steps // steps_per_epoch(clouds, settings))
    logging.info("train_args asks for %d steps: %d epochs.", steps, epochs)
    return settings.model_copy(update={"epochs": epochs})


def _local_copy(path: str, folder: str) -> str:
    """A weights file as one of this machine.

    Raises:
      UserError: it is not there.
    """
    if not tf.io.gfile.exists(path):
        raise UserError(
            "cannot_train",
            f"training.warm_start is last_blessed, and that model has no weights in {path}: it was "
            "made before they were kept. Train one with warm_start none first",
        )
    local = os.path.join(folder, "initial.weights.h5")
    tf.io.gfile.copy(path, local)
    return local
