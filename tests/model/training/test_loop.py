"""The training loop on a tiny made set: it learns, keeps the best epoch, and ends as it should."""

import numpy as np
import pytest
import tensorflow as tf

from model.metrics import confusion, evaluate
from model.training import loop
from model.training.input_pipeline import TransformedClouds
from model.training.job import Job
from model.training.loop import train
from model.training.optimizer import batch_norm_momentum, make_optimizer
from model.training.settings import TrainingSettings, TuningSettings
from model.training.validation import MONITORED
from schema.errors import UserError
from tests.model.training.tiny import NARROW, PLAIN, ROCKET, SETTINGS, clouds, job, read_curves


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train(job(), str(folder)), read_curves(folder)


def test_it_learns_and_the_curves_have_a_row_an_epoch(run):
    _, curves = run
    assert curves[-1]["loss"] < 0.7 * curves[0]["loss"]
    assert curves[-1]["point_accuracy"] > curves[0]["point_accuracy"]
    assert [row["epoch"] for row in curves] == [1, 2, 3, 4, 5]
    names = ["val_loss", "val_point_accuracy", MONITORED, "loss", "point_accuracy", "learning_rate"]
    assert all(np.isfinite([row[name] for name in names]).all() for row in curves)
    # Four steps of warm-up from a quarter of the peak: an epoch's rate is that of its first step.
    assert curves[0]["learning_rate"] == pytest.approx(0.005)
    assert curves[1]["learning_rate"] == pytest.approx(0.02)


def test_the_epoch_that_validates_best_is_kept(run):
    network, curves = run
    validation = clouds(6, 1)
    answers = np.argmax(network(validation.points), axis=-1)
    counts = [confusion(*pair, 2) for pair in zip(validation.labels.numpy(), answers, strict=True)]
    best = max(row[MONITORED] for row in curves)
    assert evaluate(counts, ["Rocket"] * 6).instance_miou == pytest.approx(best, abs=1e-6)


def test_the_best_epoch_is_kept_if_it_is_not_the_last(tmp_path, monkeypatch):
    weights, finish = [], loop.TrainingLoop._validate
    quality = iter([0.9, 0.5])

    def validate(self):
        weights.append(self.network.get_weights())
        finish(self)

    measured = {"val_loss": 0.0, "val_point_accuracy": 0.0}
    monkeypatch.setattr(loop.TrainingLoop, "_validate", validate)
    monkeypatch.setattr(
        loop.Validation, "measure", lambda self: {**measured, MONITORED: next(quality)}
    )
    network = train(job(network=PLAIN, epochs=2), str(tmp_path))
    for value, first in zip(network.get_weights(), weights[0], strict=True):
        np.testing.assert_array_equal(value, first)
    assert (weights[1][0] != weights[0][0]).any()


