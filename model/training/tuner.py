"""`tuner_fn`: what TFX's Tuner calls. Tries recipes by short trainings; the Trainer takes the best.

A trial is the Trainer's own training loop on the same clouds, with other values and fewer epochs.
Its score is the best instance mIoU on val, which also chooses the checkpoint; test is never used.
The first trial is the config's own recipe, so the choice is not worse than that on val. The same
clouds, settings and seed try the same recipes.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras_tuner
import tensorflow as tf
from absl import logging
from tfx import v1 as tfx

from model.training.cuda import load_cuda_libraries
from model.training.curves import CURVES_FILE
from model.training.job import Job
from model.training.loop import train
from model.training.search_space import Recipe, search_space, with_choice
from model.training.settings import TuningSettings
from model.training.trainer import read_job
from model.training.validation import MONITORED
from schema.errors import UserError


class ConfigThenRandom(keras_tuner.oracles.RandomSearchOracle):
    """Random search whose first trial is the defaults, the config's own recipe."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if self.trials:
            return super().populate_space(trial_id)
        return {"status": "RUNNING", "values": self.get_space().values}


class RecipeTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs the trials of a job's recipe; KerasTuner keeps its state in `directory`."""

    def __init__(self, job: Job, tuning: TuningSettings, points_per_cloud: int, directory: str):
        self.job = job
        self.recipe = Recipe(network=job.network, training=job.settings)
        self.tuning = tuning
        self.failures: list[str] = []
        oracle = ConfigThenRandom(
            objective=keras_tuner.Objective(MONITORED, "max"),
            max_trials=tuning.trials,
            seed=tuning.seed + 1,  # KerasTuner takes 0 for no seed.
            hyperparameters=search_space(self.recipe, points_per_cloud),
            # Its own error for many failures in a row would be a traceback; see `search`.
            max_consecutive_failed_trials=tuning.trials + 1,
        )
        oracle.verbose = 0
        super().__init__(oracle, directory=directory, project_name="trials", overwrite=True)

    def run_trial(self, trial: Any) -> dict[str, float]:
        """Trains once and returns the best instance mIoU on val.

        Raises FailedTrialError if this recipe cannot be trained, after which the search continues,
        and FatalRuntimeError for everything else.
        """
        network, training = with_choice(self.recipe, trial.hyperparameters.values)
        epochs = min(self.tuning.epochs, training.epochs)
        # The whole schedule in fewer epochs, warm-up included.
        warmup = training.warmup_epochs * epochs / training.epochs
        training = training.model_copy(update={"epochs": epochs, "warmup_epochs": warmup})
        with TemporaryDirectory() as folder:
            try:
                train(replace(self.job, network=network, settings=training), folder)
            except (UserError, tf.errors.ResourceExhaustedError) as error:
                logging.warning("Trial %s failed: %s", trial.trial_id, error)
                self.failures.append(str(error))
                raise keras_tuner.errors.FailedTrialError(str(error)) from error
            except Exception as error:
                raise keras_tuner.errors.FatalRuntimeError(str(error)) from error
            score = best_score(Path(folder) / CURVES_FILE)
        logging.info("Trial %s ended with %s %.4f.", trial.trial_id, MONITORED, score)
        return {MONITORED: score}

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Runs all trials; UserError if none ended with a score."""
        super().search(*fit_args, **fit_kwargs)
        if not any(trial.status == "COMPLETED" for trial in self.oracle.trials.values()):
            reason = self.failures[0] if self.failures else f"{MONITORED} is not a number"
            message = f"none of the Tuner's {self.tuning.trials} trials could be trained. The first"
            raise UserError("cannot_train", f"{message} one: {reason}")


def tuner_fn(fn_args: Any) -> tfx.components.TunerFnResult:
    """Makes the search from TFX's `FnArgs`.

    It uses `train_files`, `eval_files`, `working_dir` and `custom_config` with `network`,
    `training`, `tuning`, `points_per_cloud` and `categories`.
    """
    load_cuda_libraries()
    config = fn_args.custom_config
    tuning = TuningSettings.model_validate(config["tuning"])
    points = config["points_per_cloud"]
    tuner = RecipeTuner(read_job(fn_args), tuning, points, fn_args.working_dir)
    return tfx.components.TunerFnResult(tuner=tuner, fit_kwargs={})


def best_score(curves: Path) -> float:
    """The highest validation instance mIoU of a training's curves.csv."""
    with curves.open(newline="", encoding="utf-8") as file:
        return max(float(row[MONITORED]) for row in csv.DictReader(file))
