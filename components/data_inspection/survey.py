"""What a source holds: one pass over its clouds, the pipeline's own checks, and some clouds kept.

Of each cloud only its verdict and a few counts stay in memory (some hundred bytes), and the points
of the few that are drawn. Which are drawn hangs on their names alone, so that raw shapes and the
TFRecords made of them give the same survey.
"""

from __future__ import annotations

import hashlib
import heapq
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from components.cloud_validator import checks
from components.cloud_validator.checks import Examination, Place, RawCloud, SplitCount
from components.data_inspection.sources import UNSPLIT, Source, made_up
from components.settings import ValidationSettings
from preprocessing.progress import progress
from schema.categories import Category
from schema.errors import Finding
from schema.record import UNANNOTATED

# What follows from a finding, the gravest first.
LEFT_OUT, REFUSED, WARNING, NOTE = "left out", "refused", "warning", "note"
CONSEQUENCES = {
    LEFT_OUT: "cannot be read: it, or the rest of it, is in no split",
    REFUSED: "CloudValidator sets it aside, nothing is trained or measured on it",
    WARNING: "nothing is left out for it; see whether it is meant",
    NOTE: "nothing is left out for it, unless the finding says so",
}
# Of what the source itself says, these are more than notes.
_WARNINGS = frozenset({"changed_file", "record_count", "unlisted_file"})
# More points than this make no better picture.
_MOST_POINTS_DRAWN = 20_000


@dataclass(frozen=True)
class NotedFinding:
    """A finding of the reader or of the checks.

    Attributes:
      consequence: a key of CONSEQUENCES.
      code: the finding's name, as the reader or the checks give it.
      split: the split, "" where it concerns none or is not known.
      shape_id: the shape, "" where it concerns none or several.
      place: file and line, "" where there is none.
      sentence: what was found, what was expected, what to do.
    """

    consequence: str
    code: str
    split: str
    shape_id: str
    place: str
    sentence: str


@dataclass(frozen=True)
class KeptCloud:
    """A cloud to be drawn.

    Attributes:
      shape_id: its name.
      split: its split.
      size: how many points it has.
      points: float32 [n, 3]; of a very large cloud, every so many-th point.
      labels: int64 [n]; all -1 for an unlabelled cloud.
    """

    shape_id: str
    split: str
    size: int
    points: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class PartSurvey:
    """A part of a category.

    Attributes:
      name: the part.
      colour: #RRGGBB.
      points: its points.
      share: of the labelled clouds' points, 0 to 1.
      clouds: how many clouds have it, by split.
    """

    name: str
    colour: str
    points: int
    share: float
    clouds: dict[str, int]


@dataclass(frozen=True)
class CategorySurvey:
    """A category; all numbers are those of the clouds that are not refused.

    Attributes:
      category: its parts and colours.
      made_up: whether a program made its shapes up.
      clouds: how many, by split.
      refused: how many more the checks refuse.
      fewest: points of the smallest cloud; 0 without clouds, as the next two.
      median: points of the median cloud.
      most: points of the largest cloud.
      points: of the labelled clouds.
      unannotated: of these, how many nobody annotated.
      parts: its parts.
      kept: clouds to be drawn.
    """

    category: Category
    made_up: bool
    clouds: dict[str, int]
    refused: int
    fewest: int
    median: float
    most: int
    points: int
    unannotated: int
    parts: tuple[PartSurvey, ...]
    kept: tuple[KeptCloud, ...]

    @property
    def unannotated_share(self) -> float:
        """Of the labelled clouds' points."""
        return self.unannotated / max(self.points, 1)


@dataclass(frozen=True)
class Survey:
    """What a source holds.

    Attributes:
      name: the source as it was given.
      form: what it is, in words.
      total: clouds that it has.
      looked_at: how many of them were to be looked at; fewer than `total` where there is a limit.
      read: how many of these could be read.
      splits: the splits' names, in order.
      categories: one for each category.
      sizes: points of each cloud that is not refused, by split.
      findings: the gravest first.
      stops: sentences that say why the pipeline would not train on this source as it stands.
      notes: what else there is to know.
      unreadable: how many raw shapes could not be read, by category.
    """

    name: str
    form: str
    total: int
    looked_at: int
    read: int
    splits: tuple[str, ...]
    categories: tuple[CategorySurvey, ...]
    sizes: dict[str, list[int]]
    findings: tuple[NotedFinding, ...]
    stops: tuple[str, ...]
    notes: tuple[str, ...]
    unreadable: dict[str, int]

    @property
    def made_up(self) -> tuple[str, ...]:
        """Names of the categories whose shapes a program made up."""
        return tuple(found.category.name for found in self.categories if found.made_up)

    def clouds(self, split: str) -> int:
        """Clouds of a split that are not refused."""
        return sum(category.clouds.get(split, 0) for category in self.categories)

    @property
    def shapes(self) -> int:
        """Readable or not."""
        return self.read + sum(self.unreadable.values())

    @property
    def refused(self) -> int:
        """Clouds that the checks refuse, those of no known category included."""
        return self.read - sum(len(sizes) for sizes in self.sizes.values())

    def findings_by_code(self) -> list[tuple[str, str, int]]:
        """Consequence, code and number of findings, the gravest first."""
        counts = Counter((finding.consequence, finding.code) for finding in self.findings)
        order = list(CONSEQUENCES)
        return [
            (*key, counts[key])
            for key in sorted(counts, key=lambda k: (order.index(k[0]), -counts[k], k[1]))
        ]


