"""What stops a conversion, or is noted, once its shapes were read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from preprocessing.conversion.manifest import Count, left_out_shapes
from preprocessing.settings import DataSettings
from schema.categories import Category
from schema.errors import Finding, UserError, counted
from schema.record import UNLABELLED

# A reader's finding for a shape with a label one past the last part, and without the first part.
LABEL_PAST_LAST = "label_past_last"


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once, in an order that does not depend on the runner."""
    return tuple(sorted(set(findings), key=lambda f: (f.code, f.file, f.line, f.category, f.shape)))


def reasons(findings: Iterable[Finding]) -> list[str]:
    """A line for each code: how often it occurs, and the first finding; left out shapes first."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in in_order(findings):
        kind = "left out" if finding.left_out else "note"
        groups.setdefault((kind, finding.code), []).append(finding)
    return [
        f"{kind}: {code} {counted(len(group), 'time')}, first: {group[0]}"
        for (kind, code), group in sorted(groups.items())
    ]


def check_share(findings: Sequence[Finding], shapes: int, settings: DataSettings) -> None:
    """Raises UserError `too_many_bad` if more of all shapes are left out than settings allow."""
    bad = len(left_out_shapes(findings))
    if bad > settings.max_bad_share * shapes:
        allowed = f"data.max_bad_share allows {settings.max_bad_share:.0%}"
        message = f"{bad:,} of {counted(shapes, 'shape')} cannot be read; {allowed}."
        lines = reasons(finding for finding in findings if finding.left_out)
        raise UserError("too_many_bad", "\n  ".join([message, *lines]))


def check_parts(
    findings: Iterable[Finding], counts: Iterable[Count], categories: Iterable[Category]
) -> list[Finding]:
    """A note for each category with parts that none of its labelled shapes has.

    UserError `labels_from_one` where labels go past the last part, and none is the first.
    """
    past = {f.category: f for f in reversed(in_order(findings)) if f.code == LABEL_PAST_LAST}
    labelled = [count for count in counts if count.split != UNLABELLED]
    notes = []
    for category in categories:
        own = [count.parts for count in labelled if count.category == category.name]
        missing = [part for part in category.parts if not any(parts[part] for parts in own)]
        if category.name in past and category.parts[0] in missing:
            first = past[category.name]
            message = (
                f"{category.name} has the parts {', '.join(category.parts)}, but no shape has a "
                f"point of {missing[0]}, and this one has the label after the last part's: the "
                "labels seem to be counted from 1. If so, add `first_label: 1` to clouds.yaml."
            )
            raise UserError("labels_from_one", message, first.file, first.line)
        if own and missing:
            message = f"no labelled shape of {category.name} has a point of {', '.join(missing)}."
            notes.append(Finding("part_without_points", message, category=category.name))
    return notes
