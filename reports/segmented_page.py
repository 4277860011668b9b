"""The page of `segment`: clouds in the colours of the parts that a model predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reports.html import render
from reports.turnable_cloud import turnable_cloud
from schema.categories import UNANNOTATED_COLOUR, Category

# In the page's head: identifies a page of this program.
GENERATOR = "pointnet-parts segment"

PageCloud = dict[str, Any]


def page_cloud(
    name: str, points: np.ndarray, part: np.ndarray, certainty: np.ndarray, category: Category
) -> PageCloud:
    """The values of one cloud.

    `points`: float [n, 3], n >= 1; `part`: int64 [n], index into the category's parts, -1 without
    an answer; `certainty`: float32 [n], the probability of that part.
    """
    answered = part >= 0
    shares = [(part == index).mean() for index in range(len(category.parts))]
    entries = zip(
        [*category.parts, "no answer"],
        [*category.colours, UNANNOTATED_COLOUR],
        [*shares, (~answered).mean()],
        strict=True,
    )
    return {
        "name": name,
        "category": category.name,
        "size": len(points),
        "certainty": float(certainty[answered].mean()) if answered.any() else float("nan"),
        "legend": [(f"{title} {share:.1%}", colour) for title, colour, share in entries if share],
        "turnable": turnable_cloud(
            points,
            {"parts": (part, category.colours)},
            {"parts": f"{name}: the predicted part of each point"},
        ),
    }


def render_page(clouds: Sequence[PageCloud], model: str, failures: Sequence[str]) -> str:
    """The page. `model`: where the parts come from; `failures`: why clouds have no parts."""
    return render(
        "segmented_page.html",
        clouds=clouds,
        model=model,
        failures=failures,
        generator=GENERATOR,
    )
