"""What is checked of a cloud, and of all clouds together; NumPy only, no TFX and no Beam.

| code                   | severity   | found                                                      |
|------------------------|------------|------------------------------------------------------------|
| UNREADABLE             | quarantine | bytes that are no tf.Example                               |
| NO_SHAPE_ID            | quarantine | a cloud without a name                                     |
| UNKNOWN_CATEGORY       | quarantine | a category that the pipeline does not know                 |
| COORDINATE_COUNT       | quarantine | a list of coordinates that three does not divide           |
| TOO_FEW_POINTS         | quarantine | fewer than `minimum_points`                                |
| LABEL_COUNT            | quarantine | not one label a point                                      |
| LABEL_RANGE            | quarantine | a label that is no part of the cloud's category            |
| NON_FINITE             | quarantine | a coordinate that is NaN or infinite                       |
| ZERO_RADIUS            | quarantine | all points in one place                                    |
| SHAPE_IN_TWO_SPLITS    | quarantine | a shape id that a more held-out split has too              |
| SHAPE_TWICE            | quarantine | a shape id that its split has already                      |
| GEOMETRY_IN_TWO_SPLITS | quarantine | the very points of a shape of a more held-out split        |
| GEOMETRY_TWICE         | warning    | the very points of another shape of its split              |
| DUPLICATE_POINTS       | warning    | more than `duplicate_share` of the points repeat others    |
| MISSING_CATEGORY       | warning    | a category without any training cloud                      |
| MISSING_PART           | warning    | a part that no training cloud has                          |
| PART_IMBALANCE         | warning    | parts whose training points differ by `imbalance_ratio`    |
| CATEGORY_IMBALANCE     | warning    | categories whose training clouds differ by it              |

Set-wide checks look at the clouds that passed the checks before them: shape ids at the clouds sound
in themselves, geometry at those whose id is their own, parts at what is left to train on.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from components.settings import ValidationSettings
from preprocessing.conversion.plan import HELD_OUT_FIRST
from schema.categories import Category
from schema.record import UNANNOTATED, UNLABELLED

Severity = Literal["quarantine", "warning"]

TRAIN = "train"

_SHAPES_NAMED = 5


class UnsoundDataError(ValueError):
    """The data may not be trained on; the message says why and what to do."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
      code: a stable name from the module's table.
      severity: quarantine, the cloud is refused; warning, it stays.
      split: the split it was found in.
      shape_id: the shape it was found in; empty where it concerns a whole category.
      sentence: what was found, what was expected, what to do.
    """

    code: str
    severity: Severity
    split: str
    shape_id: str
    sentence: str


class Place(NamedTuple):
    """Where a record stands: at `position` of file number `shard` of `split`, all from 0."""

    split: str
    shard: int
    position: int


@dataclass(frozen=True)
class RawCloud:
    """A cloud record as it was stored, before anything is known to be right.

    Attributes:
      shape_id: may be empty.
      category: may be unknown.
      coordinates: float32 [m]; x y z of point 0, of point 1, ... if m is 3n.
      labels: int64 [k]; None where the record has no such feature.
    """

    shape_id: str
    category: str
    coordinates: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Examination:
    """What is known of one record; small, whatever the size of its cloud.

    Attributes:
      place: where the record stands.
      shape_id: its shape.
      category: name of its category.
      geometry: hash of its points, in any order; empty for a refused cloud.
      part_points: its number of points of each part of the category; empty for a refused cloud.
      findings: what the checks so far found.
    """

    place: Place
    shape_id: str
    category: str
    geometry: str
    part_points: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> bool:
        """Whether any finding keeps the cloud from training and evaluation."""
        return any(finding.severity == "quarantine" for finding in self.findings)

    def with_finding(self, code: str, severity: Severity, sentence: str) -> Examination:
        """The same, and one finding more."""
        finding = Finding(code, severity, self.place.split, self.shape_id, sentence)
        return dataclasses.replace(self, findings=(*self.findings, finding))


def sorted_points(points: np.ndarray) -> np.ndarray:
    """Orders points by x, then y, then z: float32 [n, 3] -> float32 [n, 3], with no minus zeros."""
    positive = points + np.float32(0)
    return positive[np.lexsort(positive.T[::-1])]


def geometry_hash(ordered: np.ndarray) -> str:
    """A hash of the points that `sorted_points` ordered: the same however a cloud is shuffled."""
    return hashlib.blake2b(ordered.astype("<f4").tobytes(), digest_size=16).hexdigest()


def repeated_points(ordered: np.ndarray) -> int:
    """How many points repeat another one's coordinates, in what `sorted_points` ordered."""
    return int(np.count_nonzero(np.all(ordered[1:] == ordered[:-1], axis=1)))


