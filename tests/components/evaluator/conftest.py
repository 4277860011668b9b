"""Evaluations by the real executor, of models with chosen errors."""

import json
from collections import namedtuple

import numpy as np
import pytest
import tensorflow as tf

from components.evaluator.bounds import evaluation_config
from components.evaluator.metrics import CANDIDATE, metrics_by_slice
from components.evaluator.settings import EvaluationSettings
from components.evaluator.standalone import evaluate, stage_clouds, stage_model
from model.export.counts import calibration_counts, confusion_counts
from model.export.signatures import CALIBRATION, CONFUSION, EVALUATION_VERSION, PARTS_ASSET
from schema.categories import Category
from schema.record import CATEGORY, LABELS, Cloud

PLANE = Category("Plane", "1", ("body", "wing", "engine"))
PARTS = len(PLANE.parts)
Evaluation = namedtuple("Evaluation", "verdict, metrics, folder")


def cloud(number, size=60, labels=(0, 1, 2), category="Plane"):
    """A cloud whose points have the labels in turn."""
    points = np.random.default_rng(number).normal(size=(size, 3)).astype(np.float32)
    return Cloud(f"{category} {number}", category, points, np.resize(labels, size))


class Erring(tf.Module):
    """A network that knows the truth; of each part the first points, a share `errors`, are called
    the next part. `nan`: it answers nothing, as a network of NaN does."""

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
    """Evaluates one model with bounds, perhaps beside another one; other bounds are null."""
    runs = iter(range(100))

    def evaluated(candidate, baseline=None, clouds=None, **bounds):
        folder = tmp_path / str(next(runs))
        none = EvaluationSettings.without_bounds().model_dump()
        settings = EvaluationSettings.model_validate({**none, **bounds})
        clouds = clouds or [cloud(number) for number in range(8)]
        examples, _ = stage_clouds(clouds, folder / "examples")
        candidate = stage_model(save(folder / "new" / "model", **candidate), folder / "candidate")
        before = None
        if baseline is not None:
            model = stage_model(save(folder / "old" / "model", **baseline), folder / "baseline")
            before = (model, "the blessed model")
        config = evaluation_config(settings, (PLANE,))
        verdict = evaluate(candidate, examples, config, folder / "out", before)
        evaluation = str(folder / "out" / "evaluation")
        return Evaluation(verdict, metrics_by_slice(evaluation, CANDIDATE), folder / "out")

    return evaluated