def test_patience_ends_training(tmp_path, monkeypatch):
    quality = iter([0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    measured = {"val_loss": 0.0, "val_point_accuracy": 0.0}
    monkeypatch.setattr(loop.TrainingStep, "__call__", lambda self, batch: 0.0)
    monkeypatch.setattr(
        loop.Validation, "measure", lambda self: {**measured, MONITORED: next(quality)}
    )
    train(job(network=PLAIN, patience=3, epochs=6), str(tmp_path))
    # Epoch 2 is the best; 4 is only as good.
    assert [row[MONITORED] for row in read_curves(tmp_path)] == [0.5, 0.7, 0.6, 0.7, 0.65]


def test_the_seed_decides_the_weights(run, tmp_path):
    again = train(job(), str(tmp_path / "again"))
    for one, other in zip(run[0].get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    other = train(job(seed=1, epochs=1), str(tmp_path / "other"))
    assert (run[0].logits_kernel.numpy() != other.logits_kernel.numpy()).all()


def test_a_few_shapes_take_all_their_steps(tmp_path):
    """12 shapes in batches of 8 are three steps in two epochs; none is left out."""
    few = job(count=12, network=PLAIN, epochs=4, batch_size=8)
    steps = []
    measure = loop.TrainingStep.__call__

    def step(self, batch):
        steps.append(len(batch[1]))
        return measure(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.TrainingStep, "__call__", step)
        train(few, str(tmp_path))
    assert steps == [8] * 6
    assert len(read_curves(tmp_path)) == 4


def test_a_loss_that_is_not_finite_ends_training(tmp_path):
    one = clouds(4, 0)
    points = one.points * np.array([1, 1, np.nan, 1])[:, None, None]
    settings = SETTINGS.model_copy(update={"batch_size": 2, "points_per_draw": None})
    broken = TransformedClouds(points, one.labels, one.category)
    with pytest.raises(UserError) as error:
        train(Job(broken, one, ROCKET, PLAIN, settings), str(tmp_path))
    assert error.value.code == "cannot_train"
    assert "nan at step" in error.value.message
    assert "of epoch 1" in error.value.message


def test_memory_that_runs_out_ends_training_with_what_to_lower(tmp_path, monkeypatch):
    def too_large(self, batch):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(loop.TrainingStep, "__call__", too_large)
    with pytest.raises(UserError) as error:
        train(job(network=PLAIN), str(tmp_path))
    for fact in ("step 1 of epoch 1", "batch_size (now 4)", "points_per_draw (now 24)", "float32"):
        assert fact in error.value.message


def test_warm_up_and_cosine_by_hand():
    settings = TrainingSettings(learning_rate=1e-2, final_learning_rate=1e-4)
    rate = make_optimizer(settings, steps=50, warmup_steps=10)._learning_rate
    # 10 steps up from a tenth of the peak, 40 down; half-way down it is in the middle.
    expected = {0: 1e-3, 5: 5.5e-3, 10: 1e-2, 30: 5.05e-3, 50: 1e-4, 60: 1e-4}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, rel=1e-5)
    settings = TrainingSettings(learning_rate=1e-2, final_learning_rate=0)
    rate = make_optimizer(settings, steps=40, warmup_steps=0)._learning_rate
    for step, value in {0: 1e-2, 20: 5e-3, 40: 0}.items():
        assert float(rate(step)) == pytest.approx(value, abs=1e-8)
    momenta = [batch_norm_momentum(TrainingSettings(epochs=10), epoch) for epoch in (0, 9)]
    assert momenta == pytest.approx([0.9, 0.99])


def test_weight_decay_is_on_kernels_alone():
    settings = TrainingSettings(weight_decay=0.5, learning_rate=0.1)
    network = NARROW.model_copy(update={"bias_before_batch_norm": True}).build(2)
    for weight in network.trainable_weights:
        weight.assign(np.ones(weight.shape))
    optimizer = make_optimizer(settings, steps=1, warmup_steps=0)
    optimizer.build(network.trainable_variables)
    zeros = [tf.zeros(weight.shape) for weight in network.trainable_weights]
    optimizer.apply_gradients(zip(zeros, network.trainable_variables, strict=True))
    kinds = set()
    for weight in network.trainable_weights:
        decays = "kernel" in weight.name
        np.testing.assert_allclose(weight.numpy(), 0.95 if decays else 1.0, rtol=1e-5)
        kinds.add(weight.name)
    assert kinds >= {"kernel", "bias", "gamma", "beta", "logits_kernel", "logits_bias"}


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        (TrainingSettings, "seed", -1),
        (TrainingSettings, "final_learning_rate", 0.01),
        (TrainingSettings, "ema_decay", 1.0),
        (TuningSettings, "trials", 1),
        (type(NARROW), "transform_dense_widths", (-5,)),
        (type(NARROW), "transform_dense_widths", (0,)),
        (type(NARROW), "head_widths", ()),
        (type(NARROW), "family", "transformer"),
    ],
)
def test_settings_that_would_fail_later_are_refused(settings, key, value):
    with pytest.raises(ValueError, match=key):
        settings(**{key: value})


@pytest.mark.parametrize(
    ("replicas", "count", "changes", "facts"),
    [
        (3, 8, {}, ("batch_size is 4", "3 devices")),
        (3, 5, {"batch_size": 6}, ("3 clouds", "5 in train", "2 each")),
        (1, 8, {"batch_size": 1}, ("1 clouds", "2 each")),
        (4, 8, {"batch_size": 4}, ("4 clouds", "4 devices")),
        (1, 8, {"points_per_draw": 33}, ("33", "32 points")),
    ],
)
def test_a_job_that_does_not_fit_is_refused(replicas, count, changes, facts):
    with pytest.raises(UserError) as error:
        job(count, **changes).fitted(replicas)
    assert error.value.code == "cannot_train"
    assert all(fact in error.value.message for fact in facts)


def test_a_split_without_a_label_is_refused():
    unlabelled = clouds(4, 0)
    unlabelled = TransformedClouds(
        unlabelled.points, tf.fill(unlabelled.labels.shape, -1), unlabelled.category
    )
    for pair in ((unlabelled, clouds(4, 1)), (clouds(4, 1), unlabelled)):
        with pytest.raises(UserError) as error:
            Job(*pair, ROCKET, NARROW, SETTINGS).fitted(1)
        assert ("train" if pair[0] is unlabelled else "val") in error.value.message


def test_one_cloud_a_device_is_enough_without_t_nets():
    assert job(4, network=PLAIN, batch_size=1).fitted(1).settings.batch_size == 1