def examine(
    cloud: RawCloud | None,
    place: Place,
    settings: ValidationSettings,
    categories: Mapping[str, Category],
) -> Examination:
    """Checks one cloud by itself.

    Args:
      cloud: the record as stored; None where its bytes are no tf.Example.
      place: where it stands.
      settings: limits.
      categories: the known categories by name.

    Returns:
      Its examination, with every finding that does not merely follow from another.
    """
    split = place.split
    if cloud is None:
        return Examination(place, "", "", "", (), ()).with_finding(
            "UNREADABLE",
            "quarantine",
            f"record {place.position} of file {place.shard} in {split} is no tf.Example; convert "
            "the data again",
        )
    who = f"shape {cloud.shape_id} in {split}"
    findings: list[Finding] = []

    def found(code: str, severity: Severity, sentence: str) -> None:
        findings.append(Finding(code, severity, split, cloud.shape_id, sentence))

    if not cloud.shape_id:
        found(
            "NO_SHAPE_ID",
            "quarantine",
            f"record {place.position} of file {place.shard} in {split} has no shape_id; every "
            "cloud needs a name of its own: give it one and convert the data again",
        )

    category = categories.get(cloud.category)
    if category is None:
        found(
            "UNKNOWN_CATEGORY",
            "quarantine",
            f"{who} is of category {cloud.category!r}; known are {', '.join(categories)}: correct "
            "its category, or add it to the data set's categories",
        )

    points = None
    if cloud.coordinates.size % 3:
        found(
            "COORDINATE_COUNT",
            "quarantine",
            f"{who} has {cloud.coordinates.size} coordinates, which three does not divide; each "
            "point needs x, y and z: its file may be cut short, so fetch and convert it again",
        )
    else:
        points = cloud.coordinates.reshape(-1, 3)
        _check_points(points, who, settings, found)
        label_count = 0 if cloud.labels is None else cloud.labels.size
        unlabelled = cloud.labels is None and split == UNLABELLED
        if label_count != len(points) and not unlabelled:
            found(
                "LABEL_COUNT",
                "quarantine",
                f"{who} has {label_count} labels for {len(points)} points; each point needs one "
                "label: correct its labels and convert the data again",
            )
    if category is not None and cloud.labels is not None:
        parts = len(category.parts)
        wrong = (cloud.labels < UNANNOTATED) | (cloud.labels >= parts)
        if wrong.any():
            first = int(np.argmax(wrong))
            found(
                "LABEL_RANGE",
                "quarantine",
                f"{who} has label {cloud.labels[first]} at point {first} "
                f"({np.count_nonzero(wrong)} such points); {category.name} has the parts 0 to "
                f"{parts - 1}, and {UNANNOTATED} for no part: correct its labels, or its category",
            )

    if points is None or category is None or any(f.severity == "quarantine" for f in findings):
        return Examination(place, cloud.shape_id, cloud.category, "", (), tuple(findings))

    ordered = sorted_points(points)
    repeated = repeated_points(ordered)
    if repeated > settings.duplicate_share * len(points):
        found(
            "DUPLICATE_POINTS",
            "warning",
            f"{who} has {repeated} of {len(points)} points that repeat another one; expected is a "
            f"share of at most {settings.duplicate_share:g}: see whether it was padded when it was "
            "made, and remove the copies",
        )
    labels = np.empty(0, np.int64) if cloud.labels is None else cloud.labels
    counts = np.bincount(labels[labels >= 0], minlength=len(category.parts))
    return Examination(
        place,
        cloud.shape_id,
        cloud.category,
        geometry_hash(ordered),
        tuple(int(count) for count in counts),
        tuple(findings),
    )


def _check_points(
    points: np.ndarray,
    who: str,
    settings: ValidationSettings,
    found: Callable[[str, Severity, str], None],
) -> None:
    """Checks the coordinates, float32 [n, 3], and calls `found` for what is wrong."""
    if len(points) < settings.minimum_points:
        found(
            "TOO_FEW_POINTS",
            "quarantine",
            f"{who} has {len(points)} points; minimum_points is {settings.minimum_points}: leave "
            "it out of the data, or lower minimum_points",
        )
        return
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        at = ", ".join(f"{value:g}" for value in points[first])
        found(
            "NON_FINITE",
            "quarantine",
            f"{who} has point {first} at ({at}) ({np.count_nonzero(~finite)} such points); "
            "coordinates must be finite: correct its file and convert the data again",
        )
    elif (points == points[0]).all():
        at = ", ".join(f"{value:g}" for value in points[0])
        found(
            "ZERO_RADIUS",
            "quarantine",
            f"{who} has all its {len(points)} points at ({at}); a shape needs a radius above zero: "
            "correct its file and convert the data again",
        )


