"""One shape in full: what it measures, its parts, and what the checks say of it alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.cloud_validator.checks import RawCloud, examine
from components.data_inspection.sources import Source, StoredCloud
from components.data_inspection.survey import (
    KeptCloud,
    NotedFinding,
    kept_cloud,
    note_check_finding,
    note_source_finding,
)
from components.settings import ValidationSettings
from preprocessing.progress import progress
from schema.categories import Category
from schema.errors import UserError
from schema.record import UNANNOTATED


@dataclass(frozen=True)
class ShapeView:
    """A shape; coordinates and lengths are in the units of its file.

    Attributes:
      shape_id: its name.
      category: what it is; None where the source does not know that category.
      category_name: as the record says it.
      split: its split.
      points: how many.
      centroid: mean of its points; None where a coordinate is not finite or one is missing, as the
        next three.
      radius: largest distance of a point from the centroid: what normalisation divides by.
      low: smallest x, y and z.
      high: largest x, y and z.
      labelled: whether each point has a label.
      parts: points of each part of the category.
      unannotated: points with label -1.
      kept: what is drawn; None where it cannot be.
    """

    shape_id: str
    category: Category | None
    category_name: str
    split: str
    points: int
    centroid: tuple[float, ...] | None
    radius: float | None
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    labelled: bool
    parts: tuple[int, ...]
    unannotated: int
    kept: KeptCloud | None


def look_at_shape(
    source: Source, shape_id: str, settings: ValidationSettings
) -> tuple[list[ShapeView], list[NotedFinding]]:
    """Finds a shape and measures it.

    Args:
      source: where it stands; read to its end, since a name may stand there twice.
      shape_id: its name.
      settings: the limits of the checks.

    Returns:
      Every cloud of that name, and what was found of them by themselves; the checks that compare
      clouds with each other are not made.

    Raises:
      UserError: there is no such shape.
    """
    known = {category.name: category for category in source.categories}
    views = []
    findings = []
    with progress("Looking", source.total, lambda: source.passed, "shapes"):
        for stored in source.find(shape_id):
            if stored.cloud is not None:
                views.append(_view(stored, stored.cloud, known))
                examination = examine(stored.cloud, stored.place, settings, known)
                findings += [note_check_finding(finding) for finding in examination.findings]
    names = {shape_id, shape_id.rsplit("/", 1)[-1]}
    findings += [note_source_finding(f) for f in source.findings if f.shape in names]
    if not views and not findings:
        raise UserError(
            "unknown_shape",
            f"no shape {shape_id!r} in {source.name} ({source.total:,} shapes looked through). "
            "Give a name as the page of pointnet-parts inspect shows it.",
        )
    return views, findings


def _view(stored: StoredCloud, cloud: RawCloud, known: dict[str, Category]) -> ShapeView:
    whole = cloud.coordinates.size > 0 and cloud.coordinates.size % 3 == 0
    size = cloud.coordinates.size // 3
    measured = whole and bool(np.isfinite(cloud.coordinates).all())
    centroid = radius = low = high = None
    if measured:
        points = cloud.coordinates.reshape(-1, 3).astype(np.float64)
        middle = points.mean(axis=0)
        centroid = tuple(middle.tolist())
        radius = float(np.sqrt(np.square(points - middle).sum(axis=1).max()))
        low, high = tuple(points.min(axis=0).tolist()), tuple(points.max(axis=0).tolist())
    labels = cloud.labels if cloud.labels is not None and cloud.labels.size == size else None
    category = known.get(cloud.category)
    parts: tuple[int, ...] = ()
    if labels is not None and category is not None:
        parts = tuple(int((labels == index).sum()) for index in range(len(category.parts)))
    drawn = RawCloud(cloud.shape_id, cloud.category, cloud.coordinates, labels)
    return ShapeView(
        shape_id=cloud.shape_id,
        category=category,
        category_name=cloud.category,
        split=stored.place.split,
        points=size,
        centroid=centroid,
        radius=radius,
        low=low,
        high=high,
        labelled=labels is not None,
        parts=parts,
        unannotated=size if labels is None else int((labels == UNANNOTATED).sum()),
        kept=kept_cloud(drawn, stored.place.split) if measured else None,
    )
