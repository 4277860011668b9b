"""Clouds as one request to the signature `serve_padded`, and its answer as clouds again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from schema.errors import UserError
from schema.record import CATEGORY, POINTS
from serving.segmenter import Answer

SIGNATURE = "serve_padded"
NUM_POINTS, PART, PROBABILITY = "num_points", "part", "probability"


def checked_points(points: np.ndarray) -> np.ndarray:
    """The cloud as the model takes it, float32 [n, 3].

    Raises:
      UserError: it has no point, another shape, or a coordinate that is no 32-bit number.
    """
    found = np.asarray(points)
    if found.ndim != 2 or found.shape[1] != 3 or found.dtype.kind not in "fiu":
        raise UserError(
            "no_answer",
            f"found an array of {found.dtype} {list(found.shape)}, expected numbers [n, 3]; send "
            "x y z of each point.",
        )
    if not len(found):
        raise UserError("no_answer", "found no point, expected at least one; leave this cloud out.")
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(found, np.float32)
    finite = np.isfinite(rounded).all(axis=1)
    if not finite.all():
        bad = int(finite.argmin())
        raise UserError(
            "no_answer",
            f"point {bad + 1}: found {', '.join(f'{x:g}' for x in found[bad].tolist())}, expected "
            "three finite 32-bit numbers; correct the point or leave it out.",
        )
    return rounded


def padded_inputs(clouds: Sequence[np.ndarray], category: int | None) -> dict[str, np.ndarray]:
    """The request's tensors by name; B clouds, the longest of N points.

    Args:
      clouds: [n, 3] each.
      category: index into the model's categories; None leaves it out.

    Returns:
      points float32 [B, N, 3], zeros beyond a cloud; num_points int64 [B]; perhaps category
      int64 [B].

    Raises:
      UserError: see `checked_points`.
    """
    sound = [checked_points(cloud) for cloud in clouds]
    sizes = np.array([len(cloud) for cloud in sound], np.int64)
    points = np.zeros((len(sound), int(sizes.max()), 3), np.float32)
    for row, cloud in zip(points, sound, strict=True):
        row[: len(cloud)] = cloud
    inputs: dict[str, np.ndarray] = {POINTS: points, NUM_POINTS: sizes}
    if category is not None:
        inputs[CATEGORY] = np.full(len(sound), category, np.int64)
    return inputs


def answers_of(outputs: Mapping[str, np.ndarray], sizes: Sequence[int]) -> list[Answer]:
    """Takes an answer apart.

    Args:
      outputs: part [B, N] and probability [B, N, K]. N may be larger than the longest cloud: a
        server that batches requests answers each as long as the longest of its batch.
      sizes: the B clouds' points.

    Returns:
      Each cloud's part int64 [n] and probability float32 [n, K].

    Raises:
      UserError: the answer has other tensors or shapes.
    """
    count, longest = len(sizes), max(sizes)
    nothing = np.zeros(0)
    part, probability = outputs.get(PART, nothing), outputs.get(PROBABILITY, nothing)
    if (
        (part.ndim, probability.ndim) != (2, 3)
        or part.shape != probability.shape[:2]
        or len(part) != count
        or part.shape[1] < longest
    ):
        shapes = {name: list(value.shape) for name, value in sorted(outputs.items())}
        raise UserError(
            "unavailable",
            f"the model answered {shapes}, expected part [{count}, N] and probability "
            f"[{count}, N, K] with N at least {longest}; ask a model that this pipeline exported.",
        )
    parts, probabilities = part.astype(np.int64), probability.astype(np.float32)
    return [(parts[i, :n].copy(), probabilities[i, :n].copy()) for i, n in enumerate(sizes)]
