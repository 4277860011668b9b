"""The probe on real exported models: one that a server answers with, and ones that it does not."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.evaluator.standalone import stage_clouds
from components.model_server_probe import (
    BLESSED_FILE,
    LARGEST_DIFFERENCE,
    NOT_BLESSED_FILE,
    PROBE_FILE,
    ModelServerProbe_Executor,
    ask,
    probe,
    read_reasons,
)
from components.settings import ProbeSettings
from model.export.settings import ServingSettings
from model.export.signatures import export
from model.export.trained_network import save_trained_network
from schema.record import Cloud
from tests.model.export.made_network import MUG, ROCKET, cloud, network_of

SETTINGS = ProbeSettings()


def clouds(categories, *sizes):
    name = categories[-1].name
    return [Cloud(f"shape {n}", name, cloud(n, seed=n), np.zeros(n, np.int64)) for n in sizes]


def trained(folder, categories, network=None, **serving):
    """A model as the Trainer leaves it: the SavedModel's folder."""
    network = network or network_of(categories)
    served = str(folder / "Format-Serving")
    export(network, categories, served, ServingSettings(**serving))
    save_trained_network(network, served)
    return served


@pytest.fixture(scope="module", params=[(ROCKET,), (MUG, ROCKET)], ids=["one", "several"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return trained(folder, request.param, most_points=100), request.param


@pytest.mark.slow
def test_a_sound_model_answers_as_its_network_and_in_requests_that_it_takes(model):
    served, categories = model
    # Padded to the longest, these three have 3 x 40 points: more than the model takes at once.
    result = probe(served, clouds(categories, 40, 7, 1), SETTINGS)
    assert (result.reasons, result.left_out, result.clouds) == ((), (), 3)
    assert result.largest_difference < LARGEST_DIFFERENCE / 10
    assert result.slowest_seconds > 0 and result.peak_mib > 50


@pytest.mark.slow
def test_a_cloud_that_no_request_can_have_is_reported_and_does_not_refuse_the_model(model):
    served, categories = model
    result = probe(served, clouds(categories, 101, 100), SETTINGS)
    assert (result.reasons, result.clouds) == ((), 1)
    (left_out,) = result.left_out
    assert "shape 101" in left_out and "100 " in left_out
    assert len(probe(served, clouds(categories, 101), SETTINGS).reasons) == 1
    assert len(probe(served, [], SETTINGS).reasons) == 1


@pytest.mark.slow
def test_a_refusal_has_the_models_own_reason(model):
    served, categories = model
    inputs = {"points": np.full((1, 3, 3), np.nan, np.float32)}
    if len(categories) > 1:
        inputs["category"] = np.zeros(1, np.int64)
    answer = ask(served, {"alone0/serving_default": ([0], inputs)}, 600)
    assert "NaN or infinity among the coordinates" in answer and "Assert" not in answer


@pytest.mark.slow
def test_limits_and_other_weights_are_refused(tmp_path):
    served = trained(tmp_path, (ROCKET,))
    strict = ProbeSettings(most_seconds=1e-9, most_mebibytes=1)
    slow, large = probe(served, clouds((ROCKET,), 40, 7), strict).reasons
    assert " s, more than 0.00 s" in slow and " MiB, more than 1 MiB" in large

    # The weights beside it are of another network: what is served is not what was trained.
    save_trained_network(network_of((ROCKET,), seed=4), served)
    reasons = probe(served, clouds((ROCKET,), 40), SETTINGS).reasons
    for signature in ("serving_default", "serve_padded", "serve_examples"):
        assert len([reason for reason in reasons if f"shape 40 by {signature}" in reason]) == 1


@pytest.mark.slow
def test_a_network_of_nan_and_a_damaged_model_are_refused(tmp_path):
    network = network_of((ROCKET,))
    network.logits_bias.assign(np.full(network.logits_bias.shape, np.nan))
    served = trained(tmp_path, (ROCKET,), network)
    reasons = probe(served, clouds((ROCKET,), 40), SETTINGS).reasons
    assert any("40 of 40 points" in reason for reason in reasons)
    (tmp_path / "Format-Serving" / "saved_model.pb").write_bytes(b"cut off")
    assert len(probe(served, clouds((ROCKET,), 40), SETTINGS).reasons) == 1
    (tmp_path / "Format-Serving" / "assets" / "parts.json").unlink()
    (reason,) = probe(served, clouds((ROCKET,), 40), SETTINGS).reasons
    assert "parts.json" in reason


@pytest.mark.slow
def test_the_blessing_is_the_one_that_pusher_reads(model, tmp_path):
    served, categories = model
    staged = standard_artifacts.Model()
    staged.uri = served.removesuffix("/Format-Serving")
    examples, _ = stage_clouds(clouds(categories, 40, 7, 1), tmp_path / "examples")
    for limit, file, value in ((None, BLESSED_FILE, 1), (1, NOT_BLESSED_FILE, 0)):
        blessing = standard_artifacts.InfraBlessing()
        blessing.uri = str(tmp_path / f"blessing{value}")
        settings = ProbeSettings(clouds=2, most_mebibytes=limit).model_dump_json()
        ModelServerProbe_Executor().Do(
            {"model": [staged], "examples": [examples]},
            {"blessing": [blessing]},
            {"settings": settings, "code_fingerprint": ""},
        )
        assert blessing.get_int_custom_property("blessed") == value
        assert sorted(tf.io.gfile.listdir(blessing.uri)) == sorted([file, PROBE_FILE])
        assert len(read_reasons(blessing.uri)) == 1 - value
        content = json.loads((tmp_path / f"blessing{value}" / PROBE_FILE).read_text())
        assert content["clouds"] == 2