def _held_out_rank(split: str) -> int:
    return HELD_OUT_FIRST.index(split) if split in HELD_OUT_FIRST else len(HELD_OUT_FIRST)


def resolve_shape_id(group: Iterable[Examination]) -> list[Examination]:
    """Lets one of the clouds that share a shape id stay: the most held-out one.

    Args:
      group: all sound clouds with one shape id, in any order.

    Returns:
      The same clouds, all but one of them refused.
    """
    # Geometry before place: which of two stays does not hang on the order of the records.
    first, *others = sorted(
        group, key=lambda e: (_held_out_rank(e.place.split), e.geometry, e.place)
    )
    resolved = [first]
    for other in others:
        split = other.place.split
        if split == first.place.split:
            other = other.with_finding(
                "SHAPE_TWICE",
                "quarantine",
                f"shape {other.shape_id} stands in {split} more than once; a shape id belongs to "
                "one cloud: one copy was kept, so remove this one, or give it its own id",
            )
        else:
            other = other.with_finding(
                "SHAPE_IN_TWO_SPLITS",
                "quarantine",
                f"shape {other.shape_id} in {split} stands in {first.place.split} too; a shape "
                f"belongs to one split: the one in {first.place.split} was kept, so remove this "
                "one from the data",
            )
        resolved.append(other)
    return resolved


def resolve_geometry(group: Iterable[Examination]) -> list[Examination]:
    """Refuses clouds whose very points stand in a more held-out split under another name.

    Args:
      group: all clouds with one geometry hash that are left by then, in any order.

    Returns:
      The same clouds, those outside the most held-out split refused.
    """
    ordered = sorted(
        group, key=lambda e: (_held_out_rank(e.place.split), e.place.split, e.shape_id, e.place)
    )
    first = ordered[0]
    resolved = [first]
    for other in ordered[1:]:
        split = other.place.split
        if split == first.place.split:
            other = other.with_finding(
                "GEOMETRY_TWICE",
                "warning",
                f"shape {other.shape_id} in {split} has the very points of {first.shape_id}; "
                "expected is that shapes differ: it counts twice until one of them is removed",
            )
        else:
            other = other.with_finding(
                "GEOMETRY_IN_TWO_SPLITS",
                "quarantine",
                f"shape {other.shape_id} in {split} has the very points of {first.shape_id} in "
                f"{first.place.split}; a shape belongs to one split: the one in "
                f"{first.place.split} was kept, so remove this one from the data",
            )
        resolved.append(other)
    return resolved


def check_training_parts(
    part_points: Mapping[str, Sequence[int]],
    clouds: Mapping[str, int],
    categories: Sequence[Category],
    settings: ValidationSettings,
) -> list[Finding]:
    """Checks that the clouds left to train on show every part, and none too rarely.

    Args:
      part_points: training points of each part, by category.
      clouds: training clouds by category; a category may be absent from both.
      categories: what the model is to learn.
      settings: limits.

    Returns:
      Warnings, for split train.
    """
    findings = []

    def found(code: str, sentence: str) -> None:
        findings.append(Finding(code, "warning", TRAIN, "", sentence))

    present = {c.name: clouds[c.name] for c in categories if clouds.get(c.name)}
    for category in categories:
        if category.name not in present:
            found(
                "MISSING_CATEGORY",
                f"no training cloud is of category {category.name}; each category that the model "
                "is to know needs some: add shapes, or leave the category out",
            )
            continue
        points = part_points[category.name]
        missing = [part for part, n in zip(category.parts, points, strict=True) if n == 0]
        if missing:
            found(
                "MISSING_PART",
                f"none of the {present[category.name]} training clouds of {category.name} has a "
                f"point of {', '.join(missing)}; the model cannot learn a part that it never sees: "
                "add shapes that have it, or leave the part out",
            )
        # A missing part was reported above; it is no matter of balance.
        shown = [(n, part) for part, n in zip(category.parts, points, strict=True) if n > 0]
        if len(shown) > 1:
            (fewest, rarest), (most, commonest) = min(shown), max(shown)
            if most > settings.imbalance_ratio * fewest:
                found(
                    "PART_IMBALANCE",
                    f"{category.name} has {fewest} training points of {rarest} and {most} of "
                    f"{commonest}; expected is at most {settings.imbalance_ratio:g} times as many: "
                    f"add shapes with {rarest}, and watch its own accuracy rather than the mean",
                )
    if len(present) > 1:
        rarest, commonest = (pick(present, key=lambda c: (present[c], c)) for pick in (min, max))
        if present[commonest] > settings.imbalance_ratio * present[rarest]:
            found(
                "CATEGORY_IMBALANCE",
                f"{rarest} has {present[rarest]} training clouds and {commonest} has "
                f"{present[commonest]}; expected is at most {settings.imbalance_ratio:g} times as "
                f"many: add shapes of {rarest}, and watch its own accuracy rather than the mean",
            )
    return findings


