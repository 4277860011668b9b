"""Checks of one cloud by itself, whatever its record holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from preprocessing.checks.settings import ValidationSettings
from preprocessing.conversion.records import parse_example
from schema.categories import Category
from schema.errors import UserError
from schema.record import CATEGORY, LABELS, OFFSET, POINTS, SHAPE_ID, UNANNOTATED, UNLABELLED

Severity = Literal["quarantine", "warning"]
QUARANTINE: Severity = "quarantine"
WARNING: Severity = "warning"


@dataclass(frozen=True)
class CloudFinding:
    """A problem of a cloud, or with an empty `shape_id` of a whole category."""

    code: str
    severity: Severity
    split: str
    shape_id: str
    sentence: str


class Place(NamedTuple):
    """Where a record is: its split, the number of its file and its position there, from 0."""

    split: str
    shard: int
    position: int

    def __str__(self) -> str:
        return f"record {self.position} of file {self.shard} in {self.split}"


@dataclass(frozen=True)
class RawCloud:
    """A record as it was stored, of any length and content.

    `coordinates` is float32 [m], x y z of point 0 first; `labels` is int64 [k], None where the
    record has none; `offset` is float32, [3] where the cloud was centred: see schema.record.
    """

    shape_id: str
    category: str
    coordinates: np.ndarray
    labels: np.ndarray | None
    offset: np.ndarray | None = None


@dataclass(frozen=True)
class Verdict:
    """What is known of one record: some hundred bytes, whatever the size of its cloud.

    `geometry` is a hash of its points in any order, `part_points` the number of points of each
    part; both are empty for a cloud that is refused by itself.
    """

    place: Place
    shape_id: str = ""
    category: str = ""
    points: int = 0
    geometry: str = ""
    part_points: tuple[int, ...] = ()
    findings: tuple[CloudFinding, ...] = ()

    @property
    def refused(self) -> bool:
        return any(finding.severity == QUARANTINE for finding in self.findings)

    def with_finding(self, code: str, severity: Severity, sentence: str) -> Verdict:
        finding = CloudFinding(code, severity, self.place.split, self.shape_id, sentence)
        return replace(self, findings=(*self.findings, finding))


def parse(record: bytes) -> RawCloud | None:
    """The features of a serialized tf.Example, unchecked; None: not a tf.Example."""
    try:
        features = parse_example(record)
    except UserError:
        return None

    def values(name: str, kind: type) -> np.ndarray:
        found = features[name]
        return found if found is not None and found.dtype == kind else np.zeros(0, kind)

    def text(name: str) -> str:
        return b"".join(values(name, object)[:1]).decode(errors="backslashreplace")

    labels = None if features[LABELS] is None else values(LABELS, np.int64)
    coordinates, offset = values(POINTS, np.float32), values(OFFSET, np.float32)
    return RawCloud(text(SHAPE_ID), text(CATEGORY), coordinates, labels, offset)


def examine(
    cloud: RawCloud | None,
    place: Place,
    settings: ValidationSettings,
    categories: Mapping[str, Category],
) -> Verdict:
    """Checks one record, None where its bytes are not a tf.Example; `categories` are by name.

    All problems are reported, except those that only follow from another.
    """
    if cloud is None:
        sentence = f"{place} is not a tf.Example: convert the data again"
        return Verdict(place).with_finding("UNREADABLE", QUARANTINE, sentence)
    verdict = Verdict(place, cloud.shape_id, cloud.category, cloud.coordinates.size // 3)
    who = f"shape {cloud.shape_id} in {place.split}"
    for code, sentence in _problems(cloud, who, place, settings, categories):
        verdict = verdict.with_finding(code, QUARANTINE, sentence)
    if verdict.refused:
        return verdict

    points = cloud.coordinates.reshape(-1, 3)
    labels = np.empty(0, np.int64) if cloud.labels is None else cloud.labels
    parts = np.bincount(labels[labels >= 0], minlength=len(categories[cloud.category].parts))
    geometry, repeated = compare_points(points)
    verdict = replace(verdict, geometry=geometry, part_points=tuple(parts.tolist()))
    if repeated > settings.duplicate_share * len(points):
        sentence = f"{who} has {repeated} of {len(points)} points that repeat another one, expected"
        sentence += f" a share of at most {settings.duplicate_share:g}: remove the copies"
        verdict = verdict.with_finding("DUPLICATE_POINTS", WARNING, sentence)
    return verdict


def compare_points(points: np.ndarray) -> tuple[str, int]:
    """A hash of points [n, 3] that is the same in any order, and how many repeat another one."""
    points = np.asarray(points, "<f4") + np.float32(0)  # turns -0 into 0
    ordered = points[np.lexsort(points.T[::-1])]
    geometry = hashlib.blake2b(ordered.tobytes(), digest_size=16).hexdigest()
    return geometry, int(np.count_nonzero(np.all(ordered[1:] == ordered[:-1], axis=1)))


def _problems(
    cloud: RawCloud,
    who: str,
    place: Place,
    settings: ValidationSettings,
    categories: Mapping[str, Category],
) -> Iterator[tuple[str, str]]:
    """Code and message of each problem for which the cloud is refused."""
    category, labels = categories.get(cloud.category), cloud.labels
    if not cloud.shape_id:
        yield "NO_SHAPE_ID", f"{place} has no shape_id: give each cloud its own"
    if category is None:
        known = ", ".join(categories)
        yield "UNKNOWN_CATEGORY", f"{who} is of category {cloud.category!r}, expected {known}"
    size, rest = divmod(cloud.coordinates.size, 3)
    if rest:
        message = f"{who} has {cloud.coordinates.size} coordinates, expected 3 for each point"
        yield "COORDINATE_COUNT", f"{message}: its file may be cut short, fetch it again"
    else:
        if problem := _point_problem(cloud.coordinates.reshape(-1, 3), settings):
            yield problem[0], f"{who} has {problem[1]}"
        label_count = 0 if labels is None else labels.size
        if label_count != size and not (labels is None and place.split == UNLABELLED):
            message = f"{who} has {label_count} labels for {size} points"
            yield "LABEL_COUNT", f"{message}, expected one for each: correct its labels"
    if category is not None and labels is not None:
        wrong = np.flatnonzero((labels < UNANNOTATED) | (labels >= len(category.parts)))
        if wrong.size:
            found = f"label {labels[wrong[0]]} at point {wrong[0]} ({wrong.size} such points)"
            expected = f"{UNANNOTATED} for no part, to {len(category.parts) - 1}"
            yield "LABEL_RANGE", f"{who} has {found}, expected {expected}: correct its labels"


def _point_problem(points: np.ndarray, settings: ValidationSettings) -> tuple[str, str] | None:
    """The first problem of the coordinates, float32 [n, 3]."""
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(points) < settings.minimum_points:
        problem = f"{len(points)} points, expected at least {settings.minimum_points}"
        return "TOO_FEW_POINTS", f"{problem}: leave it out, or lower validation.minimum_points"
    if wrong.size:
        problem = f"point {wrong[0]} at {points[wrong[0]].tolist()} ({wrong.size} such points)"
        return "NON_FINITE", f"{problem}, expected finite numbers: correct its file"
    if (points == points[0]).all():
        problem = f"all its {len(points)} points at {points[0].tolist()}"
        return "ZERO_RADIUS", f"{problem}, expected different ones: correct its file"
    return None
