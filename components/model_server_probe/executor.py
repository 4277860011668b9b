"""Requests of test clouds to the exported model, the judgement of its answers, the blessing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.model_server_probe import answer_requests
from components.segmentation_report.executor import SPLIT, read_clouds, sample_clouds
from components.settings import ProbeSettings
from model.export.trained_network import load_trained_network
from model.networks.interface import limit_to_category
from preprocessing.conversion.records import to_example
from preprocessing.tensors.normalisation import normalise
from schema.categories import Category, class_ranges
from schema.record import CATEGORY, POINTS, Cloud

PROBE_FILE = "probe.json"
# Folding batch norm and another order of sums move probabilities by some 1e-6.
LARGEST_DIFFERENCE = 1e-3
# What TFX's InfraValidator writes, and people look for.
BLESSED_FILE, NOT_BLESSED_FILE = "INFRA_BLESSED", "INFRA_NOT_BLESSED"


@dataclass(frozen=True)
class ProbeResult:
    """What the probe found.

    Attributes:
      reasons: a sentence for each thing that is wrong; none: a server would answer.
      clouds: how many were sent.
      largest_difference: of a probability, to the network as it was trained; None: no answer.
      slowest_seconds: of a single cloud, the model being warm; None: no answer.
      peak_mib: the process's largest resident set; None: no answer.
    """

    reasons: tuple[str, ...]
    clouds: int
    largest_difference: float | None = None
    slowest_seconds: float | None = None
    peak_mib: float | None = None


class Executor(base_executor.BaseExecutor):
    """Blesses what a server would answer with."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Probes the model.

        Args:
          input_dict: model, examples.
          output_dict: blessing.
          exec_properties: settings, categories, code_fingerprint.
        """
        settings = ProbeSettings.model_validate_json(exec_properties["settings"])
        categories = tuple(
            Category.from_json(value) for value in json.loads(exec_properties["categories"])
        )
        (model,) = input_dict["model"]
        (blessing,) = output_dict["blessing"]
        clouds = sample_clouds(
            read_clouds(artifact_utils.get_split_uri(input_dict["examples"], SPLIT)),
            settings.clouds,
        )
        served = path_utils.serving_model_path(model.uri)
        result = probe(served, clouds, categories, settings)
        for reason in result.reasons:
            logging.error("A model server would not answer: %s", reason)
        path = os.path.join(blessing.uri, PROBE_FILE)
        io_utils.write_string_file(path, json.dumps(asdict(result), indent=1))
        file = NOT_BLESSED_FILE if result.reasons else BLESSED_FILE
        io_utils.write_string_file(os.path.join(blessing.uri, file), "")
        blessing.set_int_custom_property("blessed", int(not result.reasons))


def probe(
    model: str,
    clouds: Sequence[Cloud],
    categories: tuple[Category, ...],
    settings: ProbeSettings,
) -> ProbeResult:
    """Asks the exported model in a process of its own, and judges what it answers.

    Args:
      model: the SavedModel's folder; the network as trained lies beside it.
      clouds: to make requests of.
      categories: the model's, in the order of its classes.
      settings: what may be needed to answer.
    """
    if not clouds:
        return ProbeResult(("no test cloud is left to make a request of",), 0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        local = str(folder / "model")
        io_utils.copy_dir(model, local)
        np.savez(folder / "requests.npz", **requests(clouds, categories))
        program = [sys.executable, str(answer_requests.__file__), local]
        try:
            done = subprocess.run(
                [*program, str(folder / "requests.npz"), str(folder / "answers.npz")],
                capture_output=True,
                text=True,
                errors="replace",
                cwd=folder,
                # The process that trained may hold the GPU's memory still.
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
                timeout=settings.most_seconds_to_load,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = f"it took more than {error.timeout:.0f} s to load and answer"
            return ProbeResult((f"{said} (serving.probe.most_seconds_to_load)",), len(clouds))
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            return ProbeResult((f"the process that loads it failed: {last[:500]}",), len(clouds))
        with np.load(folder / "answers.npz", allow_pickle=False) as file:
            answers = {key: file[key] for key in file.files}
    try:
        with tf.device("CPU:0"):
            trained = expected(model, clouds, categories)
    except FileNotFoundError as error:
        return ProbeResult((f"no trained network beside it to compare with: {error}",), len(clouds))
    return judge(answers, clouds, trained, settings)


def requests(clouds: Sequence[Cloud], categories: tuple[Category, ...]) -> dict[str, np.ndarray]:
    """Each cloud alone, and all of them in a padded batch and as Examples; see the program."""
    index = {category.name: i for i, category in enumerate(categories)}
    known = np.array([index[cloud.category] for cloud in clouds], np.int64)
    several = len(categories) > 1
    sizes = np.array([len(cloud.points) for cloud in clouds], np.int64)
    # What TensorFlow Serving's batcher fills up with: the first scalar of the first cloud.
    padded = np.full((len(clouds), sizes.max(), 3), clouds[0].points[0, 0], np.float32)
    found = {}
    for i, cloud in enumerate(clouds):
        padded[i, : len(cloud.points)] = cloud.points
        found[f"alone{i}/serving_default/{POINTS}"] = cloud.points[np.newaxis]
        if several:
            found[f"alone{i}/serving_default/{CATEGORY}"] = known[i : i + 1]
    found[f"padded/serve_padded/{POINTS}"] = padded
    found["padded/serve_padded/num_points"] = sizes
    if several:
        found[f"padded/serve_padded/{CATEGORY}"] = known
    for i, cloud in enumerate(clouds):
        # As numbers: of byte strings NumPy drops zeros at the end.
        example = np.frombuffer(to_example(cloud), np.uint8)
        found[f"example{i}/serve_examples/examples"] = example
    return found


def expected(
    model: str, clouds: Sequence[Cloud], categories: tuple[Category, ...]
) -> list[np.ndarray]:
    """Each cloud's probabilities by the network as it was trained, float32 [n, K]."""
    network = load_trained_network(model)
    index = {category.name: i for i, category in enumerate(categories)}
    found = []
    for cloud in clouds:
        points = normalise(tf.constant(cloud.points[np.newaxis]))
        category = tf.constant([index[cloud.category]], tf.int64)
        logits = network(points, category=category, training=False)
        logits = limit_to_category(logits, category, class_ranges(categories))
        found.append(tf.nn.softmax(logits).numpy()[0])
    return found


