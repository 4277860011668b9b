"""The page of an evaluation: verdict, metrics, confusion, slices, clouds, curves, config."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.metric_table import INTERVAL_HIGH, INTERVAL_LOW, METRICS, NO_ANSWER
from model.metrics import confusion, shape_iou
from reports.charts import draw_curves, draw_histogram
from reports.html import render
from reports.turnable_cloud import turnable_cloud
from schema.categories import Category, part_names
from schema.colors import RIGHT_COLOUR, WRONG_COLOUR
from schema.record import UNANNOTATED, Cloud

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class SegmentedCloud:
    """A labelled cloud with the model's answer, int64 [n], index into the parts; -1: no answer."""

    record: Cloud
    category: Category
    prediction: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """The labels, int64 [n]."""
        if self.record.labels is None:
            raise ValueError(f"shape {self.record.shape_id} has no labels")
        return self.record.labels

    @property
    def shape_iou(self) -> float:
        """See model/metrics.py."""
        counts = confusion(self.truth, self.prediction, len(self.category.parts))
        return shape_iou(counts)


def segmentation_page(
    verdict: Any,
    metrics: Metrics,
    categories: tuple[Category, ...],
    baseline: Metrics | None = None,
    slices: Sequence[tuple[str, Metrics, Metrics]] = (),
    clouds: Sequence[SegmentedCloud] = (),
    notes: Sequence[str] = (),
    curves: Mapping[str, Sequence[float]] | None = None,
    findings: Mapping[str, Sequence[str]] | None = None,
    config: str = "",
    about: Sequence[str] = (),
    artifacts: Mapping[str, str] | None = None,
) -> str:
    """The page as HTML.

    `verdict`: components.evaluator.verdict.Verdict. `metrics`, `baseline`: by key, see
    model/metric_table.py; no baseline: None or empty. `slices`: title, metrics, baseline's.
    `clouds`: the sample of the histogram, of which three are drawn; `notes`: which clouds have no
    answer. `curves`: columns of curves.csv. `findings`: on the data, by kind; None: not checked.
    `config`: YAML. `artifacts`: by name the folders that this page is made of.
    """
    ious = [iou for iou in (cloud.shape_iou for cloud in clouds) if math.isfinite(iou)]
    measured, before = _with_nan(metrics), _with_nan(baseline or {})
    return render(
        "segmentation_page.html",
        verdict=verdict,
        metrics=measured,
        has_baseline=bool(baseline),
        headlines=[
            (metric, measured[metric.key], before[metric.key], _interval(measured, metric.key))
            for metric in METRICS
            if metric.kind != "part" and (len(categories) > 1 or metric.key != "category_miou")
        ],
        parts=_part_rows(measured, before, categories),
        confusions=[_confusion(measured, c, len(categories) > 1) for c in categories],
        slices=[
            (
                title,
                _with_nan(values),
                _with_nan(others),
                _interval(_with_nan(values), "instance_miou"),
            )
            for title, values, others in slices
        ],
        clouds=[_drawn(rank, cloud) for rank, cloud in extremes(clouds)],
        notes=notes,
        shape_ious=ious,
        histogram=draw_histogram(ious) if ious else None,
        curves=draw_curves(curves) if curves and curves.get("epoch") else None,
        findings=findings,
        config=config,
        about=about,
        artifacts=artifacts or {},
        error_legend=[("wrong (errors)", WRONG_COLOUR), ("right (errors)", RIGHT_COLOUR)],
    )


def extremes(clouds: Sequence[SegmentedCloud]) -> list[tuple[str, SegmentedCloud]]:
    """The best, median and worst cloud by shape IoU; fewer of fewer than three clouds."""
    ordered = sorted(clouds, key=lambda cloud: (-cloud.shape_iou, cloud.record.shape_id))
    places = {"best": 0, "worst": len(ordered) - 1, "median": (len(ordered) - 1) // 2}
    ranks: dict[int, str] = {}
    for rank, place in places.items():
        if 0 <= place < len(ordered):
            ranks.setdefault(place, rank)
    return [(ranks[place], ordered[place]) for place in sorted(ranks)]


def _with_nan(metrics: Metrics) -> defaultdict[str, float]:
    """The metrics, NaN where a key is missing."""
    return defaultdict(lambda: math.nan, metrics)


def _interval(metrics: Metrics, key: str) -> tuple[float, float]:
    return metrics[f"{INTERVAL_LOW}/{key}"], metrics[f"{INTERVAL_HIGH}/{key}"]


def _part_rows(
    metrics: Metrics, before: Metrics, categories: tuple[Category, ...]
) -> list[tuple[Any, ...]]:
    """Colour, name and the table's columns of each class; trivial: see model/measurements.py."""
    colours = [colour for category in categories for colour in category.colours]
    rows = []
    for name, colour in zip(part_names(categories), colours, strict=True):
        keys = ("part_points", "part_accuracy", "part_iou", "trivial_iou")
        points, accuracy, iou, trivial = (metrics[f"{key}/{name}"] for key in keys)
        other = before[f"part_iou/{name}"]
        rows.append((colour, name, points, accuracy, iou, trivial, other, iou - other))
    return rows


def _confusion(metrics: Metrics, category: Category, several: bool) -> dict[str, Any]:
    """A category's confusion matrix; each cell has its share of its row."""
    columns = [*category.parts, NO_ANSWER]
    keys = [f"{category.name} {part}" if several else part for part in category.parts]
    rows = []
    for part, key in zip(category.parts, keys, strict=True):
        counts = np.array([metrics[f"confusion/{key}/{other}"] for other in [*keys, NO_ANSWER]])
        shares = np.nan_to_num(counts) / max(float(np.nansum(counts)), 1)
        rows.append((part, list(zip(counts.tolist(), shares.tolist(), columns, strict=True))))
    return {"category": category.name, "columns": columns, "rows": rows}


def _drawn(rank: str, cloud: SegmentedCloud) -> dict[str, Any]:
    """The values of a cloud in three colourings: truth, prediction, errors."""
    truth, colours, name = cloud.truth, cloud.category.colours, cloud.record.shape_id
    annotated = truth != UNANNOTATED
    wrong = annotated & (cloud.prediction != truth)
    errors = np.where(annotated, wrong.astype(np.int64), UNANNOTATED)
    return {
        "title": f"{rank.capitalize()}: {name} ({cloud.category.name})",
        "shape_iou": cloud.shape_iou,
        "wrong": int(wrong.sum()),
        "annotated": int(annotated.sum()),
        "legend": list(zip(cloud.category.parts, colours, strict=True)),
        "turnable": turnable_cloud(
            cloud.record.points,
            {
                "truth": (truth, colours),
                "prediction": (cloud.prediction, colours),
                "errors": (errors, (RIGHT_COLOUR, WRONG_COLOUR)),
            },
            {
                "truth": f"{name}: the true part of each point",
                "prediction": f"{name}: the predicted part of each point",
                "errors": f"{name}: {wrong.sum()} of {annotated.sum()} points wrong",
            },
        ),
    }
