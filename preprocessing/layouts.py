"""Which layout a source is in: the table of layouts, and choosing by looking."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from preprocessing.benchmark import BenchmarkNormal, BenchmarkV0
from preprocessing.benchmark_hdf5 import BenchmarkHdf5
from preprocessing.clouds_yaml import CLOUDS
from preprocessing.file_tree import Entry, FileTree, Folder, open_tree
from preprocessing.findings import BadInput
from preprocessing.layout import Reader
from preprocessing.manifest import MANIFEST
from preprocessing.own_clouds import OwnClouds
from preprocessing.part_annotation import PartAnnotation
from preprocessing.settings import DataSettings
from schema.record import SPLITS

# Of a folder that is no data set, so many archives are looked at for the message.
_ZIPS_TRIED = 5
# Name -> (finds the root of its layout in a tree, opens it there), in the order they are tried.
LAYOUTS: dict[
    str,
    tuple[Callable[[FileTree], str | None], Callable[[FileTree, str, DataSettings], Reader]],
] = {
    PartAnnotation.layout: (PartAnnotation.find, PartAnnotation),
    BenchmarkV0.layout: (BenchmarkV0.find, BenchmarkV0),
    BenchmarkNormal.layout: (BenchmarkNormal.find, BenchmarkNormal),
    BenchmarkHdf5.layout: (BenchmarkHdf5.find, BenchmarkHdf5),
    OwnClouds.layout: (OwnClouds.find, OwnClouds),
}


def open_reader(source: str, settings: DataSettings) -> Reader:
    """Opens a folder or .zip in the layout that it is in, or that the settings name.

    Raises:
      BadInput: nothing is there, or it is in no layout that we know.
    """
    tree = open_tree(source)
    if settings.layout != "auto" and settings.layout not in LAYOUTS:
        raise BadInput(
            "unknown_layout",
            f"no layout {settings.layout!r}; known are {', '.join(LAYOUTS)}. Set layout to one of "
            "these, or to auto.",
        )
    tried = [name for name in LAYOUTS if settings.layout in ("auto", name)]
    for name in tried:
        find, opened = LAYOUTS[name]
        root = find(tree)
        if root is not None:
            if root:
                _refuse_several(tree, tried)
            return opened(tree, root, settings)
    _refuse_what_is_nearly_one(tree, tried)
    wanted = "any known layout" if settings.layout == "auto" else f"the layout {settings.layout}"
    found = ", ".join(entry.name for entry in tree.entries("")[:5]) or "nothing"
    raise BadInput(
        "no_layout",
        f"{source} is not in {wanted} (found {found}; looked for metadata.json, "
        "synsetoffset2category.txt, ply_data_train0.h5 and the like, or clouds.yaml). Give the "
        "folder that holds the data set, or its .zip; for clouds of your own, write a clouds.yaml "
        "(docs/own_clouds.md).",
    )


def _refuse_several(tree: FileTree, layouts: Sequence[str]) -> None:
    """Raises BadInput where more than one folder of the source is a data set."""
    found = [
        entry.name
        for entry in tree.entries("")
        if entry.is_folder
        and any(LAYOUTS[name][0](_Below(tree, entry.name)) == "" for name in layouts)
    ]
    if len(found) > 1:
        is_folder = isinstance(tree, Folder)
        do = f"Give one, such as {tree.source}/{found[0]}" if is_folder else "Unpack it, give one"
        raise BadInput(
            "several_data_sets", f"{tree.source} holds several data sets: {', '.join(found)}. {do}."
        )


def _refuse_what_is_nearly_one(tree: FileTree, layouts: Sequence[str]) -> None:
    """Raises BadInput where it can be told what the source is, though it is in no layout."""
    entries = tree.entries("")
    names = {entry.name for entry in entries if not entry.is_folder}
    if MANIFEST in names and any(e.is_folder and e.name in SPLITS for e in entries):
        raise BadInput(
            "converted_already",
            f"{tree.source} is a converted data set already ({MANIFEST}); inspect shows what it "
            "holds. Give the folder of the raw files to convert.",
        )
    near = next((n for n in sorted(names) if n.lower() in (CLOUDS, "clouds.yml")), None)
    if near is not None and "own_clouds" in layouts:
        raise BadInput("nearly_clouds_yaml", f"is not read. Rename it {CLOUDS}.", near)
    if not isinstance(tree, Folder):
        return
    for name in sorted(n for n in names if n.lower().endswith(".zip"))[:_ZIPS_TRIED]:
        path = f"{tree.source}/{name}"
        if _is_data_set(path, layouts):
            raise BadInput(
                "zip_in_folder", f"{tree.source} holds a data set as a .zip. Did you mean {path}?"
            )


def _is_data_set(archive: str, layouts: Sequence[str]) -> bool:
    try:
        tree = open_tree(archive)
        return any(LAYOUTS[name][0](tree) is not None for name in layouts)
    except BadInput:
        return False


class _Below:
    """A folder of a tree as a tree; see FileTree."""

    def __init__(self, tree: FileTree, folder: str) -> None:
        self.source = f"{tree.source}/{folder}"
        self._tree = tree
        self._folder = folder

    def entries(self, folder: str) -> list[Entry]:
        """See FileTree."""
        return self._tree.entries(f"{self._folder}/{folder}".rstrip("/"))

    def read(self, name: str, limit: int | None = None) -> bytes:
        """See FileTree."""
        return self._tree.read(f"{self._folder}/{name}", limit)
