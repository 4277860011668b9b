"""The probe on real exported models: one that a server answers with, and ones that it does not."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.evaluator.standalone import stage_clouds
from components.model_server_probe.executor import (
    BLESSED_FILE,
    LARGEST_DIFFERENCE,
    NOT_BLESSED_FILE,
    PROBE_FILE,
    Executor,
    probe,
    read_reasons,
)
from components.settings import ProbeSettings
from model.export.signatures import export
from model.export.trained_network import save_trained_network
from schema.record import Cloud
from tests.model.export.made_network import MUG, ROCKET, cloud, make_network


def clouds(categories):
    return [
        Cloud(f"shape {n}", categories[-1].name, cloud(n, seed=n), np.zeros(n, np.int64))
        for n in (40, 7, 1)
    ]


def trained(folder, categories):
    """A model as the Trainer leaves it: the SavedModel's folder."""
    network = make_network(sum(len(c.parts) for c in categories), len(categories))
    served = folder / "Format-Serving"
    export(network, categories, str(served))
    save_trained_network(network, categories, str(served))
    return str(served)


@pytest.fixture(scope="module", params=[(ROCKET,), (MUG, ROCKET)], ids=["one", "several"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return trained(folder, request.param), request.param


@pytest.mark.slow
def test_a_sound_model_answers_as_its_network_does(model):
    served, categories = model
    result = probe(served, clouds(categories), categories, ProbeSettings())
    assert result.reasons == ()
    assert result.clouds == 3
    assert result.largest_difference < LARGEST_DIFFERENCE / 10
    assert result.slowest_seconds > 0 and result.peak_mib > 50


@pytest.mark.slow
def test_limits_and_other_weights_are_refused(tmp_path):
    served = trained(tmp_path / "one", (ROCKET,))
    strict = ProbeSettings(most_seconds=1e-9, most_mebibytes=1)
    slow, large = probe(served, clouds((ROCKET,)), (ROCKET,), strict).reasons
    assert "the slowest cloud took" in slow and "MiB, more than 1 MiB" in large

    # The weights beside it are those of another network: what is served is not what was trained.
    other = make_network(3, 1, seed=4)
    save_trained_network(other, (ROCKET,), served)
    reasons = probe(served, clouds((ROCKET,)), (ROCKET,), ProbeSettings()).reasons
    assert "shape 40 by serving_default: a probability is 0." in reasons[0]
    assert {reason.split(":")[0].split(" by ")[1] for reason in reasons} == {
        "serving_default",
        "serve_padded",
        "serve_examples",
    }


@pytest.mark.slow
def test_a_network_of_nan_and_a_damaged_model_are_refused(tmp_path):
    network = make_network(3, 1)
    network.logits_kernel.assign(np.full(network.logits_kernel.shape, np.nan))
    served = tmp_path / "nan" / "Format-Serving"
    export(network, (ROCKET,), str(served))
    save_trained_network(network, (ROCKET,), str(served))
    reasons = probe(str(served), clouds((ROCKET,)), (ROCKET,), ProbeSettings()).reasons
    assert "shape 40 by serving_default: 40 of 40 points got no answer" in reasons

    (served / "saved_model.pb").write_bytes(b"cut off")
    (reason,) = probe(str(served), clouds((ROCKET,)), (ROCKET,), ProbeSettings()).reasons
    assert reason.startswith("the process that loads it failed: ")
    assert probe(str(served), [], (ROCKET,), ProbeSettings()).reasons == (
        "no test cloud is left to make a request of",
    )


@pytest.mark.slow
def test_the_blessing_is_the_one_that_pusher_honours(model, tmp_path):
    served, categories = model
    staged = standard_artifacts.Model()
    staged.uri = str(shutil.copytree(served, tmp_path / "model" / "Format-Serving").parent)
    examples, _ = stage_clouds(clouds(categories), tmp_path / "examples")
    properties = {
        "categories": json.dumps([category.to_json() for category in categories]),
        "code_fingerprint": "",
    }
    for limit, file, value in ((None, BLESSED_FILE, 1), (1, NOT_BLESSED_FILE, 0)):
        blessing = standard_artifacts.InfraBlessing()
        blessing.uri = str(tmp_path / f"blessing{value}")
        settings = ProbeSettings(clouds=2, most_mebibytes=limit).model_dump_json()
        Executor().Do(
            {"model": [staged], "examples": [examples]},
            {"blessing": [blessing]},
            {**properties, "settings": settings},
        )
        assert blessing.get_int_custom_property("blessed") == value
        assert sorted(tf.io.gfile.listdir(blessing.uri)) == sorted([file, PROBE_FILE])
        assert len(read_reasons(blessing.uri)) == 1 - value
