"""`run_fn`: writes the model and its weights; a finished training leaves no state behind."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from model import trainer
from model.network import build_network
from model.trained_network import weights_path
from model.trainer import run_fn
from schema.errors import UserError
from tests.model.tiny_training import PLAIN, ROCKET, SETTINGS, made


def write(path, clouds, class_points):
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for points, labels in zip(clouds.points.numpy(), clouds.labels.numpy(), strict=True):
            numbers = {"labels": labels, "category": [0], "class_points": class_points}
            feature = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for name, values in numbers.items()
                if values is not None
            }
            feature["points"] = tf.train.Feature(
                float_list=tf.train.FloatList(value=points.ravel())
            )
            features = tf.train.Features(feature=feature)
            writer.write(tf.train.Example(features=features).SerializeToString())


@pytest.fixture
def arguments(tmp_path):
    """What TFX would give, by the settings' changes."""

    def make(
        name="1",
        class_points=(90, 10),
        network=PLAIN,
        base_model=None,
        train_steps=None,
        **changes,
    ):
        write(tmp_path / "train.gz", made(8, 0), class_points)
        write(tmp_path / "val.gz", made(4, 1), class_points)
        return SimpleNamespace(
            train_files=[str(tmp_path / "train.gz")],
            eval_files=[str(tmp_path / "val.gz")],
            model_run_dir=str(tmp_path / "model_run" / name),
            serving_model_dir=str(tmp_path / "model" / name / "Format-Serving"),
            hyperparameters=None,
            base_model=base_model,
            train_steps=train_steps,
            custom_config={
                "categories": [category.to_json() for category in ROCKET],
                "network": network.model_dump(mode="json"),
                "training": SETTINGS.model_copy(update=changes).model_dump(mode="json"),
                "points_per_cloud": 32,
                "code_fingerprint": "0",
                "training_state": str(tmp_path / "training_state"),
            },
        )

    return make


@pytest.fixture
def given(monkeypatch):
    """What `train` is called with; it trains nothing."""
    calls = []

    def train(clouds, validation, categories, network, settings, directory, **others):
        network = build_network(network, 2)
        if others["initial_weights"]:
            network.load_weights(others["initial_weights"])
        calls.append(SimpleNamespace(clouds=clouds, network=network, settings=settings, **others))
        tf.io.gfile.makedirs(others["state"].folder)
        return network

    monkeypatch.setattr(trainer, "train", train)
    return calls


def test_the_model_its_weights_and_no_state_are_left(arguments, given):
    fn_args = arguments()
    run_fn(fn_args)
    assert tf.saved_model.contains_saved_model(fn_args.serving_model_dir)
    again = build_network(PLAIN, 2)
    again.load_weights(weights_path(fn_args.serving_model_dir))
    for one, other in zip(again.get_weights(), given[0].network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert os.listdir(fn_args.custom_config["training_state"]) == []


def make_empty_model(path):
    os.makedirs(path)
    (Path(path) / "saved_model.pb").touch()


@pytest.fixture
def no_export(monkeypatch):
    """Leaves out what takes seconds; the folder is there all the same."""
    monkeypatch.setattr(
        trainer, "export", lambda network, categories, path, settings: make_empty_model(path)
    )


@pytest.mark.usefixtures("no_export")
def test_the_state_is_that_of_this_training_alone(arguments, given):
    for name, changes in (("1", {}), ("2", {}), ("3", {"seed": 1})):
        run_fn(arguments(name, **changes))
    first, again, other = (call.state.folder for call in given)
    assert first == again != other


@pytest.mark.usefixtures("no_export")
def test_it_starts_from_the_given_models_weights(arguments, given):
    run_fn(arguments("1"))
    run_fn(arguments("2", base_model=arguments("1").serving_model_dir, seed=1))
    for one, other in zip(*(call.network.get_weights() for call in given), strict=True):
        np.testing.assert_array_equal(one, other)
    assert given[0].state.folder != given[1].state.folder


def test_a_model_without_weights_cannot_be_started_from(arguments, given, tmp_path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UserError, match=r"model has no weights in .*warm_start none first"):
        run_fn(arguments(base_model=str(tmp_path)))


@pytest.mark.usefixtures("no_export")
def test_no_model_to_start_from_means_new_weights(arguments, given, tmp_path):
    run_fn(arguments(base_model=str(tmp_path / "nothing was pushed" / "Format-Serving")))
    assert given[0].initial_weights is None


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize(("steps", "epochs"), [(None, 2), (1, 1), (2, 1), (3, 2), (10, 5)])
def test_steps_are_rounded_up_to_whole_epochs(arguments, given, steps, epochs):
    # Eight clouds, four a step: two steps an epoch.
    run_fn(arguments(train_steps=steps, batch_size=4, epochs=2))
    assert given[0].settings.epochs == epochs


def test_weights_of_another_shape_are_refused_in_a_sentence(arguments):
    fn_args = arguments("2", base_model=arguments("1").serving_model_dir)
    path = weights_path(fn_args.base_model)
    os.makedirs(os.path.dirname(path))
    (Path(fn_args.base_model) / "saved_model.pb").touch()
    wider = PLAIN.model_copy(update={"head_widths": (32,)})
    build_network(wider, 2).save_weights(path)
    with pytest.raises(UserError, match="do not fit this network, which has other widths"):
        run_fn(fn_args)
    build_network(PLAIN, 3).save_weights(path)
    with pytest.raises(UserError, match=r"or other\s+parts.*warm_start none"):
        run_fn(fn_args)
    with open(path, "wb") as file:
        file.write(b"no weights")
    with pytest.raises(UserError, match="or the file is damaged"):
        run_fn(fn_args)


@pytest.mark.usefixtures("no_export")
def test_transforms_count_of_each_classs_points_arrives(arguments, given):
    run_fn(arguments())
    assert given[0].clouds.class_points.numpy().tolist() == [90, 10]
    run_fn(arguments("2", class_points=None))
    assert given[1].clouds.class_points is None


def test_classes_cannot_be_weighed_without_the_count(arguments):
    with pytest.raises(UserError, match="class_weights is inverse_sqrt, and Transform's"):
        run_fn(arguments(class_points=None, class_weights="inverse_sqrt"))
