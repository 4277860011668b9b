"""Evaluations by the real executor, of models that err as they are told."""

import json
from collections import namedtuple

import numpy as np
import pytest
import tensorflow as tf

from components.evaluator.metrics import CANDIDATE, metrics_by_slice
from components.evaluator.standalone import evaluate, stage_clouds, stage_model
from model.export.counts import calibration_counts, confusion_counts
from model.export.signatures import CALIBRATION, CONFUSION, EVALUATION_VERSION, PARTS_ASSET
from pipeline.beam_settings import beam_args
from pipeline.config import load_config
from pipeline.graph import Places, evaluation_config
from schema.categories import Category
from schema.record import CATEGORY, LABELS, Cloud

PLANE = Category("Plane", "1", ("body", "wing", "engine"))
PARTS = len(PLANE.parts)
Evaluation = namedtuple("Evaluation", "verdict, metrics, folder")


def cloud(number, size=60, labels=(0, 1, 2), category="Plane"):
    """A cloud whose points are of the labels by turns."""
    points = np.random.default_rng(number).normal(size=(size, 3)).astype(np.float32)
    return Cloud(f"{category} {number}", category, points, np.resize(labels, size))


class Erring(tf.Module):
    """Stands in for a network: knows the truth, and errs at a share of each part's points.

    Args:
      errors: of each part, such a share of its points, the first ones, is called the next part.
      nan: answer nothing at all, as a network of NaN does.
    """

    def __init__(self, errors, nan=False):
        super().__init__()
        self.errors, self.nan = errors, nan

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate(self, examples):
        parsed = tf.io.parse_example(examples, {LABELS: tf.io.RaggedFeature(tf.int64)})
        truth = parsed[LABELS].to_tensor(-1)
        predicted = truth
        for part, share in enumerate(self.errors):
            of_part = tf.cast(truth == part, tf.float32)
            place = tf.cumsum(of_part, axis=1)
            wrong = (of_part > 0) & (place <= share * tf.reduce_sum(of_part, 1, keepdims=True))
            predicted = tf.where(wrong, tf.constant((part + 1) % PARTS, tf.int64), predicted)
        if self.nan:
            predicted = tf.fill(tf.shape(truth), tf.constant(-1, tf.int64))
        sure = tf.fill(tf.shape(truth), 0.9)
        return {
            CONFUSION: confusion_counts(truth, predicted, PARTS),
            CALIBRATION: calibration_counts(truth, predicted, sure),
            CATEGORY: tf.zeros([tf.shape(truth)[0]], tf.int64),
        }


def save(folder, errors=(0, 0, 0), nan=False, categories=(PLANE,), version=EVALUATION_VERSION):
    """An exported model that errs."""
    model = Erring(errors, nan)
    about = folder.with_suffix(".json")
    about.parent.mkdir(parents=True, exist_ok=True)
    about = about.parent / PARTS_ASSET
    value = {"categories": [c.to_json() for c in categories], "evaluation_version": version}
    about.write_text(json.dumps(value))
    model.about = tf.saved_model.Asset(str(about))
    tf.saved_model.save(model, str(folder), signatures={"evaluate": model.evaluate})
    return folder


@pytest.fixture
def run(tmp_path):
    """Evaluates one model against another one and bounds."""
    runs = iter(range(100))

    def evaluated(candidate, baseline=None, clouds=None, **bounds):
        folder = tmp_path / str(next(runs))
        config = load_config("airplane")
        quiet = {"point_accuracy": {}, "instance_miou": {}, "part_accuracy": {}, "part_iou": {}}
        settings = config.evaluation.model_validate({**quiet, **bounds})
        config = config.model_copy(update={"evaluation": settings})
        examples, _ = stage_clouds(
            clouds or [cloud(number) for number in range(8)], folder / "examples"
        )
        candidate = stage_model(save(folder / "new" / "model", **candidate), folder / "candidate")
        before = None
        if baseline is not None:
            model = stage_model(save(folder / "old" / "model", **baseline), folder / "baseline")
            before = (model, "the blessed model")
        places = Places("", "", "", None, (PLANE,))
        eval_config = evaluation_config(config, places)
        verdict = evaluate(
            candidate, examples, eval_config, folder / "out", before, beam_args(config.beam)
        )
        evaluation = str(folder / "out" / "evaluation")
        return Evaluation(verdict, metrics_by_slice(evaluation, CANDIDATE), folder / "out")

    return evaluated
