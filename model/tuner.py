"""`tuner_fn`: what TFX's Tuner calls. Tries recipes by short trainings; the Trainer takes the best.

A trial is the Trainer's own training loop (`model.training.train`) on the same clouds, with other
values and fewer epochs. What counts is the best instance mIoU on val, which also chooses the
checkpoint; test is never seen. The first trial is the config's own recipe: the choice is no worse
than that on val. The same clouds, settings and seed try the same recipes.
"""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras_tuner
import tensorflow as tf
from absl import logging
from tfx import v1 as tfx

from model.curves import CURVES_FILE
from model.input_pipeline import TransformedClouds
from model.run_arguments import chosen_recipe, read_splits
from model.search_space import changes, search_space, with_choice
from model.settings import NetworkSettings, TrainingSettings, TuningSettings
from model.training import MONITORED, train
from schema.categories import Category
from schema.errors import UserError

CONFIGS_OWN = "the config's own recipe"


class ConfigThenRandom(keras_tuner.oracles.RandomSearchOracle):
    """Random search whose first trial is the defaults: what the config says."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if self.trials:
            return super().populate_space(trial_id)
        values = {found.name: found.default for found in self.get_space().space}
        return {"status": "RUNNING", "values": values}


class RecipeTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs the trials.

    Args:
      categories: in the order of the model's classes.
      network: the config's.
      training: the config's.
      tuning: how many trials, and how long.
      points_per_cloud: points of a cloud that Transform keeps.
      directory: where KerasTuner keeps its state.
    """

    def __init__(
        self,
        categories: tuple[Category, ...],
        network: NetworkSettings,
        training: TrainingSettings,
        tuning: TuningSettings,
        points_per_cloud: int,
        directory: str,
    ):
        self.categories = categories
        self.network = network
        self.training = training
        self.tuning = tuning
        self.failures: list[str] = []
        oracle = ConfigThenRandom(
            objective=keras_tuner.Objective(MONITORED, "max"),
            max_trials=tuning.trials,
            seed=tuning.seed + 1,  # KerasTuner takes 0 for no seed
            hyperparameters=search_space(network, training, points_per_cloud),
            # Its own error for many failures in a row would be a traceback; see search.
            max_consecutive_failed_trials=tuning.trials + 1,
        )
        oracle.verbose = 0
        super().__init__(oracle, directory=directory, project_name="trials", overwrite=True)

    def run_trial(
        self, trial: Any, clouds: TransformedClouds, validation: TransformedClouds
    ) -> dict[str, float]:
        """Trains once.

        Returns:
          The best instance mIoU on val.

        Raises:
          FailedTrialError: this recipe cannot be trained; the search goes on.
          FatalRuntimeError: training itself is at fault, whatever the recipe.
        """
        values = trial.hyperparameters.values
        network, training = with_choice(self.network, self.training, values)
        epochs = min(self.tuning.epochs, training.epochs)
        # The whole schedule in fewer epochs, warm-up included.
        warmup = training.warmup_epochs * epochs / training.epochs
        training = training.model_copy(update={"epochs": epochs, "warmup_epochs": warmup})
        with TemporaryDirectory() as folder:
            try:
                train(clouds, validation, self.categories, network, training, folder)
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
        """Runs all trials.

        Raises:
          UserError: not one ended with a score.
        """
        super().search(*fit_args, **fit_kwargs)
        if not any(trial.status == "COMPLETED" for trial in self.oracle.trials.values()):
            reason = self.failures[0] if self.failures else f"{MONITORED} is no number"
            raise UserError(
                "cannot_train",
                f"none of the Tuner's {self.tuning.trials} trials could be trained. The first one: "
                f"{reason}",
            )

    def search_space_summary(self, extended: bool = False) -> None:
        """Logs what is searched; TFX asks for it before the search."""
        for found in self.oracle.get_space().space:
            logging.info("The Tuner searches %r", found)

    def results_summary(self, num_trials: int = 10) -> None:
        """Logs the best trials, the best one first; TFX asks for it after the search."""
        for trial in self.oracle.get_best_trials(num_trials):
            chosen = "; ".join(changes(self.network, self.training, trial.hyperparameters.values))
            score = "failed" if trial.score is None else f"{MONITORED} {trial.score:.4f}"
            logging.info("Trial %s: %s with %s", trial.trial_id, score, chosen or CONFIGS_OWN)


def tuner_fn(fn_args: Any) -> tfx.components.TunerFnResult:
    """Makes the search.

    Args:
      fn_args: TFX's `FnArgs`. Used are `train_files`, `eval_files`, `working_dir` and
        `custom_config` with `network`, `training`, `tuning`, `points_per_cloud` and `categories`.
    """
    config = fn_args.custom_config
    clouds, validation = read_splits(fn_args)
    tuner = RecipeTuner(
        tuple(Category.from_json(value) for value in config["categories"]),
        *chosen_recipe(fn_args),
        TuningSettings.model_validate(config["tuning"]),
        config["points_per_cloud"],
        fn_args.working_dir,
    )
    return tfx.components.TunerFnResult(
        tuner=tuner, fit_kwargs={"clouds": clouds, "validation": validation}
    )


def best_score(curves: Path) -> float:
    """The highest validation instance mIoU of a training's curves.csv."""
    with curves.open(newline="", encoding="utf-8") as file:
        return max(float(row[MONITORED]) for row in csv.DictReader(file))
