"""The trained network beside the SavedModel, written now and by earlier releases."""

import json

import h5py
import numpy as np
import pytest

from model.export import trained_network
from tests.model.export.made_network import MUG, ROCKET, cloud, network_of


@pytest.mark.parametrize("categories", [(ROCKET,), (MUG, ROCKET)], ids=["one", "several"])
def test_a_saved_network_is_loaded(categories, tmp_path):
    network, folder = network_of(categories), str(tmp_path)
    inputs = {"points": cloud(50)[np.newaxis], "category": np.zeros(1, np.int64)}
    trained_network.save_trained_network(network, folder)
    loaded = trained_network.load_trained_network(folder)
    assert loaded.settings == network.settings
    np.testing.assert_array_equal(loaded(**inputs), network(**inputs))

    # As it was written before there were families of networks.
    path = tmp_path / "assets.extra" / "network.json"
    about = json.loads(path.read_text())
    del about["settings"]["family"], about["settings"]["orthogonality"]
    path.write_text(json.dumps(about))
    loaded = trained_network.load_trained_network(folder)
    np.testing.assert_array_equal(loaded(**inputs), network(**inputs))

    for missing in (path.with_name("network.weights.h5"), path):
        missing.unlink()
        with pytest.raises(FileNotFoundError):
            trained_network.load_trained_network(folder)


def test_the_weights_file_has_the_layout_of_earlier_releases(tmp_path):
    network = network_of((ROCKET,), head_widths=(9, 7))
    trained_network.save_trained_network(network, str(tmp_path))
    layers = {
        "layers/pointwise_layer": network.local_layers[0],
        "layers/pointwise_layer_1": network.local_layers[1],
        "global_layers/pointwise_layer": network.global_layers[0],
        "layers/pooled_layer": network.pooled_layer,
        "layers/split_layer": network.split_layer,
        "head_layers/pointwise_layer": network.head_layers[0],
    }
    expected = {"vars/0": network.logits_kernel, "vars/1": network.logits_bias}
    for name in ("input_transform", "feature_transform"):
        transform = getattr(network, name)
        layers[f"{name}/pointwise/pointwise_layer"] = transform.pointwise[0]
        layers[f"{name}/pooled"] = transform.pooled
        layers[f"{name}/dense/pointwise_layer"] = transform.dense[0]
        expected |= {f"{name}/vars/0": transform.kernel, f"{name}/vars/1": transform.bias}
    order = ("kernel", "gamma", "beta", "moving_mean", "moving_variance", "momentum")
    for name, layer in layers.items():
        expected |= {f"{name}/vars/{i}": getattr(layer, each) for i, each in enumerate(order)}
    names = []
    with h5py.File(trained_network.weights_path(str(tmp_path))) as file:
        file.visititems(lambda name, value: names.append(name) if "vars/" in name else None)
        assert set(names) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(file[name][()], value)
