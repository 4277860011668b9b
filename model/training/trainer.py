"""`run_fn`: what TFX's Trainer calls. Reads Transform's output, trains, exports the SavedModel."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from model.export.settings import ServingSettings
from model.export.signatures import PARTS_ASSET, export
from model.export.trained_network import load_trained_network, save_trained_network
from model.training.checkpoints import Checkpoints
from model.training.cuda import load_cuda_libraries
from model.training.devices import is_chief, training_strategy
from model.training.input_pipeline import read_clouds
from model.training.job import Job
from model.training.loop import train
from model.training.search_space import Recipe, with_choice
from model.training.workers import lost_workers_reported, of_chief
from schema.categories import Category
from schema.errors import UserError


def run_fn(fn_args: Any) -> None:
    """Trains a network and exports it; resumes a training that was stopped.

    Among several workers only the chief writes; the others return when all is written.

    Of TFX's `FnArgs` it uses what `read_job` does, `train_steps` (if given, how long to train
    instead of the recipe's epochs), `model_run_dir` (curves), `serving_model_dir` (the SavedModel),
    `base_model` (the SavedModel to start from, if any) and of `custom_config` also `serving`,
    `code_fingerprint` and `training_state`, a folder that all workers see: without it a stopped
    training is not resumed.

    Raises UserError: see `train`; the base model's weights do not fit; a worker was lost.
    """
    load_cuda_libraries()
    strategy = training_strategy()  # before anything is computed
    config = fn_args.custom_config
    job = read_job(fn_args)
    if fn_args.train_steps:
        # As many epochs as hold these steps.
        count = len(job.training)
        epochs = -(-fn_args.train_steps * min(job.settings.batch_size, count) // count)
        job = replace(job, settings=job.settings.model_copy(update={"epochs": epochs}))
    base_model = fn_args.base_model
    if base_model and not tf.io.gfile.exists(os.path.join(base_model, "saved_model.pb")):
        logging.info("No model was pushed before: training starts from new weights.")
        base_model = None
    chief = is_chief(strategy)
    checkpoints = None
    if config.get("training_state"):
        name = job.identity(
            code=config.get("code_fingerprint"),
            base_model=base_model,
            replicas=strategy.num_replicas_in_sync,
        )
        checkpoints = Checkpoints(os.path.join(config["training_state"], name), chief)
    next_start = f"training {'is resumed from the last checkpoint' if checkpoints else 'restarts'}"
    with lost_workers_reported(strategy, next_start):
        weights = _fitting_weights(base_model, job) if base_model else None
        network = train(job, fn_args.model_run_dir, checkpoints, strategy, weights)
        if chief:
            serving = ServingSettings.model_validate(config.get("serving", {}))
            export(network, job.categories, fn_args.serving_model_dir, serving)
            save_trained_network(network, fn_args.serving_model_dir)
        # TFX looks for the model as soon as any worker returns.
        of_chief(strategy, [0.0])
    if checkpoints is not None:
        checkpoints.remove()


def read_job(fn_args: Any) -> Job:
    """The clouds and the recipe, with the values of the Tuner's best trial if there was one.

    It uses `train_files`, `eval_files` (patterns of gzip TFRecords), `hyperparameters` and of
    `custom_config` `network`, `training`, `points_per_cloud` and `categories`.
    """
    config = fn_args.custom_config
    values = (fn_args.hyperparameters or {}).get("values", {})
    if values:
        logging.info("The Tuner chose %s.", values)
    points = config["points_per_cloud"]
    return Job(
        read_clouds(fn_args.train_files, points),
        read_clouds(fn_args.eval_files, points),
        tuple(Category.from_json(value) for value in config["categories"]),
        *with_choice(Recipe(network=config["network"], training=config["training"]), values),
    )


def _fitting_weights(base_model: str, job: Job) -> list[np.ndarray]:
    """The weights of a model's network; UserError if the network or its parts are others."""
    try:
        network = load_trained_network(base_model)
    except FileNotFoundError:
        differences = ["it has no weights to start from"]
    else:
        with tf.io.gfile.GFile(os.path.join(base_model, "assets", PARTS_ASSET)) as file:
            categories = map(Category.from_json, json.loads(file.read())["categories"])
        parts, wanted = (
            [(category.name, category.parts) for category in group]
            for group in (categories, job.categories)
        )
        differences = [] if parts == wanted else [f"its parts are {parts} instead of {wanted}"]
        theirs = network.settings.weights_of()
        differences += [
            f"its network.{name} is {theirs.get(name)} instead of {value}"
            for name, value in job.network.weights_of().items()
            if theirs.get(name) != value
        ]
    if differences:
        raise UserError(
            "cannot_train",
            f"training.warm_start is last_blessed, but {base_model} does not fit: "
            f"{'; '.join(differences)}. Set warm_start to none, or train with the settings and "
            "the data of that model",
        )
    weights: list[np.ndarray] = network.get_weights()
    return weights
