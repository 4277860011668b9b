"""ModelServerProbe: would a model server answer with this model? Without Docker.

A process of its own loads the model by the session that TensorFlow Serving runs, and answers
requests made of test clouds; the answers are compared with the network as it was trained.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf
from absl import logging
from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model
from tfx.utils import io_utils, path_utils

from components import answer_requests
from components.artifacts import write_file
from components.settings import ProbeSettings
from components.split_clouds import read_clouds, sample_clouds
from model.export.trained_network import load_trained_network
from model.networks.interface import limit_to_category
from preprocessing.conversion.records import to_example
from preprocessing.tensors.normalisation import normalise
from schema.categories import class_ranges
from schema.errors import UserError
from schema.record import CATEGORY, POINTS, Cloud
from serving.batches import batches_by_points
from serving.parts_table import most_points_of, parts_file, parts_of, read_about
from serving.serving_error import reason_in

PROBE_FILE = "probe.json"
SPLIT = "test"
# Folding batch norm and another order of sums move probabilities by some 1e-6.
LARGEST_DIFFERENCE = 1e-3
# What TFX's InfraValidator writes.
BLESSED_FILE, NOT_BLESSED_FILE = "INFRA_BLESSED", "INFRA_NOT_BLESSED"


@dataclass(frozen=True)
class ProbeResult:
    """What was measured, None without an answer; a server would answer if there are no `reasons`.

    `left_out`: clouds that no request can have; `largest_difference`: of a probability, to the
    network as trained; `slowest_seconds`: of a single cloud, after warm-up.
    """

    reasons: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    clouds: int = 0
    largest_difference: float | None = None
    slowest_seconds: float | None = None
    peak_mib: float | None = None


# By "<name>/<signature>": which clouds a request has, one a row, and its inputs.
Requests = dict[str, tuple[list[int], dict[str, np.ndarray]]]


@tfx.dsl.components.component
def ModelServerProbe(
    model: tfx.dsl.components.InputArtifact[Model],
    examples: tfx.dsl.components.InputArtifact[Examples],
    blessing: tfx.dsl.components.OutputArtifact[InfraBlessing],
    settings: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes the blessing that TFX's Pusher reads. `settings`: ProbeSettings as JSON."""
    del code_fingerprint
    limits = ProbeSettings.model_validate_json(settings)
    clouds = read_clouds(artifact_utils.get_split_uri([examples], SPLIT))
    sample = sample_clouds(clouds, limits.clouds)
    result = probe(path_utils.serving_model_path(model.uri), sample, limits)
    for reason in result.reasons:
        logging.error("A model server would not answer: %s", reason)
    for cloud in result.left_out:
        logging.warning("Not sent to the model: %s", cloud)
    file = NOT_BLESSED_FILE if result.reasons else BLESSED_FILE
    write_file(os.path.join(blessing.uri, PROBE_FILE), json.dumps(asdict(result), indent=1))
    write_file(os.path.join(blessing.uri, file), "")
    blessing.set_int_custom_property("blessed", int(not result.reasons))


def probe(model: str, sample: Sequence[Cloud], settings: ProbeSettings) -> ProbeResult:
    """Sends the clouds to the SavedModel in the folder `model`, and judges its answers."""
    try:
        about = read_about(parts_file(model))
        categories, most_points = parts_of(about, model), most_points_of(about)
    except UserError as error:
        return ProbeResult((str(error),))
    clouds = [cloud for cloud in sample if len(cloud.points) <= most_points]
    limit = f"the model takes {most_points:,} in a request (serving.most_points)"
    left_out = tuple(
        f"{cloud.shape_id}: {len(cloud.points):,} points, {limit}"
        for cloud in sample
        if len(cloud.points) > most_points
    )
    if not clouds:
        return ProbeResult(("no test cloud is left to make a request of",), left_out)
    index = {category.name: i for i, category in enumerate(categories)}
    known = np.array([index.get(cloud.category, 0) for cloud in clouds], np.int64)
    sent = requests(clouds, known if len(categories) > 1 else None, most_points)
    answers = ask(model, sent, settings.most_seconds_to_load)
    if isinstance(answers, str):
        return ProbeResult((answers,), left_out, len(clouds))
    try:
        with tf.device("CPU:0"):
            trained = expected(model, clouds, known, class_ranges(categories))
    except FileNotFoundError as error:
        reason = f"no trained network beside it to compare with: {error}"
        return ProbeResult((reason,), left_out, len(clouds))
    reasons, largest = compare(answers, sent, clouds, trained)
    seconds = max(float(answers[f"alone{i}/seconds"]) for i in range(len(clouds)))
    peak = float(answers["peak_mib"])
    if settings.most_seconds is not None and seconds > settings.most_seconds:
        reasons.append(
            f"the slowest cloud took {seconds:.2f} s, more than {settings.most_seconds:.2f} s"
        )
    if settings.most_mebibytes is not None and peak > settings.most_mebibytes:
        reasons.append(f"it took {peak:.0f} MiB, more than {settings.most_mebibytes:.0f} MiB")
    return ProbeResult(tuple(reasons), left_out, len(clouds), largest, seconds, peak)


