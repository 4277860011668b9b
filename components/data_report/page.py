"""Builds the page from plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.anomalies import Anomaly, Comparison
from components.data_report.figures import SplitFigures
from components.html_page import render
from schema.categories import Category
from schema.record import UNANNOTATED

TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class DataValues:
    """All that the page shows.

    Attributes:
      anomalies: what does not fit the schema.
      skew: how far val and test differ from train.
      drift: how far train differs from the last run's; empty if there was no other run.
      splits: their figures.
      categories: those that the pipeline knows.
      data: which shapes these are, in a sentence.
    """

    anomalies: Sequence[Anomaly]
    skew: Sequence[Comparison]
    drift: Sequence[Comparison]
    splits: Sequence[SplitFigures]
    categories: tuple[Category, ...]
    data: str = ""


def build_page(values: DataValues) -> str:
    """The page as HTML; it needs no other file and no network."""
    comparisons = [*values.drift, *values.skew]
    return render(
        TEMPLATE,
        values=values,
        shifts=[comparison for comparison in comparisons if comparison.exceeded],
        comparisons=comparisons,
        labels=_share_rows(
            [split.labels for split in values.splits],
            lambda label: label_name(label, values.categories),
            last=UNANNOTATED,
        ),
        shapes=_share_rows([split.categories for split in values.splits], str),
    )


def label_name(label: int, categories: tuple[Category, ...]) -> str:
    """The part that a label stands for; with several categories, the part of each."""
    if label == UNANNOTATED:
        return "unannotated"
    parts = [(c.name, c.parts[label]) for c in categories if 0 <= label < len(c.parts)]
    if not parts:
        return f"{label}: no part"
    if len(categories) == 1:
        return f"{label}: {parts[0][1]}"
    return f"{label}: " + ", ".join(f"{category} {part}" for category, part in parts)


def _share_rows(counts: Sequence[Any], name: Any, last: Any = None) -> list[dict[str, Any]]:
    """A row for each value that any split holds, with its share of each split.

    Args:
      counts: number by value, one a split.
      name: says what a value is.
      last: the value that stands below all others.
    """
    values = sorted({v for by_value in counts for v in by_value}, key=lambda v: (v == last, v))
    totals = [sum(by_value.values()) for by_value in counts]
    return [
        {
            "name": name(value),
            "cells": [
                (by_value.get(value, 0), by_value.get(value, 0) / total if total else math.nan)
                for by_value, total in zip(counts, totals, strict=True)
            ],
        }
        for value in values
    ]