def take_survey(
    source: Source, settings: ValidationSettings, pictures: int, limit: int | None = None
) -> Survey:
    """Looks at all clouds of a source, or at some evenly spread over it.

    Args:
      source: read to its end.
      settings: the limits of the checks.
      pictures: how many clouds of each category to keep for drawing.
      limit: look at this many clouds at most.
    """
    examinations, sizes, kept = _look(source, settings, pictures, limit)
    while source.plan_again():
        examinations, sizes, kept = _look(source, settings, pictures, limit)
    judged = checks.judge(examinations)

    seen = {examination.category for examination in judged if not examination.refused}
    categories = tuple(
        category
        for category in source.categories
        if source.categories_complete or category.name in seen
    )
    stay = [examination for examination in judged if not examination.refused]
    found = checks.all_findings(
        [finding for examination in judged for finding in examination.findings],
        _training(stay),
        source.splits,
        categories,
        settings,
    )
    names_made_up = made_up(categories)
    return Survey(
        name=source.name,
        form=source.form,
        total=source.total,
        looked_at=source.total if limit is None else min(limit, source.total),
        read=len(judged),
        splits=source.splits,
        categories=tuple(
            _category_survey(
                category,
                category.name in names_made_up,
                [e for e in judged if e.category == category.name],
                sizes,
                kept[category.name].clouds(),
                source.splits,
            )
            for category in categories
        ),
        sizes={
            split: [sizes[e.place][0] for e in stay if e.place.split == split]
            for split in source.splits
        },
        findings=_noted(source.findings, found),
        stops=(*source.stops(), *_stops(judged, found, settings)),
        notes=(*source.notes(), *_empty(source.splits, judged)),
        unreadable=dict(source.unreadable),
    )


def _look(
    source: Source, settings: ValidationSettings, pictures: int, limit: int | None
) -> tuple[list[Examination], dict[Place, tuple[int, int]], dict[str, _Kept]]:
    """One pass: what the checks say of each cloud, its sizes, and clouds to draw by category."""
    known = {category.name: category for category in source.categories}
    wanted = evenly_spread(source.total, limit)
    examinations: list[Examination] = []
    # Points, and unannotated points (-1: the cloud is unlabelled), of each cloud by its place.
    sizes: dict[Place, tuple[int, int]] = {}
    kept = {name: _Kept(pictures) for name in known}
    with progress("Inspecting", source.total, lambda: source.passed, "shapes"):
        for place, cloud in source.clouds(wanted):
            examination = checks.examine(cloud, place, settings, known)
            examinations.append(examination)
            if cloud is not None and not examination.refused:
                sizes[place] = _sizes(cloud)
                kept[cloud.category].offer(cloud, place)
    return examinations, sizes, kept


def evenly_spread(total: int, limit: int | None) -> Callable[[int], bool]:
    """Says of each number from 0 to `total` whether it is one of `limit` evenly spread ones."""
    if limit is None or limit >= total:
        return lambda number: True
    return lambda number: number * limit % total < limit


def _sizes(cloud: RawCloud) -> tuple[int, int]:
    unannotated = -1 if cloud.labels is None else int((cloud.labels == UNANNOTATED).sum())
    return cloud.coordinates.size // 3, unannotated


class _Kept:
    """The clouds whose names have the smallest hashes."""

    def __init__(self, most: int) -> None:
        self._most = most
        # The hash is turned into a negative number: the heap's first is the one to give way.
        self._heap: list[tuple[int, Place, KeptCloud]] = []

    def offer(self, cloud: RawCloud, place: Place) -> None:
        digest = hashlib.sha256(cloud.shape_id.encode(errors="surrogateescape")).digest()
        rank = -int.from_bytes(digest, "big")
        full = len(self._heap) >= self._most
        if full and (not self._heap or rank <= self._heap[0][0]):
            return
        entry = (rank, place, kept_cloud(cloud, place.split))
        if full:
            heapq.heapreplace(self._heap, entry)
        else:
            heapq.heappush(self._heap, entry)

    def clouds(self) -> tuple[KeptCloud, ...]:
        return tuple(cloud for _, _, cloud in sorted(self._heap, key=lambda entry: -entry[0]))


