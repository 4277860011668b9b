"""Checks of all clouds of a data set together: leaks between splits, duplicates, missing parts.

CloudValidator makes SET_CHECKS in Beam, `judge` in this process: shape ids are compared among the
clouds that are sound by themselves, geometry and parts among those that are then left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from preprocessing.checks.cloud_checks import QUARANTINE, WARNING, CloudFinding, Severity, Verdict
from preprocessing.checks.settings import ValidationSettings
from preprocessing.conversion.plan import HELD_OUT_FIRST
from schema.categories import Category

TRAIN = "train"

# (clouds, refused clouds) of each split, by ("split", name); and of the clouds left to train on
# (clouds, points of each part), by ("category", name).
Totals = dict[tuple[str, str], tuple[int, ...]]


def judge_shape_id(_: tuple, group: Iterable[Verdict]) -> Iterator[Verdict]:
    """Accepts one of the clouds with one shape id: in the most held-out split."""
    # Geometry comes before place, so that the order of the records does not matter.
    kept = min(group, key=lambda v: (_rank(v), v.geometry, v.place))
    codes = "SHAPE_TWICE", "SHAPE_IN_TWO_SPLITS"
    return (_judged(v, kept, codes, QUARANTINE, "has the same id as one") for v in group)


def judge_geometry(_: tuple, group: Iterable[Verdict]) -> Iterator[Verdict]:
    """Refuses clouds that have the points of another shape in a more held-out split."""
    kept = min(group, key=lambda v: (_rank(v), v.place.split, v.shape_id, v.place))
    codes = "GEOMETRY_TWICE", "GEOMETRY_IN_TWO_SPLITS"
    problem = f"has the same points as {kept.shape_id}"
    return (_judged(v, kept, codes, WARNING, problem) for v in group)


def _judged(
    verdict: Verdict, kept: Verdict, codes: tuple[str, str], within: Severity, problem: str
) -> Verdict:
    """The verdict beside the cloud that is kept; the first code is for clouds of one split."""
    split, kept_split = verdict.place.split, kept.place.split
    if verdict.place == kept.place:
        return verdict
    sentence = f"shape {verdict.shape_id} in {split} {problem} in {kept_split}"
    if split == kept_split:
        return verdict.with_finding(codes[0], within, f"{sentence}: remove one of them")
    sentence += ", which was kept: remove this one from the data"
    return verdict.with_finding(codes[1], QUARANTINE, sentence)


SET_CHECKS = (("shape_id", judge_shape_id), ("geometry", judge_geometry))


def keyed(verdict: Verdict, field: str) -> tuple[tuple, Verdict]:
    """Groups accepted clouds by a field; each refused cloud is a group of its own."""
    key = tuple(verdict.place) if verdict.refused else (getattr(verdict, field),)
    return key, verdict


def judge(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Makes the set checks in memory; the verdicts, with all findings, in order of their places."""
    for field, judge_group in SET_CHECKS:
        groups = defaultdict(list)
        for key, verdict in (keyed(verdict, field) for verdict in verdicts):
            groups[key].append(verdict)
        verdicts = [v for k, group in groups.items() for v in judge_group(k, group)]
    return sorted(verdicts, key=lambda verdict: verdict.place)


def counts_of(verdict: Verdict) -> Iterator[tuple[tuple[str, str], tuple[int, ...]]]:
    """What a cloud adds to the totals."""
    yield ("split", verdict.place.split), (1, int(verdict.refused))
    if verdict.place.split == TRAIN and not verdict.refused:
        yield ("category", verdict.category), (1, *verdict.part_points)


def add_columns(rows: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The sum of rows of one length."""
    return tuple(sum(column) for column in zip(*rows, strict=True))


def totals_of(verdicts: Iterable[Verdict]) -> Totals:
    """The totals of a data set in memory."""
    rows = defaultdict(list)
    for key, row in chain.from_iterable(map(counts_of, verdicts)):
        rows[key].append(row)
    return {key: add_columns(found) for key, found in rows.items()}


def check_training(
    totals: Totals, categories: Sequence[Category], settings: ValidationSettings
) -> list[CloudFinding]:
    """Warnings for categories and parts that training lacks, or that are rare."""
    findings = []
    shapes = {}

    def warn(code: str, sentence: str) -> None:
        findings.append(CloudFinding(code, WARNING, TRAIN, "", sentence))

    def warn_imbalance(code: str, what: str, counts: dict[str, int]) -> None:
        present = sorted((count, name) for name, count in counts.items() if count)
        if present and present[-1][0] > settings.imbalance_ratio * present[0][0]:
            (fewest, rarest), (most, commonest) = present[0], present[-1]
            sentence = f"{fewest} {what} are of {rarest} and {most} of {commonest}, expected at "
            sentence += f"most {settings.imbalance_ratio:g} times as many"
            warn(code, f"{sentence}: add shapes, and watch the accuracy of {rarest}")

    for category in categories:
        name = category.name
        shapes[name], *points = totals.get(("category", name), (0,))
        if not shapes[name]:
            warn("MISSING_CATEGORY", f"no training cloud is of category {name}: add some")
            continue
        parts = dict(zip(category.parts, points, strict=True))
        if missing := ", ".join(part for part, count in parts.items() if not count):
            sentence = f"none of the {shapes[name]} training clouds of {name} has {missing}"
            warn("MISSING_PART", f"{sentence}: add shapes that do, or leave the part out")
        warn_imbalance("PART_IMBALANCE", f"training points of {name}", parts)
    warn_imbalance("CATEGORY_IMBALANCE", "training clouds", shapes)
    return findings


def too_many_refused(
    totals: Totals, findings: Iterable[CloudFinding], settings: ValidationSettings, report: str
) -> str:
    """An error if more clouds of a split are refused than `quarantine_share` allows, else "".

    `findings` are read once; `report` is where they can be read.
    """
    over = {
        split: counts
        for (kind, split), counts in totals.items()
        if kind == "split" and counts[1] > settings.quarantine_share * counts[0]
    }
    if not over:
        return ""
    codes: Counter[str] = Counter()
    first: dict[str, str] = {}
    for finding in findings:
        if finding.split in over and finding.severity == QUARANTINE:
            codes[finding.code] += 1
            first.setdefault(finding.code, finding.shape_id or "(no id)")
    shares = ", ".join(f"{refused} of {n} clouds of {s}" for s, (n, refused) in over.items())
    reasons = "; ".join(f"{codes[code]} {code}, first {first[code]}" for code in sorted(codes))
    return (
        f"CloudValidator refused {shares}, more than the {settings.quarantine_share:.0%} of a "
        f"split that quarantine_share allows ({reasons}). Correct the data, see {report}, or raise "
        "validation.quarantine_share."
    )


def _rank(verdict: Verdict) -> int:
    split = verdict.place.split
    return HELD_OUT_FIRST.index(split) if split in HELD_OUT_FIRST else len(HELD_OUT_FIRST)
