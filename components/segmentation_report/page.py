"""Builds the page from plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.evaluator.verdict import Verdict
from components.html_page import render
from components.segmentation_metrics import NO_ANSWER
from components.segmentation_report.charts import draw_histogram
from reports.charts import draw_curves
from schema.categories import Category, part_names

TEMPLATE = Path(__file__).with_name("page.html")
RIGHT_COLOUR, WRONG_COLOUR = "#8c959f", "#D55E00"


@dataclass(frozen=True)
class View:
    """One way of colouring a cloud.

    Attributes:
      name: "truth", "prediction" or "errors".
      still: a PNG.
      parts: each point's colour, encoded for the script.
      colours: of these, encoded likewise.
    """

    name: str
    still: bytes
    parts: str
    colours: str


@dataclass(frozen=True)
class SliceRow:
    """A slice of the test clouds.

    Attributes:
      title: such as "category Chair".
      metrics: value by key, see components/segmentation_metrics.py.
      baseline: the same of the model it was compared with; empty if there was none.
    """

    title: str
    metrics: Mapping[str, float]
    baseline: Mapping[str, float]


@dataclass(frozen=True)
class DrawnCloud:
    """A test cloud in pictures.

    Attributes:
      rank: "best", "median" or "worst".
      shape_id: its name.
      category: what it is.
      shape_iou: how well it was segmented.
      wrong: annotated points that were given another part.
      annotated: annotated points.
      points: encoded for the script, see components/turnable_cloud.py, as are the views' parts.
      shown: how many of the cloud's points these are.
      views: truth, prediction and errors.
    """

    rank: str
    shape_id: str
    category: Category
    shape_iou: float
    wrong: int
    annotated: int
    points: str
    shown: int
    views: Sequence[View]


@dataclass(frozen=True)
class ReportValues:
    """All that the page shows.

    Attributes:
      verdict: whether the model may serve, and what each bound needed.
      metrics: value by key, see components/segmentation_metrics.py.
      baseline: the same of the model it was compared with; empty if there was none.
      categories: the model's categories.
      curves: columns of curves.csv by name; empty if there are none.
      shape_ious: of the clouds that were segmented for the page.
      clouds: those that are drawn.
      slices: the metrics of some of the clouds.
      data_findings: sentences on what is unusual about the data, by kind; None: not looked for.
      config: YAML.
      about: lines that say which data and which model this is.
      artifacts: what the page was made of: its name, and where it lies.
    """

    verdict: Verdict
    metrics: Mapping[str, float]
    baseline: Mapping[str, float]
    categories: tuple[Category, ...]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    shape_ious: Sequence[float] = ()
    clouds: Sequence[DrawnCloud] = ()
    slices: Sequence[SliceRow] = ()
    data_findings: Mapping[str, Sequence[str]] | None = None
    config: str = ""
    about: Sequence[str] = ()
    artifacts: Mapping[str, str] = field(default_factory=dict)


def build_page(values: ReportValues) -> str:
    """The page as HTML; it needs no other file and no network."""
    finite = [value for value in values.shape_ious if math.isfinite(value)]
    return render(
        TEMPLATE,
        values=values,
        nan=math.nan,
        title=_title(values.verdict),
        headline=_headline(values),
        parts=_part_rows(values),
        confusions=[_confusion(values, category) for category in values.categories],
        curves=draw_curves(values.curves) if values.curves.get("epoch") else None,
        histogram=draw_histogram(finite) if finite else None,
        right_colour=RIGHT_COLOUR,
        wrong_colour=WRONG_COLOUR,
    )


def _title(verdict: Verdict) -> str:
    if not verdict.bounds:
        return "Measured"
    return "Blessed" if verdict.blessed else "Not blessed"


def _value(metrics: Mapping[str, float], key: str) -> float:
    return metrics.get(key, math.nan)


def _headline(values: ReportValues) -> list[dict[str, Any]]:
    """The headline numbers, each with its convention."""
    conventions = [
        (
            "instance_miou",
            "instance mIoU",
            "mean over shapes; a part absent from truth and answer counts 1",
        ),
        (
            "instance_miou_of_present_parts",
            "instance mIoU, present parts",
            "mean over shapes, only parts that the truth holds",
        ),
        ("point_accuracy", "point accuracy", "share of all annotated points"),
        ("mean_class_accuracy", "mean class accuracy", "mean over parts of the part's accuracy"),
        (
            "calibration_error",
            "calibration error",
            "mean distance of probability and share of right answers; 0 is best",
        ),
    ]
    if len(values.categories) > 1:
        conventions.insert(
            1, ("category_miou", "category mIoU", "mean of the categories' instance mIoU")
        )
    return [
        {
            "title": title,
            "convention": convention,
            "value": _value(values.metrics, key),
            "difference": _value(values.metrics, key) - _value(values.baseline, key),
            "low": _value(values.metrics, f"interval_low/{key}"),
            "high": _value(values.metrics, f"interval_high/{key}"),
        }
        for key, title, convention in conventions
    ]


def _part_rows(values: ReportValues) -> list[dict[str, Any]]:
    """A row for each of the model's classes."""
    colours = [colour for category in values.categories for colour in category.colours]
    rows = []
    for name, colour in zip(part_names(values.categories), colours, strict=True):
        iou = _value(values.metrics, f"part_iou/{name}")
        before = _value(values.baseline, f"part_iou/{name}")
        rows.append(
            {
                "name": name,
                "colour": colour,
                "points": _value(values.metrics, f"part_points/{name}"),
                "accuracy": _value(values.metrics, f"part_accuracy/{name}"),
                "iou": iou,
                "baseline": before,
                "difference": iou - before,
            }
        )
    return rows


def _confusion(values: ReportValues, category: Category) -> dict[str, Any]:
    """A category's confusion matrix, each cell with its share of its row."""
    several = len(values.categories) > 1
    columns = [*category.parts, NO_ANSWER]
    keys = [f"{category.name} {part}" if several else part for part in category.parts]
    rows = []
    for part, key in zip(category.parts, keys, strict=True):
        counts = [
            _value(values.metrics, f"confusion/{key}/{predicted}")
            for predicted in [*keys, NO_ANSWER]
        ]
        total = sum(number for number in counts if not math.isnan(number))
        shares = [0.0 if math.isnan(n) or not total else n / total for n in counts]
        rows.append({"name": part, "cells": list(zip(counts, shares, columns, strict=True))})
    return {"category": category.name, "columns": columns, "rows": rows}
