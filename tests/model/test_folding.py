"""Folding batch norm leaves the predictions equal."""

import keras
import numpy as np
import pytest

from model.folding import fold_batch_norm
from model.network import PointNet
from model.settings import NetworkSettings

SETTINGS = NetworkSettings(
    local_widths=(6, 8),
    global_widths=(12, 20),
    transform_widths=(5, 16),
    transform_dense_widths=(9,),
    head_widths=(10, 7),
)


def trained(bias=False):
    settings = SETTINGS.model_copy(update={"bias_before_batch_norm": bias})
    network = PointNet(settings, 4, 3, dtype="float64")
    rng = np.random.default_rng(0)
    for weight in network.weights:
        value = rng.normal(size=weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)
    inputs = {"points": rng.normal(size=(3, 11, 3)), "category": np.array([2, 0, 1])}
    return network, inputs


@pytest.mark.parametrize("bias", [False, True])
def test_folded_network_predicts_the_same(bias):
    network, inputs = trained(bias)
    expected = np.asarray(network(inputs))
    folded = fold_batch_norm(network)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(folded(inputs), expected, atol=1e-12 * scale, rtol=0)
    assert not any("gamma" in weight.name for weight in folded.weights)
    assert not folded.trainable_weights


def test_folded_network_is_saved_and_loaded(tmp_path):
    network, inputs = trained()
    folded = fold_batch_norm(network)
    folded.save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(loaded(inputs), folded(inputs))
