"""`run_fn`: writes the model and its weights; a finished training leaves no checkpoint."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from model.export.signatures import PARTS_ASSET
from model.export.trained_network import load_trained_network
from model.training import trainer
from model.training.trainer import run_fn
from schema.categories import Category
from schema.errors import UserError
from tests.model.training.tiny import PLAIN, ROCKET, SETTINGS, clouds, write_split


@pytest.fixture
def arguments(tmp_path):
    """What TFX would give, by the settings' changes."""

    def make(
        name="1",
        class_points=(90, 10),
        network=PLAIN,
        base_model=None,
        train_steps=None,
        categories=ROCKET,
        **changes,
    ):
        write_split(tmp_path / "train.gz", clouds(8, 0), class_points)
        write_split(tmp_path / "val.gz", clouds(4, 1), class_points)
        return SimpleNamespace(
            train_files=[str(tmp_path / "train.gz")],
            eval_files=[str(tmp_path / "val.gz")],
            model_run_dir=str(tmp_path / "model_run" / name),
            serving_model_dir=str(tmp_path / "model" / name / "Format-Serving"),
            hyperparameters=None,
            base_model=base_model,
            train_steps=train_steps,
            custom_config={
                "categories": [category.to_json() for category in categories],
                "network": network.model_dump(mode="json"),
                "training": SETTINGS.model_copy(update=changes).model_dump(mode="json"),
                "points_per_cloud": 32,
                "code_fingerprint": "0",
                "training_state": str(tmp_path / "training_state"),
            },
        )

    return make


@pytest.fixture
def calls(monkeypatch):
    """The calls of `train`, which trains nothing, and of `export`, which writes little."""
    calls = []

    def train(job, directory, checkpoints, strategy, initial_weights):
        network = job.network.build(2)
        if initial_weights:
            network.set_weights(initial_weights)
        calls.append(SimpleNamespace(job=job, network=network, checkpoints=checkpoints))
        tf.io.gfile.makedirs(checkpoints.folder)
        return network

    def export(network, categories, directory, settings):
        os.makedirs(f"{directory}/assets")
        Path(directory, "saved_model.pb").touch()
        about = {"categories": [category.to_json() for category in categories]}
        Path(directory, "assets", PARTS_ASSET).write_text(json.dumps(about))

    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.setattr(trainer, "export", export)
    return calls


def test_the_model_and_its_weights_are_left_and_no_checkpoint(arguments):
    fn_args = arguments(epochs=1)
    run_fn(fn_args)
    assert tf.saved_model.contains_saved_model(fn_args.serving_model_dir)
    points = clouds(2, 3).points
    served = tf.saved_model.load(fn_args.serving_model_dir).signatures["serve_padded"]
    sizes = tf.constant([32, 32], tf.int64)
    probability = served(points=points, num_points=sizes)["probability"]
    network = load_trained_network(fn_args.serving_model_dir)
    assert network.settings == PLAIN
    # The signature normalises; these points are of another centre and size.
    centred = points - tf.reduce_mean(points, axis=1, keepdims=True)
    radius = tf.reduce_max(tf.norm(centred, axis=2), axis=1)[:, None, None]
    expected = tf.nn.softmax(network(centred / radius))
    np.testing.assert_allclose(probability, expected, atol=1e-5)
    assert os.listdir(fn_args.custom_config["training_state"]) == []


def test_checkpoints_are_those_of_this_training_alone(arguments, calls):
    for name, changes in (("1", {}), ("2", {}), ("3", {"seed": 1})):
        run_fn(arguments(name, **changes))
    first, again, other = (call.checkpoints.folder for call in calls)
    assert first == again != other


def test_it_starts_from_the_given_models_weights(arguments, calls, tmp_path):
    first = arguments("1")
    run_fn(first)
    # Dropout and the orthogonality loss's weight do not change what weights mean.
    network = PLAIN.model_copy(update={"dropout": 0.4, "orthogonality": 0.0})
    run_fn(arguments("2", base_model=first.serving_model_dir, seed=1, network=network))
    for one, other in zip(*(call.network.get_weights() for call in calls), strict=True):
        np.testing.assert_array_equal(one, other)
    assert calls[0].checkpoints.folder != calls[1].checkpoints.folder
    # No model was pushed before: new weights.
    run_fn(arguments("3", base_model=str(tmp_path / "nothing" / "Format-Serving"), seed=2))
    assert (calls[2].network.logits_kernel.numpy() != calls[0].network.logits_kernel.numpy()).any()


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        # The same shapes, but the parts are others.
        ({"categories": (Category("Rocket", "1", ("nose", "body")),)}, ("nose", "body")),
        ({"categories": (Category("Mug", "2", ("body", "nose")),)}, ("Mug", "Rocket")),
        ({"network": PLAIN.model_copy(update={"head_widths": (32,)})}, ("head_widths", "32")),
        ({"network": PLAIN.model_copy(update={"input_transform": True})}, ("input_transform",)),
    ],
)
def test_weights_of_other_parts_or_another_network_are_refused(arguments, calls, changes, facts):
    first = arguments("1")
    run_fn(first)
    with pytest.raises(UserError) as error:
        run_fn(arguments("2", base_model=first.serving_model_dir, **changes))
    assert error.value.code == "cannot_train"
    assert all(fact in error.value.message for fact in facts)
    assert len(calls) == 1


def test_a_model_without_weights_cannot_be_started_from(arguments, calls, tmp_path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UserError) as error:
        run_fn(arguments(base_model=str(tmp_path)))
    assert str(tmp_path) in error.value.message


@pytest.mark.parametrize(("steps", "epochs"), [(None, 2), (1, 1), (2, 2), (3, 3), (10, 8)])
def test_steps_are_rounded_up_to_whole_epochs(arguments, calls, steps, epochs):
    # Eight clouds, six a step: three epochs are four steps.
    run_fn(arguments(train_steps=steps, batch_size=6, epochs=2))
    assert calls[0].job.settings.epochs == epochs


def test_classes_are_weighed_by_transforms_count(arguments, calls):
    run_fn(arguments(class_weights="inverse_sqrt"))
    assert calls[0].job.class_weights() == pytest.approx([1, 3])
