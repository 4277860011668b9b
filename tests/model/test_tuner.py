"""The Tuner on a tiny made set, as TFX calls it; and the Trainer's use of what it chose."""

import json
from types import SimpleNamespace

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from tfx.components.tuner import executor
from tfx.types import standard_artifacts
from tfx.types.standard_component_specs import BEST_HYPERPARAMETERS_KEY, TUNER_RESULTS_KEY

from model import tuner as tuner_module
from model.curves import CURVES_FILE
from model.run_arguments import chosen_recipe
from model.search_space import search_space, with_choice
from model.settings import NetworkSettings, TrainingSettings, TuningSettings
from model.tuner import ConfigThenRandom, RecipeTuner, best_score, tuner_fn
from schema.categories import Category
from schema.errors import UserError

ROCKET = Category("Rocket", "1", ("body", "nose"))
POINTS = 32
NETWORK = NetworkSettings(
    local_widths=(8, 8),
    global_widths=(8, 16),
    transform_widths=(8, 8),
    transform_dense_widths=(8,),
    head_widths=(16,),
)
TRAINING = TrainingSettings(
    epochs=8, batch_size=4, learning_rate=0.01, warmup_epochs=4, precision="float32"
)


def write_split(file, count, seed):
    """Transformed clouds; a point is nose where it is above the middle."""
    rng = np.random.default_rng(seed)
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for _ in range(count):
            points = rng.uniform(-0.6, 0.6, (POINTS, 3)).astype(np.float32)
            example = tf.train.Example()
            feature = example.features.feature
            feature["points"].float_list.value.extend(points.reshape(-1))
            feature["labels"].int64_list.value.extend((points[:, 2] > 0).astype(int))
            feature["category"].int64_list.value.append(0)
            writer.write(example.SerializeToString())


@pytest.fixture(scope="module")
def fn_args(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuner")
    write_split(folder / "train.gz", 8, 0)
    write_split(folder / "val.gz", 4, 1)
    return SimpleNamespace(
        train_files=[str(folder / "train*")],
        eval_files=[str(folder / "val*")],
        working_dir=str(folder / "work"),
        hyperparameters=None,
        custom_config={
            "network": NETWORK.model_dump(mode="json"),
            "training": TRAINING.model_dump(mode="json"),
            "tuning": TuningSettings(trials=2, epochs=2).model_dump(mode="json"),
            "points_per_cloud": POINTS,
            "categories": [ROCKET.to_json()],
        },
    )


@pytest.fixture(scope="module")
def searched(fn_args, tmp_path_factory):
    """The best hyperparameters and the table of trials, as TFX's executor writes them."""
    recipes = []

    def train(clouds, validation, categories, network, training, directory):
        recipes.append((network, training))
        return real_train(clouds, validation, categories, network, training, directory)

    folder = tmp_path_factory.mktemp("outputs")
    best, results = standard_artifacts.HyperParameters(), standard_artifacts.TunerResults()
    best.uri, results.uri = str(folder / "best"), str(folder / "results")
    real_train = tuner_module.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuner_module, "train", train)
        made = tuner_fn(fn_args)
        made.tuner.search(**made.fit_kwargs)
    executor.write_best_hyperparameters(
        made.tuner, {BEST_HYPERPARAMETERS_KEY: [best], TUNER_RESULTS_KEY: [results]}
    )
    return (
        recipes,
        json.loads((folder / "best" / "best_hyperparameters.txt").read_text()),
        json.loads((folder / "results" / "tuner_results.json").read_text()),
    )


def test_trials_train_the_config_first_and_then_another_recipe_in_few_epochs(searched):
    (first_network, first), (_, second) = searched[0]
    assert first_network == NETWORK
    # The schedule is squeezed into two of eight epochs, its warm-up too.
    short = {"epochs": 2, "warmup_epochs": 1.0, "points_per_draw": POINTS}
    assert first == TRAINING.model_copy(update=short)
    assert (second.epochs, second.warmup_epochs) == (2, 1.0)
    assert second.learning_rate != first.learning_rate


def test_the_table_has_every_trials_values_and_score_the_best_first(searched):
    _, best, results = searched
    assert sorted(row["trial_id"] for row in results) == ["0", "1"]
    scores = [row["score"] for row in results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    values = {k: v for k, v in results[0].items() if k not in ("trial_id", "score")}
    assert best["values"] == values


def test_the_trainer_takes_the_best_recipe_with_the_configs_own_epochs(searched, fn_args):
    _, best, _ = searched
    chosen = SimpleNamespace(**{**vars(fn_args), "hyperparameters": best})
    network, training = chosen_recipe(chosen)
    assert (network, training) == with_choice(NETWORK, TRAINING, best["values"])
    assert training.epochs == 8
    assert chosen_recipe(fn_args) == (NETWORK, TRAINING)


def failing(tmp_path, monkeypatch, error, trials=2):
    def train(*_):
        raise error

    monkeypatch.setattr(tuner_module, "train", train)
    tuning = TuningSettings(trials=trials, epochs=1)
    return RecipeTuner((ROCKET,), NETWORK, TRAINING, tuning, POINTS, str(tmp_path))


def test_no_recipe_is_chosen_where_every_trial_failed(tmp_path, monkeypatch):
    tuner = failing(
        tmp_path, monkeypatch, UserError("cannot_train", "the loss became nan"), trials=5
    )
    said = r"^none of the Tuner's 5 trials could be trained\. .*: the loss became nan$"
    with pytest.raises(UserError, match=said):
        tuner.search(clouds=None, validation=None)


def test_a_fault_that_is_no_recipes_ends_the_search(tmp_path, monkeypatch):
    tuner = failing(tmp_path, monkeypatch, OSError("disk full"))
    with pytest.raises(keras_tuner.errors.FatalRuntimeError, match="disk full"):
        tuner.search(clouds=None, validation=None)


def test_the_score_is_the_best_epochs(tmp_path):
    file = tmp_path / CURVES_FILE
    file.write_text("epoch,val_instance_miou\n1,0.25\n2,0.75\n3,0.5\n")
    assert best_score(file) == 0.75


def tried(seed):
    oracle = ConfigThenRandom(
        objective=keras_tuner.Objective("score", "max"),
        max_trials=4,
        seed=seed,
        hyperparameters=search_space(NETWORK, TRAINING, 2048),
    )
    oracle.verbose = 0
    return [oracle.create_trial(f"tuner{i}").hyperparameters.values for i in range(4)]


def test_the_first_trial_is_the_config_and_the_same_seed_tries_the_same(monkeypatch):
    # Nothing is to be stored.
    monkeypatch.setattr(ConfigThenRandom, "save", lambda self: None)
    monkeypatch.setattr(ConfigThenRandom, "_save_trial", lambda self, trial: None)
    first, again, other = tried(1), tried(1), tried(2)
    defaults = {found.name: found.default for found in search_space(NETWORK, TRAINING, 2048).space}
    assert first == again
    assert first[0] == other[0] == defaults
    assert first[1:] != other[1:]
    assert len({str(values) for values in first}) == 4
