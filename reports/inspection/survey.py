"""What a source has: one pass over its clouds, CloudValidator's checks, and some clouds to draw.

Of each cloud only its verdict is kept. Which clouds are drawn depends on their names alone, so that
raw shapes and the TFRecords made of them give the same survey.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from preprocessing.checks import set_checks
from preprocessing.checks.cloud_checks import QUARANTINE, CloudFinding, RawCloud, Verdict, examine
from preprocessing.checks.settings import ValidationSettings
from preprocessing.datasets.demo import is_made_up
from preprocessing.progress import progress
from reports.inspection.sources import Source
from schema.categories import UNANNOTATED_COLOUR, Category
from schema.errors import Finding
from schema.record import UNANNOTATED, UNLABELLED

# What follows from a finding, the most serious first.
LEFT_OUT, REFUSED, WARNING, NOTE = "left out", "refused", "warning", "note"
CONSEQUENCES = {
    LEFT_OUT: "it cannot be read, or not completely, and is in no split",
    REFUSED: "CloudValidator sets it aside: it is not used in training or evaluation",
    WARNING: "nothing is left out; check that it is as intended",
    NOTE: "nothing is left out, unless the finding says so",
}
# More points do not make a better picture.
_MOST_POINTS_DRAWN = 20_000


@dataclass(frozen=True)
class DrawnCloud:
    """A cloud of `size` points in `box`; of very many, some points [n, 3] and labels [n]."""

    shape_id: str
    split: str
    size: int
    box: str
    points: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class PartRow:
    """A part: its points, their share of those of labelled clouds, and clouds by split."""

    name: str
    colour: str
    points: int
    share: float
    clouds: dict[str, int]


@dataclass(frozen=True)
class CategoryRow:
    """A category: the sizes of its accepted clouds by split, and how many are not among them.

    Unannotated points, if there are any, are the last of the parts.
    """

    category: Category
    sizes: dict[str, list[int]]
    refused: int
    unreadable: int
    parts: list[PartRow]
    drawn: list[DrawnCloud]

    @property
    def made_up(self) -> bool:
        return is_made_up(self.category)

    @property
    def points(self) -> str:
        """Fewest, median and most points of a cloud."""
        sizes = sorted(chain(*self.sizes.values())) or [0]
        return f"{sizes[0]:,} / {statistics.median(sizes):,.10g} / {sizes[-1]:,}"


@dataclass(frozen=True)
class Survey:
    """What a source has; of `total` shapes, `looked_at` were read, `read` of them successfully.

    `findings` are texts by consequence and code, the most serious and frequent first; `stops` are
    reasons why the pipeline would not train on this source.
    """

    name: str
    form: str
    total: int
    looked_at: int
    read: int
    refused: int
    splits: tuple[str, ...]
    categories: list[CategoryRow]
    findings: dict[tuple[str, str], list[str]]
    notes: list[str]
    stops: list[str]

    def sizes(self, split: str) -> list[int]:
        """Points of each accepted cloud of a split."""
        return [size for row in self.categories for size in row.sizes[split]]


def take_survey(
    source: Source, settings: ValidationSettings, pictures: int, limit: int | None = None
) -> Survey:
    """Reads all clouds, or `limit` evenly spread ones; draws `pictures` of each category."""
    known = {category.name: category for category in source.categories}
    verdicts: list[Verdict] = []
    to_draw: dict[str, list[tuple[int, str, DrawnCloud]]] = {name: [] for name in known}
    with progress("Inspecting", source.total, lambda: source.passed, "shapes"):
        for place, cloud in source.clouds(limit):
            verdict = examine(cloud, place, settings, known)
            verdicts.append(verdict)
            if cloud is None or verdict.refused:
                continue
            digest = hashlib.sha256(cloud.shape_id.encode(errors="surrogateescape")).digest()
            # The largest hash is the first to be dropped.
            entry = -int.from_bytes(digest, "big"), str(place), _drawn(cloud, place.split)
            heapq.heappush(to_draw[cloud.category], entry)
            if len(to_draw[cloud.category]) > pictures:
                heapq.heappop(to_draw[cloud.category])
    judged = set_checks.judge(verdicts)
    accepted = [verdict for verdict in judged if not verdict.refused]
    names = {verdict.category for verdict in accepted}
    categories = [c for c in source.categories if source.categories_complete or c.name in names]
    totals = set_checks.totals_of(judged)
    found = [finding for verdict in judged for finding in verdict.findings]
    if set_checks.TRAIN in source.splits:
        found += set_checks.check_training(totals, categories, settings)
    stop = set_checks.too_many_refused(totals, found, settings, "the findings")
    empty = {*source.splits} - {verdict.place.split for verdict in accepted}
    drawn = {name: [d for *_, d in sorted(heap, reverse=True)] for name, heap in to_draw.items()}
    return Survey(
        name=source.name,
        form=source.form,
        total=source.total,
        looked_at=min(limit or source.total, source.total),
        read=len(judged),
        refused=len(judged) - len(accepted),
        splits=source.splits,
        categories=[_category_row(c, judged, drawn[c.name], source) for c in categories],
        findings=_by_code(source.findings, found),
        notes=[*source.notes, *(f"No cloud is left in {split}." for split in sorted(empty))],
        stops=[*source.stops, *([stop] if stop else [])],
    )


def _drawn(cloud: RawCloud, split: str) -> DrawnCloud:
    points = cloud.coordinates.reshape(-1, 3)
    labels = np.full(len(points), UNANNOTATED) if cloud.labels is None else cloud.labels
    # In the source's own coordinates, with as many digits as its extent needs.
    ends = np.array([points.min(axis=0), points.max(axis=0)], np.float64)
    digits = max(0, 3 - math.floor(math.log10(np.ptp(ends, axis=0).max())))
    if cloud.offset is not None and cloud.offset.size == 3:
        ends += cloud.offset
    axes = zip("xyz", *ends, strict=True)
    box = ", ".join(f"{axis} {low:,.{digits}f} to {high:,.{digits}f}" for axis, low, high in axes)
    step = -(-len(points) // _MOST_POINTS_DRAWN)
    return DrawnCloud(cloud.shape_id, split, len(points), box, points[::step], labels[::step])


def _category_row(
    category: Category, judged: Sequence[Verdict], drawn: list[DrawnCloud], source: Source
) -> CategoryRow:
    judged = [verdict for verdict in judged if verdict.category == category.name]
    accepted = [verdict for verdict in judged if not verdict.refused]
    sizes: dict[str, list[int]] = {split: [] for split in source.splits}
    for verdict in accepted:
        sizes[verdict.place.split].append(verdict.points)
    total = sum(verdict.points for verdict in accepted if verdict.place.split != UNLABELLED)
    parts = []
    for index, (name, colour) in enumerate(zip(category.parts, category.colours, strict=True)):
        points = sum(verdict.part_points[index] for verdict in accepted)
        having = Counter(v.place.split for v in accepted if v.part_points[index])
        clouds = {split: having[split] for split in source.splits}
        parts.append(PartRow(name, colour, points, points / max(total, 1), clouds))
    if rest := total - sum(part.points for part in parts):
        parts.append(PartRow("unannotated", UNANNOTATED_COLOUR, rest, rest / total, {}))
    refused, unreadable = len(judged) - len(accepted), source.unreadable[category.name]
    return CategoryRow(category, sizes, refused, unreadable, parts, drawn)


def _by_code(
    of_source: Iterable[Finding], of_checks: Iterable[CloudFinding]
) -> dict[tuple[str, str], list[str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for finding in sorted(set(of_source), key=str):
        kind = WARNING if finding.code in ("changed_file", "unlisted_file") else NOTE
        key = LEFT_OUT if finding.left_out else kind, finding.code
        groups.setdefault(key, []).append(str(finding))
    for found in of_checks:
        key = REFUSED if found.severity == QUARANTINE else WARNING, found.code
        groups.setdefault(key, []).append(found.sentence)
    keys = sorted(groups, key=lambda k: ([*CONSEQUENCES].index(k[0]), -len(groups[k]), k[1]))
    return {key: groups[key] for key in keys}