def requests(clouds: Sequence[Cloud], known: np.ndarray | None, most_points: int) -> Requests:
    """Each cloud alone, as an Example, and in padded batches of at most `most_points`.

    `known`: their categories, int64 [B]; None for a model of a single one.
    """

    def categories(indices: list[int]) -> dict[str, np.ndarray]:
        return {} if known is None else {CATEGORY: known[indices]}

    sent: Requests = {}
    for i, cloud in enumerate(clouds):
        alone = {POINTS: cloud.points[np.newaxis], **categories([i])}
        sent[f"alone{i}/serving_default"] = [i], alone
        # As numbers: of byte strings NumPy drops zeros at the end.
        example = np.frombuffer(to_example(cloud), np.uint8)
        sent[f"example{i}/serve_examples"] = [i], {"examples": example}
    sizes = np.array([len(cloud.points) for cloud in clouds], np.int64)
    for number, batch in enumerate(batches_by_points(sizes.tolist(), most_points, len(clouds))):
        # What TensorFlow Serving's batcher fills up with: the first scalar of the first cloud.
        fill = clouds[batch[0]].points[0, 0]
        padded = np.full((len(batch), sizes[batch].max(), 3), fill, np.float32)
        for row, i in zip(padded, batch, strict=True):
            row[: sizes[i]] = clouds[i].points
        inputs: dict[str, np.ndarray] = {
            POINTS: padded,
            "num_points": sizes[batch],
            **categories(batch),
        }
        sent[f"padded{number}/serve_padded"] = batch, inputs
    return sent


def ask(model: str, sent: Requests, seconds: float) -> dict[str, np.ndarray] | str:
    """The answers of answer_requests.py, or why there are none."""
    inputs = {f"{name}/{key}": array for name, (_, of) in sent.items() for key, array in of.items()}
    with TemporaryDirectory() as name:
        folder = Path(name)
        io_utils.copy_dir(model, str(folder / "model"))
        np.savez(folder / "requests.npz", **inputs)
        files = [str(folder / file) for file in ("model", "requests.npz", "answers.npz")]
        try:
            done = subprocess.run(
                [sys.executable, str(answer_requests.__file__), *files],
                capture_output=True,
                text=True,
                errors="replace",
                cwd=folder,
                # The process that trained may still hold the GPU's memory.
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return f"it took more than {seconds:.0f} s (probe.most_seconds_to_load)"
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            # A refusal of the model's own is in the middle of a trace; other errors end it.
            refusals = [line for line in lines if "assertion failed" in line]
            return f"the process that loads it failed: {reason_in((refusals or lines[-1:])[0])}"
        with np.load(folder / "answers.npz", allow_pickle=False) as file:
            return {key: file[key] for key in file.files}


def expected(
    model: str, clouds: Sequence[Cloud], known: np.ndarray, ranges: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """Each cloud's probabilities by the network as it was trained, float32 [n, K]."""
    network = load_trained_network(model)
    probabilities = []
    for cloud, index in zip(clouds, known, strict=True):
        points = normalise(tf.constant(cloud.points[np.newaxis]))
        category = tf.constant([index], tf.int64)
        logits = network(points, category=category, training=False)
        logits = limit_to_category(logits, category, ranges)
        probabilities.append(tf.nn.softmax(logits).numpy()[0])
    return probabilities


def compare(
    answers: Mapping[str, np.ndarray],
    sent: Requests,
    clouds: Sequence[Cloud],
    trained: Sequence[np.ndarray],
) -> tuple[list[str], float]:
    """What is wrong with the answers, and the largest difference of a probability."""
    reasons, largest = [], 0.0
    for name, (indices, _) in sent.items():
        request, signature = name.split("/")
        for row, i in enumerate(indices):
            n, who = len(clouds[i].points), f"{clouds[i].shape_id} by {signature}"
            unanswered = int((answers[f"{request}/part"][row, :n] < 0).sum())
            probability = answers[f"{request}/probability"][row, :n]
            if unanswered or not np.isfinite(probability).all():
                reasons.append(f"{who}: {unanswered} of {n} points got no answer")
                continue
            change = float(np.abs(probability - trained[i]).max())
            largest = max(largest, change)
            if change > LARGEST_DIFFERENCE:
                reasons.append(f"{who}: a probability is {change:.4f} from the trained network's")
    return reasons, largest


def read_reasons(folder: str) -> list[str]:
    """Why the probe refused the model, from its blessing's folder; none if it did not."""
    path = os.path.join(folder, PROBE_FILE)
    if not fileio.exists(path):
        return []
    with fileio.open(path, "r") as file:
        return list(json.loads(file.read())["reasons"])
