"""`pointnet-parts evaluate` and `compare`: a run's numbers outside a run, and what they refuse."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from click.testing import CliRunner

from pipeline.cli import main


def command(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def oldest(folder):
    """Of folders named by numbers the one with the smallest."""
    return min(folder.iterdir(), key=lambda path: int(path.name))


@pytest.fixture(scope="module")
def model(first_run):
    runs, _, _ = first_run
    # The first one, whatever other tests have made these runs do since.
    return oldest(runs.out / "serving_model" / "tiny")


@pytest.mark.slow
def test_evaluate_gives_the_runs_own_numbers(first_run, model, tmp_path):
    from components.evaluator.metrics import ALL_CLOUDS, CANDIDATE, metrics_by_slice

    runs, _, _ = first_run
    output = tmp_path / "measured"
    status, said = command("evaluate", model, runs.out / "data", "--output", output)
    assert status == 0, said
    numbers = json.loads((output / "metrics.json").read_text())
    evaluator = runs.out / "pipeline" / "artifacts" / "Evaluator" / "evaluation"
    expected = metrics_by_slice(str(oldest(evaluator)), CANDIDATE)[ALL_CLOUDS]
    assert numbers["all clouds"].keys() == expected.keys()
    for name in ("point_accuracy", "instance_miou", "part_iou/body", "interval_low/instance_miou"):
        assert numbers["all clouds"][name] == pytest.approx(expected[name], abs=1e-6)
    assert f"{expected['instance_miou']:.4f}" in said
    assert "Measured</h1>" in (output / "report.html").read_text()
    assert sorted(path.name for path in output.iterdir()) == [
        "evaluation",
        "evaluation.log",
        "metrics.json",
        "report.html",
    ]

    # Raw shapes are dealt to splits as the run has dealt them.
    again = tmp_path / "raw"
    status, said = command("evaluate", model, runs.out / "demo_shapes", "--output", again)
    assert status == 0, said
    raw = json.loads((again / "metrics.json").read_text())
    assert raw["all clouds"]["clouds"] == numbers["all clouds"]["clouds"]
    assert raw["all clouds"]["instance_miou"] == pytest.approx(
        numbers["all clouds"]["instance_miou"]
    )


@pytest.mark.slow
def test_compare_and_bounds(first_run, model, tmp_path):
    runs, _, _ = first_run
    config = tmp_path / "strict.yaml"
    config.write_text("evaluation: {instance_miou: {minimum: 0.999, difference: not_worse}}\n")
    trained = oldest(runs.out / "pipeline" / "artifacts" / "Trainer" / "model")
    output = tmp_path / "compared"
    status, said = command(
        "compare", trained, model, runs.out / "data", "--split", "all", "--output", output,
        "--config", config,
    )  # fmt: skip
    assert status == 1, said
    assert re.search(r"instance mIoU:\s+minimum\s+0\.9990\s+missed,\s+measured\s+0\.\d+", said)
    # The pushed model is the trained one: no difference, in any resampled set.
    assert "+0.0000 to +0.0000" in said
    page = (output / "report.html").read_text()
    assert "Not blessed" in page and f"compared with {trained}" in page
    assert json.loads((output / "metrics.json").read_text())["all clouds"]["clouds"] == 24


def test_what_cannot_be_used_is_said(first_run, model, tmp_path):
    from preprocessing.datasets.demo import make_demo_shapes

    runs, _, _ = first_run
    data = runs.out / "data"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    foreign = shutil.copytree(model, tmp_path / "foreign")
    (foreign / "assets" / "parts.json").write_text("{}")
    other = shutil.copytree(model, tmp_path / "other")
    table = json.loads((model / "assets" / "parts.json").read_text())
    table["categories"][0]["parts"][0] = "fuselage"
    (other / "assets" / "parts.json").write_text(json.dumps(table))
    chairs = make_demo_shapes(tmp_path / "chairs", 6, ["Chair"], 0)
    for arguments, words in (
        ((data, data), "no SavedModel (saved_model.pb) in it"),
        ((foreign, data), "it should name the model's parts"),
        ((other, data), "the model was trained on fuselage, wing, tail, engine"),
        ((model, chairs), "no category 'Airplane', only Chair"),
        ((model, tmp_path / "nowhere"), "no such file or directory"),
        ((model, data, "--output", tmp_path / "full"), "already and not empty"),
    ):
        status, said = command("evaluate", "--output", tmp_path / "new", *arguments)
        assert status == 2, said
        assert words in said
    status, said = command("compare", other, model, data, "--output", tmp_path / "new")
    assert status == 2 and "name different parts and cannot be compared" in said
    assert (tmp_path / "full" / "mine.txt").read_text() == "kept"
    assert not (tmp_path / "new").exists()
