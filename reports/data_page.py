"""The page on a run's data: findings, drift and skew, figures of each split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reports.html import render
from schema.categories import Category
from schema.record import UNANNOTATED


def data_page(
    data: str,
    anomalies: Sequence[Any],
    splits: Mapping[str, Mapping[str, Any]],
    categories: Sequence[Category],
    skew: Sequence[Any],
    drift: Sequence[Any] | None,
) -> str:
    """The page as HTML.

    `data`: which shapes these are. `anomalies`: `split`, `where`, `problem`, `remedy` and `blocks`
    of each. `skew`, `drift`: all comparisons (see components/anomalies.py); drift is empty without
    an earlier run, None where the platform does not check it. `splits`: by name the figures
    `clouds`, `points`, `fewest`, `median`, `most`, `lowest`, `highest`, `mean`, `deviation`, NaN
    where unknown, and counts by `labels` and `categories`.
    """
    comparisons = [*(drift or ()), *skew]
    shifts = [comparison for comparison in comparisons if comparison.exceeded]
    verdict = "Nothing unusual"
    if anomalies or shifts:
        verdict = "Does not fit the schema" if anomalies else "Shifted"
    return render(
        "data_page.html",
        verdict=verdict,
        sound=not anomalies and not shifts,
        data=data,
        anomalies=anomalies,
        drift=drift,
        shifts=shifts,
        comparisons=comparisons,
        splits=splits,
        labels=_share_rows(
            [split["labels"] for split in splits.values()],
            lambda label: label_name(label, categories),
        ),
        categories=_share_rows([split["categories"] for split in splits.values()], str),
    )


def label_name(label: int, categories: Sequence[Category]) -> str:
    """The part of a label; with several categories, the part of each."""
    if label == UNANNOTATED:
        return "unannotated"
    parts = [(c.name, c.parts[label]) for c in categories if 0 <= label < len(c.parts)]
    if not parts:
        return f"{label}: not a part"
    if len(categories) == 1:
        return f"{label}: {parts[0][1]}"
    return f"{label}: " + ", ".join(f"{category} {part}" for category, part in parts)


def _share_rows(
    counts: Sequence[Mapping[Any, float]], name: Callable[[Any], str]
) -> list[dict[str, Any]]:
    """A row for each value in any split: its number in each, and its share; unannotated last."""
    values = sorted({v for numbers in counts for v in numbers}, key=lambda v: (v == UNANNOTATED, v))
    totals = [sum(numbers.values()) for numbers in counts]
    return [
        {
            "name": name(value),
            "cells": [
                (numbers.get(value, 0), numbers.get(value, 0) / total if total else math.nan)
                for numbers, total in zip(counts, totals, strict=True)
            ],
        }
        for value in values
    ]
