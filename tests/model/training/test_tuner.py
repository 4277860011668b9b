"""The Tuner on a tiny made set, as TFX calls it; and the Trainer's use of what it chose."""

import json
from types import SimpleNamespace

import keras_tuner
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx.components.tuner import executor
from tfx.types import standard_artifacts
from tfx.types.standard_component_specs import BEST_HYPERPARAMETERS_KEY, TUNER_RESULTS_KEY

from model.networks.families import NetworkSettings
from model.training import tuner as module
from model.training.curves import CURVES_FILE
from model.training.search_space import WIDTH_FACTOR, Recipe, search_space, with_choice
from model.training.settings import TrainingSettings, TuningSettings
from model.training.trainer import read_job
from model.training.tuner import ConfigThenRandom, RecipeTuner, best_score, tuner_fn
from preprocessing.settings import AugmentationSettings
from schema.errors import UserError
from tests.model.training.tiny import NARROW, POINTS, ROCKET, SETTINGS, clouds, job, write_split

TRAINING = SETTINGS.model_copy(update={"epochs": 8, "warmup_epochs": 4, "points_per_draw": None})
TINY = Recipe(network=NARROW, training=TRAINING)
DEFAULT = Recipe(network=NetworkSettings(), training=TrainingSettings())


@pytest.fixture(scope="module")
def fn_args(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuner")
    write_split(folder / "train.gz", clouds(8, 0))
    write_split(folder / "val.gz", clouds(4, 1))
    return SimpleNamespace(
        train_files=[str(folder / "train*")],
        eval_files=[str(folder / "val*")],
        working_dir=str(folder / "work"),
        hyperparameters=None,
        custom_config={
            **TINY.model_dump(mode="json"),
            "tuning": TuningSettings(trials=2, epochs=2).model_dump(mode="json"),
            "points_per_cloud": POINTS,
            "categories": [category.to_json() for category in ROCKET],
        },
    )


@pytest.fixture(scope="module")
def searched(fn_args, tmp_path_factory):
    """The trained jobs; the best hyperparameters and the trials, as TFX's executor writes them."""
    jobs, train = [], module.train

    def recorded(trial, directory):
        jobs.append(trial)
        return train(trial, directory)

    folder = tmp_path_factory.mktemp("outputs")
    best, results = standard_artifacts.HyperParameters(), standard_artifacts.TunerResults()
    best.uri, results.uri = str(folder / "best"), str(folder / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", recorded)
        made = tuner_fn(fn_args)
        made.tuner.search(**made.fit_kwargs)
    executor.write_best_hyperparameters(
        made.tuner, {BEST_HYPERPARAMETERS_KEY: [best], TUNER_RESULTS_KEY: [results]}
    )
    return (
        jobs,
        json.loads((folder / "best" / "best_hyperparameters.txt").read_text()),
        json.loads((folder / "results" / "tuner_results.json").read_text()),
    )


def test_trials_train_the_config_first_and_then_another_recipe_in_few_epochs(searched):
    first, second = searched[0]
    assert first.network == NARROW
    # The schedule is squeezed into two of eight epochs, its warm-up too.
    short = {"epochs": 2, "warmup_epochs": 1.0, "points_per_draw": POINTS}
    assert first.settings == TRAINING.model_copy(update=short)
    assert (second.settings.epochs, second.settings.warmup_epochs) == (2, 1.0)
    assert second.settings.learning_rate != first.settings.learning_rate


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
    chosen = read_job(SimpleNamespace(**{**vars(fn_args), "hyperparameters": best}))
    assert (chosen.network, chosen.settings) == with_choice(TINY, best["values"])
    assert chosen.settings.epochs == 8
    own = read_job(fn_args)
    assert (own.network, own.settings) == (NARROW, TRAINING)


def failing(tmp_path, monkeypatch, error, trials=2):
    def train(*_):
        raise error

    monkeypatch.setattr(module, "train", train)
    return RecipeTuner(job(8), TuningSettings(trials=trials, epochs=1), POINTS, str(tmp_path))


def test_no_recipe_is_chosen_if_every_trial_failed(tmp_path, monkeypatch):
    error = UserError("cannot_train", "the loss became nan")
    with pytest.raises(UserError) as raised:
        failing(tmp_path, monkeypatch, error, trials=5).search()
    assert raised.value.code == "cannot_train"
    assert all(fact in raised.value.message for fact in ("5 trials", "the loss became nan"))


def test_an_error_that_is_not_the_recipes_ends_the_search(tmp_path, monkeypatch):
    tuner = failing(tmp_path, monkeypatch, OSError("disk full"))
    with pytest.raises(keras_tuner.errors.FatalRuntimeError, match="disk full"):
        tuner.search()


def test_the_score_is_the_best_epochs(tmp_path):
    file = tmp_path / CURVES_FILE
    file.write_text("epoch,val_instance_miou\n1,0.25\n2,0.75\n3,0.5\n")
    assert best_score(file) == 0.75


def test_the_first_trial_is_the_config_and_the_same_seed_tries_the_same(monkeypatch):
    # Nothing is to be stored.
    monkeypatch.setattr(ConfigThenRandom, "save", lambda self: None)
    monkeypatch.setattr(ConfigThenRandom, "_save_trial", lambda self, trial: None)

    def tried(seed):
        oracle = ConfigThenRandom(
            objective=keras_tuner.Objective("score", "max"),
            max_trials=4,
            seed=seed,
            hyperparameters=search_space(TINY, 2048),
        )
        oracle.verbose = 0
        return [oracle.create_trial(f"tuner{i}").hyperparameters.values for i in range(4)]

    first, again, other = tried(1), tried(1), tried(2)
    assert first == again
    assert first[0] == other[0] == search_space(TINY, 2048).values
    assert first[1:] != other[1:]
    assert len({str(values) for values in first}) == 4


@st.composite
def configs(draw):
    """Any recipe that loads, odd ones too, and the points of a cloud."""
    scales = sorted(draw(st.lists(st.floats(0.01, 10), min_size=2, max_size=2)))
    points = draw(st.integers(1, 5000))
    rate = draw(st.floats(1e-7, 10))
    network = {"dropout": draw(st.floats(0, 0.99)), "head_widths": (draw(st.integers(1, 9)),)}
    training = TrainingSettings(
        learning_rate=rate,
        final_learning_rate=draw(st.floats(0, rate)),
        weight_decay=draw(st.one_of(st.just(0.0), st.floats(1e-8, 1))),
        batch_norm_momentum=draw(st.floats(0.01, 0.999)),
        points_per_draw=draw(st.one_of(st.none(), st.integers(1, points))),
        augmentation=AugmentationSettings(
            scale_low=scales[0],
            scale_high=scales[1],
            shift=draw(st.floats(0, 3)),
            jitter_sigma=draw(st.floats(0, 1)),
            jitter_clip=draw(st.floats(0, 1)),
        ),
    )
    return Recipe(network=network, training=training), points


@settings(max_examples=100)
@given(configs(), st.lists(st.floats(0, 1), min_size=15, max_size=15))
def test_every_draw_from_any_config_is_a_config_that_loads(config, places):
    recipe, points = config
    space = search_space(recipe, points).space
    values = {
        parameter.name: parameter.prob_to_value(min(place, 1 - 1e-9))
        for parameter, place in zip(space, places, strict=False)
    }
    _, tried = with_choice(recipe, values)
    assert 1 <= tried.points_per_draw <= points
    assert tried.learning_rate >= tried.final_learning_rate * (1 - 1e-9)
    drawn = {"points_per_draw": recipe.training.points_per_draw or points}
    own = with_choice(recipe, search_space(recipe, points).values)
    assert own == (recipe.network, recipe.training.model_copy(update=drawn))
    assert with_choice(recipe, {}) == (recipe.network, recipe.training)


def test_values_go_where_their_names_say():
    values = {
        "training.learning_rate": 0.002,
        "training.augmentation.shift": 0.15,
        "network.dropout": 0.4,
        WIDTH_FACTOR: 0.5,
    }
    network, training = with_choice(DEFAULT, values)
    augmentation = DEFAULT.training.augmentation.model_copy(update={"shift": 0.15})
    assert training == DEFAULT.training.model_copy(
        update={"learning_rate": 0.002, "augmentation": augmentation}
    )
    assert network.dropout == 0.4
    assert network.global_widths == (256, 1024)
    assert network.head_widths == (64,)
    narrow = Recipe(network=NetworkSettings(head_widths=(1,)), training=TRAINING)
    assert with_choice(narrow, {WIDTH_FACTOR: 0.5})[0].head_widths == (1,)


@pytest.mark.parametrize("name", ["training.speed", "training.seed.x", "speed"])
def test_a_name_that_the_config_does_not_know_is_refused(name):
    with pytest.raises(ValueError, match=name):
        with_choice(DEFAULT, {name: 3})
