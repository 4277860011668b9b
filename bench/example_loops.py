"""What the published Keras example does to its data, written anew after its description.

https://keras.io/examples/vision/pointnet_segmentation/: one shape after the other in Python. These
are the baselines of the data path. They do what the example does, its faults included: a shape that
lacks the file of one part is set aside, small clouds are skipped, and points are drawn before the
cloud is normalised.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

Loaded = tuple[np.ndarray, np.ndarray, list[str]]


def load(folder: Path, parts: Sequence[str], names: Sequence[str], count: int) -> list[Loaded]:
    """The example's first loop: text files -> points, one-hot labels and names of parts.

    Args:
      folder: the category's folder, with points/ and points_label/.
      parts: names of the parts.
      names: the shapes.
      count: clouds with fewer points are skipped.
    """
    loaded = []
    for name in names:
        points = np.loadtxt(folder / "points" / f"{name}.pts")
        if len(points) < count:
            continue
        masks = {}
        for part in parts:
            file = folder / "points_label" / part / f"{name}.seg"
            if file.exists():
                masks[part] = np.loadtxt(file).astype("float32")
        if len(masks) < len(parts):
            # The example goes through the parts until one is missing, and drops the shape there.
            masks = dict(list(masks.items())[: _first_missing(masks, parts)])
        part_of = ["none"] * len(points)
        for part, mask in masks.items():
            for index, value in enumerate(mask):
                part_of[index] = part if value == 1 else part_of[index]
        if len(masks) < len(parts):
            continue
        labels = [parts.index(part) if part != "none" else len(parts) for part in part_of]
        one_hot = keras.utils.to_categorical(labels, num_classes=len(parts) + 1)
        loaded.append((points, one_hot, part_of))
    return loaded


def _first_missing(masks: dict[str, np.ndarray], parts: Sequence[str]) -> int:
    return next(index for index, part in enumerate(parts) if part not in masks)


def preprocess(clouds: Sequence[Loaded], count: int) -> list[Loaded]:
    """The example's second loop: draws `count` points of each cloud, then normalises them."""
    prepared = []
    for points, one_hot, part_of in clouds:
        drawn = random.sample(list(range(len(points))), count)
        sample = np.array([points[index] for index in drawn])
        labels = np.array([one_hot[index] for index in drawn])
        names = np.array([part_of[index] for index in drawn])
        sample = sample - np.mean(sample, axis=0)
        sample /= np.max(np.linalg.norm(sample, axis=1))
        prepared.append((sample, labels, names))
    return prepared