def kept_cloud(cloud: RawCloud, split: str) -> KeptCloud:
    """A well-formed cloud as it is drawn."""
    points = cloud.coordinates.reshape(-1, 3)
    labels = cloud.labels
    if labels is None:
        labels = np.full(len(points), UNANNOTATED, np.int64)
    step = -(-len(points) // _MOST_POINTS_DRAWN)
    return KeptCloud(cloud.shape_id, split, len(points), points[::step], labels[::step])


def _training(stay: Sequence[Examination]) -> dict[str, list[int]]:
    """Training clouds and their points of each part, by category."""
    sums: dict[str, list[int]] = {}
    for examination in stay:
        if examination.place.split == checks.TRAIN:
            row = [1, *examination.part_points]
            before = sums.get(examination.category, [0] * len(row))
            sums[examination.category] = [a + b for a, b in zip(before, row, strict=True)]
    return sums


def _category_survey(
    category: Category,
    is_made_up: bool,
    judged: Sequence[Examination],
    sizes: dict[Place, tuple[int, int]],
    kept: tuple[KeptCloud, ...],
    splits: Sequence[str],
) -> CategorySurvey:
    stay = [examination for examination in judged if not examination.refused]
    counts = [sizes[examination.place][0] for examination in stay]
    labelled = [e for e in stay if sizes[e.place][1] >= 0]
    points = sum(sizes[e.place][0] for e in labelled)
    parts = []
    for index, (name, colour) in enumerate(zip(category.parts, category.colours, strict=True)):
        having = Counter(e.place.split for e in stay if e.part_points[index])
        part_points = sum(e.part_points[index] for e in stay)
        by_split = {split: having[split] for split in splits}
        parts.append(PartSurvey(name, colour, part_points, part_points / max(points, 1), by_split))
    by_split = Counter(examination.place.split for examination in stay)
    return CategorySurvey(
        category=category,
        made_up=is_made_up,
        clouds={split: by_split[split] for split in splits},
        refused=len(judged) - len(stay),
        fewest=min(counts, default=0),
        median=statistics.median(counts) if counts else 0,
        most=max(counts, default=0),
        points=points,
        unannotated=sum(sizes[e.place][1] for e in labelled),
        parts=tuple(parts),
        kept=kept,
    )


def _noted(
    source_findings: Sequence[Finding], check_findings: Sequence[checks.Finding]
) -> tuple[NotedFinding, ...]:
    """All findings, the gravest first."""
    noted = [note_source_finding(finding) for finding in source_findings]
    noted += [note_check_finding(finding) for finding in check_findings]
    order = list(CONSEQUENCES)
    return tuple(
        sorted(noted, key=lambda f: (order.index(f.consequence), f.code, f.shape_id, f.place))
    )


def note_source_finding(finding: Finding) -> NotedFinding:
    """What the reader found."""
    consequence = LEFT_OUT if finding.left_out else NOTE
    if finding.code in _WARNINGS:
        consequence = WARNING
    place = f"{finding.file}, line {finding.line}" if finding.line else finding.file
    return NotedFinding(consequence, finding.code, "", finding.shape, place, finding.message)


def note_check_finding(finding: checks.Finding) -> NotedFinding:
    """What CloudValidator's checks found."""
    consequence = REFUSED if finding.severity == "quarantine" else WARNING
    return NotedFinding(
        consequence, finding.code, finding.split, finding.shape_id, "", finding.sentence
    )


def _empty(splits: Sequence[str], judged: Sequence[Examination]) -> list[str]:
    """Says which splits have no cloud that stays; a file by itself, in no split, lacks none."""
    stay = {examination.place.split for examination in judged if not examination.refused}
    named = [split for split in splits if split != UNSPLIT]
    return [f"No cloud is left in {split}." for split in named if split not in stay]


def _stops(
    judged: Sequence[Examination], found: Sequence[checks.Finding], settings: ValidationSettings
) -> list[str]:
    """What CloudValidator would stop a run for."""
    clouds = Counter(e.place.split for e in judged)
    refused = Counter(e.place.split for e in judged if e.refused)
    counts = {s: SplitCount(n, refused[s]) for s, n in clouds.items() if s != UNSPLIT}
    stop = checks.too_many_refused(counts, found, settings, "the list of findings")
    return [] if stop is None else [stop]
