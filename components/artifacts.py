"""Our artifact types, and parameters as JSON.

A type's name has one dot: Kubeflow's compiler requires a namespace, and no properties of its own.
pipeline/cluster_step.py knows the classes by these names.
"""

import json
import os
from collections.abc import Sequence

from tfx import types
from tfx.dsl.io import fileio

from schema.categories import Category


class CloudQuarantine(types.Artifact):
    """A folder for each split: the rejected records, and what is wrong with each."""

    TYPE_NAME = "pointnet.CloudQuarantine"


class DataReportPage(types.Artifact):
    """`data_report.html`, and `findings.json`: lists of anomalies, drift and skew as text."""

    TYPE_NAME = "pointnet.DataReport"


class SegmentationReportPage(types.Artifact):
    """`report.html`, one page that needs no other file."""

    TYPE_NAME = "pointnet.SegmentationReport"


class PredictedPartsFiles(types.Artifact):
    """`<id>.ply` and `<id>.labels` of each cloud, and `clouds.csv`; no row without a blessing."""

    TYPE_NAME = "pointnet.PredictedParts"


class SentNotification(types.Artifact):
    """`notification.json`: `event`, whether it was `sent`, and the `problems` if not."""

    TYPE_NAME = "pointnet.Notification"


def categories_json(categories: Sequence[Category]) -> str:
    """Categories as a component's parameter."""
    return json.dumps([category.to_json() for category in categories])


def categories_from_json(text: str) -> tuple[Category, ...]:
    """The inverse of `categories_json`."""
    return tuple(Category.from_json(value) for value in json.loads(text))


def write_file(path: str, content: str | bytes) -> None:
    """Writes a file of an artifact, in the folder that this makes if need be."""
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
