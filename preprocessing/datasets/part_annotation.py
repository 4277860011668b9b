"""The PartAnnotation layout: the Keras example's download, and our made-up shapes.

    metadata.json                                        {"Airplane": {"directory": "02691156",
                                                          "lables": ["wing", "body", ...]}, ...}
    <directory>/points/<id>.pts                          x y z, one point a line
    <directory>/points_label/<part>/<id>.seg             0 or 1 a line: is the point of this part?
    <directory>/expert_verified/points_label/<id>.seg    a number a line: 0 unknown, else the part,
                                                         from 1 in the order of ShapeNet's benchmark

The published archive spells the key "lables"; "labels" is read, too. A part that a shape lacks has
no file; a shape without any label file is unlabelled. Points that two parts claim are unannotated.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import AliasChoices, BaseModel, Field

from preprocessing.datasets.base import NO_PART, ByName, PlainName, Reader, Shape, nfc
from preprocessing.datasets.files import Entry
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.documents import parse_json, validate
from schema.errors import Finding, UserError
from schema.record import UNANNOTATED, Cloud

METADATA = "metadata.json"
_VERIFIED = "expert_verified/points_label"


class _Metadata(BaseModel):
    """One category in metadata.json."""

    directory: PlainName
    lables: list[PlainName] = Field(validation_alias=AliasChoices("lables", "labels"))


class PartAnnotation(Reader):
    """Reader of the layout."""

    layout = "part_annotation"
    looks_for = METADATA

    def _add_categories(self) -> None:
        value = parse_json(self._files.read(METADATA), "bad_metadata", METADATA)
        for name, entry in validate(ByName[_Metadata], value, "bad_metadata", METADATA).items():
            try:
                category = Category(name, entry.directory, tuple(map(nfc, entry.lables)))
            except UserError as error:
                raise error.at(METADATA) from None
            category, verified_parts = _as_in_shapenet(category)
            self._add_category(category, (NO_PART, *verified_parts))

    def _shapes(self, category: str) -> list[Shape]:
        folder = self._folder(category)
        points = self._by_id(f"{folder}/points", ".pts")
        labels = self._label_files(category)
        verified = {}
        if self._settings.labels == "verified":
            verified = self._by_id(f"{folder}/{_VERIFIED}", ".seg")
        shapes = []
        for name, file in points.items():
            used = {part: files[name] for part, files in labels.items() if name in files}
            if name in verified:
                used = {_VERIFIED: verified[name]}
            size = sum(entry.size for entry in (file, *used.values()))
            shapes.append(Shape(name, category, size, tuple(used)))
        if orphans := sorted(set().union(*labels.values()) - points.keys()):
            message = f"{len(orphans)} without .pts file not read (the first: {orphans[0]})."
            self._note("labels_without_points", message, f"{folder}/points_label", category)
        return shapes

    def _label_files(self, category: str) -> dict[str, dict[str, Entry]]:
        """Folder of a part -> id -> label file."""
        folder, parts = f"{self._folder(category)}/points_label", self.categories[category].parts
        labels = {}
        for part in (entry.name for entry in self._entries(folder) if entry.is_folder):
            if nfc(part) in parts:
                labels[part] = self._by_id(f"{folder}/{part}", ".seg")
            else:
                message = f"is not read: {category} has the parts {', '.join(parts)} in {METADATA}."
                self._note("unknown_part", message, f"{folder}/{part}", category)
        return labels

    def read(self, shape: Shape, findings: list[Finding]) -> Cloud:
        points = self._read_points(shape)
        labels = None
        if shape.annotations == (_VERIFIED,):
            labels = self._read_numbered(shape, len(points))
        elif shape.annotations:
            labels = self._read_by_part(shape, len(points), findings)
        return Cloud(shape.name, shape.category, points, labels)

    def _read_by_part(self, shape: Shape, points: int, findings: list[Finding]) -> np.ndarray:
        category = self.categories[shape.category]
        folder = f"{self._folder(shape.category)}/points_label"
        labels = np.full(points, category.rest_label)
        claims = np.zeros(points, np.uint8)
        for part in shape.annotations:
            file = f"{folder}/{part}/{shape.name}.seg"
            mask = self._read_labels(file, points)
            claimed = mask == 1
            if (claimed != mask).any():
                line = int((claimed != mask).argmax()) + 1
                message = f"found {mask[line - 1]}, expected 0 or 1."
                raise UserError("not_a_mask", message, file, line)
            labels[claimed] = category.parts.index(nfc(part))
            claims += claimed
        contested = np.flatnonzero(claims > 1)
        if contested.size:
            labels[contested] = UNANNOTATED
            message = f"{contested.size} of {points} points, claimed by more than one part of "
            message += f"{', '.join(shape.annotations)}, are left unannotated."
            place = (folder, int(contested[0]) + 1, category.name, shape.name)
            findings.append(Finding("overlapping_parts", message, *place))
        return labels


def _as_in_shapenet(category: Category) -> tuple[Category, tuple[str, ...]]:
    """The category as ShapeNet's table completes it, and the parts that verified labels count."""
    for known in SHAPENET_CATEGORIES:
        missing = set(known.parts) - set(category.parts)
        if known.directory == category.directory and set(category.parts) <= set(known.parts):
            if missing <= {known.rest}:
                rest = known.rest if missing else None
                category = replace(category, parts=known.parts, rest=rest)
            return category, known.parts
    return category, category.parts
