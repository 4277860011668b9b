"""The table of layouts, and opening a data set in the layout that it has."""

from __future__ import annotations

from preprocessing.datasets.base import Reader
from preprocessing.datasets.benchmark import BenchmarkNormal, BenchmarkV0
from preprocessing.datasets.benchmark_hdf5 import BenchmarkHdf5
from preprocessing.datasets.files import Files, open_files
from preprocessing.datasets.own_clouds import OwnClouds
from preprocessing.datasets.part_annotation import PartAnnotation
from preprocessing.settings import DataSettings
from schema.errors import UserError

# In the order in which they are tried.
LAYOUTS = (PartAnnotation, BenchmarkV0, BenchmarkNormal, BenchmarkHdf5, OwnClouds)


def open_reader(source: str, settings: DataSettings) -> Reader:
    """Opens a folder or .zip; the data set may be its only folder.

    Raises UserError `no_source`, `not_an_archive`, `no_layout`, `several_data_sets`, or the
    layout's own, if its files are not as they must be.
    """
    files = open_files(source)
    layout = _layout(files)
    if layout is None:
        entries = files.entries()
        below = {entry.name: files.below(entry.name) for entry in entries if entry.is_folder}
        layouts = {name: found for name in below if (found := _layout(below[name]))}
        if not layouts:
            names = ", ".join(entry.name + "/" * entry.is_folder for entry in entries) or "nothing"
            looked_for = "; ".join(layout.looks_for for layout in LAYOUTS)
            message = f"{source} is not a data set: found {names:.200}; looked for {looked_for}."
            raise UserError("no_layout", message)
        if len(layouts) > 1:
            message = f"{source} has several data sets: {', '.join(layouts)}. Give one of them."
            raise UserError("several_data_sets", message)
        ((name, layout),) = layouts.items()
        files = below[name]
    return layout(files, settings)


def _layout(files: Files) -> type[Reader] | None:
    names = {entry.name for entry in files.entries()}
    return next((layout for layout in LAYOUTS if layout.fits(names, files)), None)
