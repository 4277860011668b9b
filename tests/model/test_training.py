"""The training loop on a tiny made set: it learns and keeps the best epoch."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from model import training
from model.curves import CURVES_FILE
from model.metrics import evaluate
from model.network import build_network
from model.settings import TrainingSettings
from model.training import make_optimizer, train
from tests.model.tiny_training import NARROW, ROCKET, SETTINGS, made


def trained(folder, settings=SETTINGS):
    network = train(made(16, 0), made(6, 1), ROCKET, NARROW, settings, str(folder))
    with (folder / CURVES_FILE).open(newline="") as file:
        return network, list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run"))


def test_it_learns(run):
    _, curves = run
    assert float(curves[-1]["loss"]) < 0.7 * float(curves[0]["loss"])
    assert float(curves[-1]["point_accuracy"]) > float(curves[0]["point_accuracy"])


def test_the_curves_have_a_row_an_epoch(run):
    _, curves = run
    assert [row["epoch"] for row in curves] == ["1", "2", "3", "4", "5"]
    names = {"loss", "point_accuracy", "val_loss", "val_point_accuracy", "val_instance_miou"}
    for row in curves:
        assert row.keys() >= names | {"learning_rate"}
        assert all(np.isfinite(float(value)) for value in row.values())
    # Four steps of warm-up from a quarter of the peak: an epoch's rate is that of its first step.
    assert float(curves[0]["learning_rate"]) == pytest.approx(0.005)
    assert float(curves[1]["learning_rate"]) == pytest.approx(0.02)


def instance_miou(network):
    clouds = made(6, 1)
    answers = np.argmax(network(clouds.points, training=False), axis=-1)
    confusions = [
        training.confusion(truth, answer, 2)
        for truth, answer in zip(clouds.labels.numpy(), answers, strict=True)
    ]
    return evaluate(confusions, ["Rocket"] * 6).instance_miou


def test_the_epoch_that_validates_best_is_kept(run):
    network, curves = run
    best = max(float(row["val_instance_miou"]) for row in curves)
    assert instance_miou(network) == pytest.approx(best, abs=1e-6)


def test_the_best_epoch_is_kept_where_it_is_not_the_last(tmp_path, monkeypatch):
    kept = []
    measure = training.Validation.measure

    def first_is_best(self):
        kept.append(self.network.get_weights())
        return {**measure(self), training.MONITORED: 1.0 / len(kept)}

    monkeypatch.setattr(training.Validation, "measure", first_is_best)
    network, _ = trained(tmp_path, SETTINGS.model_copy(update={"epochs": 2}))
    for found, first in zip(network.get_weights(), kept[0], strict=True):
        np.testing.assert_array_equal(found, first)
    assert (kept[1][0] != kept[0][0]).any()


def test_the_same_seed_gives_the_same_weights(run, tmp_path):
    again, _ = trained(tmp_path)
    for one, other in zip(run[0].weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_another_seed_gives_other_weights(run, tmp_path):
    other, _ = trained(tmp_path, SETTINGS.model_copy(update={"seed": 1, "epochs": 1}))
    assert (run[0].logits_kernel.numpy() != other.logits_kernel.numpy()).all()


def test_warm_up_and_cosine_by_hand():
    settings = TrainingSettings(
        epochs=10, warmup_epochs=2, learning_rate=1e-2, final_learning_rate=1e-4
    )
    rate = make_optimizer(settings, steps=5)._learning_rate
    # 10 steps up from a tenth of the peak, 40 down; half-way down it is in the middle.
    expected = {0: 1e-3, 5: 5.5e-3, 10: 1e-2, 30: 5.05e-3, 50: 1e-4, 60: 1e-4}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, rel=1e-5)


def test_without_warm_up_it_starts_at_the_peak():
    settings = TrainingSettings(
        epochs=10, warmup_epochs=0, learning_rate=1e-2, final_learning_rate=0
    )
    rate = make_optimizer(settings, steps=4)._learning_rate
    for step, value in {0: 1e-2, 20: 5e-3, 40: 0}.items():
        assert float(rate(step)) == pytest.approx(value, abs=1e-8)


def test_weight_decay_is_on_kernels_alone():
    settings = TrainingSettings(weight_decay=0.5, warmup_epochs=0, learning_rate=0.1)
    network = build_network(NARROW.model_copy(update={"bias_before_batch_norm": True}), 2)
    for weight in network.trainable_weights:
        weight.assign(np.ones(weight.shape))
    optimizer = make_optimizer(settings, steps=1)
    optimizer.build(network.trainable_variables)
    zeros = [tf.zeros(weight.shape) for weight in network.trainable_weights]
    optimizer.apply_gradients(zip(zeros, network.trainable_variables, strict=True))
    kinds = set()
    for weight in network.trainable_weights:
        decays = "kernel" in weight.name
        np.testing.assert_allclose(weight.numpy(), 0.95 if decays else 1.0, rtol=1e-5)
        kinds.add(weight.name)
    assert kinds >= {"kernel", "bias", "gamma", "beta", "logits_kernel", "logits_bias"}
