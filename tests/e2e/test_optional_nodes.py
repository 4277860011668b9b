"""A run that searches for a recipe, on a data set with two clouds that nobody labelled."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from tests.e2e.conftest import TINY, Runs

TUNED = TINY + "tuning: {trials: 2, epochs: 1}\n"
OPTIONAL = {"Tuner", "UnlabelledExampleGen", "BulkInferrer", "PredictedParts"}


def counts(executions, state):
    return {name: n for (name, found), n in executions.items() if found == state}


@pytest.mark.slow
def test_a_recipe_is_searched_and_unlabelled_clouds_get_their_parts(tmp_path):
    import tensorflow as tf
    import trimesh

    from preprocessing.datasets.demo import make_demo_shapes

    source = tmp_path / "shapes"
    make_demo_shapes(source, 24, ["Airplane"], seed=0)
    clouds = sorted(source.glob("*/points/*.pts"))[5:7]
    for cloud in clouds:
        for labels in source.glob(f"*/points_label/*/{cloud.stem}.seg"):
            labels.unlink()

    runs = Runs(tmp_path)
    status, screen = runs.run(TUNED, str(source))
    assert status == 0, screen
    first = counts(runs.executions(), "COMPLETE")
    assert {first.get(name) for name in OPTIONAL} == {1}
    artifacts = runs.out / "pipeline" / "artifacts"

    # The Tuner's best recipe is the one that was trained, for all of the config's epochs.
    (best,) = artifacts.glob("Tuner/best_hyperparameters/*/best_hyperparameters.txt")
    (curves,) = artifacts.glob("Trainer/model_run/*/curves.csv")
    with curves.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rate = json.loads(best.read_text())["values"]["training.learning_rate"]
    assert len(rows) == 2
    assert float(rows[0]["learning_rate"]) == pytest.approx(rate)
    assert "best 2 of 2" in screen and "best, trained in full" in screen

    # Nobody but bulk inference saw the unlabelled clouds, and they got the pushed model's answer.
    sound = artifacts / "CloudValidator" / "sound_examples"
    assert {path.name for path in sound.glob("*/Split-*")} == {
        "Split-train",
        "Split-val",
        "Split-test",
    }
    predictions = runs.out / "predictions"
    assert f"parts of 2 unlabelled clouds: {predictions}" in screen
    stems = [cloud.stem for cloud in clouds]
    assert {path.name for path in predictions.iterdir()} == {
        "clouds.csv",
        *(stem + ending for stem in stems for ending in (".ply", ".labels")),
    }
    (version,) = (runs.out / "serving_model" / "tiny").iterdir()
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    for cloud in clouds:
        points = np.loadtxt(cloud, dtype=np.float32, ndmin=2)
        answer = serve(points=tf.constant(points[np.newaxis]))
        written = np.loadtxt(predictions / f"{cloud.stem}.labels", dtype=int)
        assert len(written) == len(points)
        # Padding may change the last bits of a probability: only a tie may fall the other way.
        low, high = np.sort(answer["probability"].numpy()[0], axis=1)[:, -2:].T
        decided = high - low > 1e-5
        assert decided.mean() > 0.99
        np.testing.assert_array_equal(written[decided], answer["part"].numpy()[0][decided])
        ply = (predictions / f"{cloud.stem}.ply").read_bytes()
        vertices = trimesh.load(io.BytesIO(ply), file_type="ply").vertices
        np.testing.assert_array_equal(np.asarray(vertices, np.float32), points)

    # Again: all of it from the cache.
    status, screen = runs.run(TUNED, str(source))
    assert status == 0, screen
    after = runs.executions()
    repeated = counts(after, "COMPLETE")
    assert {name for name in repeated if "Resolver" not in name and repeated[name] > 1} == set()
    assert {counts(after, "CACHED").get(name) for name in OPTIONAL} == {1}