def judge(
    answers: Mapping[str, np.ndarray],
    clouds: Sequence[Cloud],
    trained: Sequence[np.ndarray],
    settings: ProbeSettings,
) -> ProbeResult:
    """Holds the answers against the trained network's and the limits.

    Args:
      answers: see the program.
      clouds: what was asked.
      trained: see `expected`.
      settings: the limits.
    """
    reasons: list[str] = []
    largest = 0.0
    for i, (cloud, probability) in enumerate(zip(clouds, trained, strict=True)):
        n = len(cloud.points)
        for request, row, signature in (
            (f"alone{i}", 0, "serving_default"),
            ("padded", i, "serve_padded"),
            (f"example{i}", 0, "serve_examples"),
        ):
            part = answers[f"{request}/part"][row, :n]
            found = answers[f"{request}/probability"][row, :n]
            who = f"{cloud.shape_id} by {signature}"
            if not np.isfinite(found).all() or (part < 0).any():
                reasons.append(f"{who}: {int((part < 0).sum())} of {n} points got no answer")
                continue
            difference = float(np.abs(found - probability).max())
            largest = max(largest, difference)
            if difference > LARGEST_DIFFERENCE:
                reasons.append(
                    f"{who}: a probability is {difference:.4f} from the trained network's"
                )
    seconds = max(float(answers[f"alone{i}/seconds"]) for i in range(len(clouds)))
    peak = float(answers["peak_mib"])
    for found_value, limit, text in (
        (seconds, settings.most_seconds, "the slowest cloud took {:.2f} s, more than {:.2f} s"),
        (peak, settings.most_mebibytes, "it took {:.0f} MiB, more than {:.0f} MiB"),
    ):
        if limit is not None and found_value > limit:
            reasons.append(text.format(found_value, limit))
    return ProbeResult(tuple(reasons), len(clouds), largest, seconds, peak)


def read_reasons(folder: str) -> list[str]:
    """Why the probe refused the model, from its blessing's folder; none where it did not."""
    path = os.path.join(folder, PROBE_FILE)
    if not fileio.exists(path):
        return []
    with fileio.open(path, "r") as file:
        return list(json.loads(file.read())["reasons"])
