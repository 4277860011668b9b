"""What `pointnet-parts evaluate` and `compare` measure: models, and labelled clouds.

The clouds are read as `inspect` reads them and checked as CloudValidator does. Without TensorFlow:
what cannot be used is said at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import PipelineConfig
from preprocessing.checks.cloud_checks import examine
from preprocessing.settings import DataSettings
from reports.inspection.sources import Source, open_source
from schema.categories import Category, part_names
from schema.errors import UserError
from schema.record import SPLITS, UNANNOTATED, Cloud
from serving.exported_model import exported_folder, exported_parts

ALL_SPLITS = "all"


@dataclass
class Clouds:
    """The sound, labelled clouds of a source that a model knows; what was left out is counted."""

    source: Source
    split: str
    categories: tuple[Category, ...]
    config: PipelineConfig
    left_out: list[str] = field(default_factory=list)
    unlabelled: int = 0
    of_other_categories: int = 0

    def __iter__(self) -> Iterator[Cloud]:
        known = {category.name: category for category in self.categories}
        for place, cloud in self.source.clouds():
            wanted = SPLITS if self.split == ALL_SPLITS else (self.split,)
            # A lone file of records is of no split.
            if place.split in SPLITS and place.split not in wanted:
                continue
            if cloud is not None and cloud.category not in known:
                self.of_other_categories += 1
                continue
            examined = examine(cloud, place, self.config.validation, known)
            if cloud is None or examined.refused:
                self.left_out += [f.sentence for f in examined.findings if f.severity != "warning"]
                continue
            if cloud.labels is None or not (cloud.labels != UNANNOTATED).any():
                self.unlabelled += 1
                continue
            points = cloud.coordinates.reshape(-1, 3)
            yield Cloud(cloud.shape_id, cloud.category, points, cloud.labels)


@dataclass(frozen=True)
class Inputs:
    """What is measured, and where to write.

    Attributes:
      models: the folder of the model's SavedModel, and perhaps that of its baseline.
      clouds: the clouds that it is measured on.
      output: a folder that is not there, or empty.
    """

    models: tuple[Path, ...]
    clouds: Clouds
    output: Path


def open_inputs(
    model: str, data: str, output: Path, config: PipelineConfig, split: str, baseline: str
) -> Inputs:
    """Finds the models and opens the data.

    Args:
      model: the folder of a SavedModel, or one of numbered versions, of which the last is taken.
      data: whatever `inspect` reads: raw shapes, a converted data set, record files, Examples.
      output: where to write; must not be there, or be empty.
      config: how raw data is read and split.
      split: "train", "val", "test", or ALL_SPLITS.
      baseline: another model to hold it against; "" for none.

    Raises:
      UserError: a model cannot be used.
      UserError: the data cannot be used, or the models name different parts.
      UserError: the output folder is not empty.
    """
    folders = [exported_folder(Path(name).expanduser()) for name in (model, baseline) if name]
    tables = [exported_parts(folder) for folder in folders]
    _refuse_other_parts(folders, tables)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(
            "bad_config", f"{output} is there already and not empty; give another --output."
        )
    categories = tables[0]
    settings = config.data.model_copy(
        update={"category": categories[0].name if len(categories) == 1 else "all"}
    )
    clouds = _open(data, settings, split, categories, config)
    return Inputs(tuple(folders), clouds, output)


def _refuse_other_parts(folders: list[Path], tables: list[tuple[Category, ...]]) -> None:
    parts = [{c.name: c.parts for c in table} for table in tables]
    if len(parts) == 2 and parts[0] != parts[1]:
        said = [", ".join(part_names(table)) for table in tables]
        raise UserError(
            "other_parts",
            f"the models name different parts and cannot be compared: {folders[0]} {said[0]}; "
            f"{folders[1]} {said[1]}.",
        )


def _open(
    data: str,
    settings: DataSettings,
    split: str,
    categories: tuple[Category, ...],
    config: PipelineConfig,
) -> Clouds:
    """Opens the data; its parts must be the model's.

    Raises:
      UserError: it cannot be read, or numbers other parts.
    """
    source = open_source(data, settings)
    theirs = {category.name: category for category in source.categories}
    for category in categories:
        found = theirs.get(category.name)
        if found is not None and found.parts != category.parts:
            raise UserError(
                "other_parts",
                f"{data} has {category.name} in the parts {', '.join(found.parts)}; the model was "
                f"trained on {', '.join(category.parts)}. Its labels would mean something else.",
            )
    if not theirs.keys() & {category.name for category in categories}:
        raise UserError(
            "other_category",
            f"{data} holds {', '.join(theirs)}; the model knows "
            f"{', '.join(category.name for category in categories)}.",
        )
    return Clouds(source, split, categories, config)
