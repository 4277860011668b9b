"""clouds.yaml: the categories of your own clouds, and what their labels mean."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import Gt, Lt, MinLen
from pydantic import ConfigDict, field_validator, model_validator

from preprocessing.clouds.columns import MAX_LABEL, FileCloud, point_error
from preprocessing.datasets.base import ByName, PlainName
from schema.categories import Category
from schema.documents import parse_yaml, validate
from schema.record import SPLITS
from schema.settings import Settings

CLOUDS = "clouds.yaml"


class Clouds(Settings):
    """Contents of clouds.yaml."""

    model_config = ConfigDict(strict=True)

    categories: ByName[list[PlainName]]
    """Name of each category, which is also its folder's, and its parts in the order of labels."""

    unlabelled: tuple[int | float | str, ...] = (-1,)
    """Labels, or words, of points without annotation; .nan for NaN."""

    first_label: Annotated[int, Gt(-MAX_LABEL), Lt(MAX_LABEL)] = 0
    """Label of a category's first part."""

    label: Annotated[str, MinLen(1)] | None = None
    """Name of the column, property or array with the labels; by default a common one."""

    @field_validator("unlabelled", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else (value,)

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Clouds:
        for name, parts in self.categories.items():
            if name in SPLITS:
                raise ValueError(f"a category cannot have the name {name}, which is a split's")
            for number, part in enumerate(parts, self.first_label):
                if _key(part) != part or part == "nan":
                    raise ValueError(f"{name} has a part {part!r}, expected a word")
                if both := {number, part}.intersection(map(_key, self.unlabelled)):
                    raise ValueError(f"unlabelled has {both.pop()}, the label of {name}'s {part}")
        return self

    def labels(self, cloud: FileCloud, category: Category, file: str) -> np.ndarray:
        """Our labels, int64 [n], for those of a file.

        Raises UserError `unknown_label`, or `label_past_last`: as if they counted from one more.
        """
        parts = dict(enumerate(self.categories[category.name], self.first_label))
        meaning = dict.fromkeys(map(_key, self.unlabelled), category.rest_label)
        for number, part in parts.items():
            meaning[part if isinstance(cloud.labels, list) else number] = category.label_of(part)
        encoded = pa.array(cloud.labels).dictionary_encode()
        keys = [_key(label) for label in encoded.dictionary.to_pylist()]
        places = encoded.indices.to_numpy()
        unknown = [place for place, key in enumerate(keys) if key not in meaning]
        if unknown:
            point = int(np.isin(places, unknown).argmax())
            code, message = self._unknown(keys[places[point]], set(keys), parts)
            raise point_error(code, message, file, cloud.first_line, point)
        return np.array([meaning[key] for key in keys], np.int64)[places]

    def _unknown(self, label: int | str, labels: set, parts: dict[int, str]) -> tuple[str, str]:
        """Code and message for one of a file's labels, which has no meaning."""
        code, hint, second, past_last = "unknown_label", "", min(parts) + 1, max(parts) + 1
        used = labels.difference(map(_key, self.unlabelled))
        if past_last in used and used <= set(range(second, past_last + 1)):
            code = "label_past_last"
            hint = f" If labels count from {second}, add `first_label: {second}` to {CLOUDS}."
        elif label == "nan":
            hint = f" If it marks points without annotation, add .nan to `unlabelled` in {CLOUDS}."
        expected = ", ".join(f"{number} ({part})" for number, part in parts.items())
        others = ", ".join(map(str, self.unlabelled)) or "(none)"
        return code, f"found label {label!s:.40}, expected {expected} or unlabelled {others}.{hint}"


def parse_clouds(content: bytes, file: str = CLOUDS) -> Clouds:
    """Reads clouds.yaml; raises UserError `bad_clouds_yaml`."""
    return validate(Clouds, parse_yaml(content, "bad_clouds_yaml", file), "bad_clouds_yaml", file)


def _key(label: float | str) -> int | str:
    """One form of equal labels: 255 for "255" and 255.0, "nan" for NaN and empty words."""
    try:
        number = float(label if label != "" else "nan")
    except ValueError:
        return str(label)
    return int(number) if number.is_integer() else str(number)