def all_findings(
    findings: Iterable[Finding],
    training: Mapping[str, Sequence[int]],
    splits: Sequence[str],
    categories: Sequence[Category],
    settings: ValidationSettings,
) -> list[Finding]:
    """Adds what the clouds left to train on lack, and puts the findings in order.

    Args:
      findings: of the clouds, in any order.
      training: clouds left to train on and their points of each part, by category.
      splits: in the order in which they are reported.
      categories: what the model is to learn.
      settings: limits.

    Returns:
      All findings, by split, shape and code.
    """
    found = list(findings)
    if TRAIN in splits:
        found += check_training_parts(
            {name: points for name, (_, *points) in training.items()},
            {name: clouds for name, (clouds, *_) in training.items()},
            categories,
            settings,
        )
    order = {split: place for place, split in enumerate(splits)}
    return sorted(found, key=lambda f: (order[f.split], f.shape_id, f.code, f.sentence))


def judge(examinations: Iterable[Examination]) -> list[Examination]:
    """The set-wide checks in one process, as CloudValidator makes them in Beam.

    Args:
      examinations: of all clouds, as `examine` gave them.

    Returns:
      The same clouds in the order of their places, each with all its findings.
    """
    judged: list[Examination] = []
    by_shape: dict[str, list[Examination]] = {}
    for examination in examinations:
        if examination.refused:
            judged.append(examination)
        else:
            by_shape.setdefault(examination.shape_id, []).append(examination)
    by_geometry: dict[str, list[Examination]] = {}
    for group in by_shape.values():
        for examination in resolve_shape_id(group):
            if examination.refused:
                judged.append(examination)
            else:
                by_geometry.setdefault(examination.geometry, []).append(examination)
    for group in by_geometry.values():
        judged += resolve_geometry(group)
    return sorted(judged, key=lambda e: e.place)


@dataclass(frozen=True)
class SplitCount:
    """What became of one split's clouds.

    Attributes:
      clouds: how many came in.
      refused: how many of them were refused.
    """

    clouds: int
    refused: int


def too_many_refused(
    counts: Mapping[str, SplitCount],
    findings: Iterable[Finding],
    settings: ValidationSettings,
    report: str,
) -> str | None:
    """Decides whether so many clouds were refused that the data as a whole is not to be trusted.

    Args:
      counts: by split.
      findings: all of them.
      settings: `quarantine_share`.
      report: where the findings can be read.

    Returns:
      One sentence that says so; None where each split is within the share.
    """
    over = {
        split: count
        for split, count in counts.items()
        if count.refused > settings.quarantine_share * count.clouds
    }
    if not over:
        return None
    reasons: dict[str, int] = {}
    shapes: dict[str, None] = {}
    for finding in findings:
        if finding.split in over and finding.severity == "quarantine":
            reasons[finding.code] = reasons.get(finding.code, 0) + 1
            shapes[finding.shape_id or "(no id)"] = None
    shares = ", ".join(
        f"{count.refused} of {count.clouds} clouds of {split}" for split, count in over.items()
    )
    coded = ", ".join(f"{reasons[code]} {code}" for code in sorted(reasons))
    named = ", ".join(list(shapes)[:_SHAPES_NAMED]) + (
        ", ..." if len(shapes) > _SHAPES_NAMED else ""
    )
    return (
        f"CloudValidator refused {shares}, more than the {settings.quarantine_share:.0%} of a "
        f"split that quarantine_share allows ({coded}; shapes {named}): correct the data, each "
        f"finding being in {report}, or raise quarantine_share"
    )
