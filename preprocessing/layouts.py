"""Which layout a source is in: the table of layouts, and choosing by looking."""

from __future__ import annotations

from collections.abc import Callable

from preprocessing.benchmark import BenchmarkNormal, BenchmarkV0
from preprocessing.file_tree import FileTree, open_tree
from preprocessing.findings import BadInput
from preprocessing.layout import Reader
from preprocessing.part_annotation import PartAnnotation
from preprocessing.settings import DataSettings

# Name -> (finds the root of its layout in a tree, opens it there), in the order they are tried.
LAYOUTS: dict[
    str,
    tuple[Callable[[FileTree], str | None], Callable[[FileTree, str, DataSettings], Reader]],
] = {
    PartAnnotation.layout: (PartAnnotation.find, PartAnnotation),
    BenchmarkV0.layout: (BenchmarkV0.find, BenchmarkV0),
    BenchmarkNormal.layout: (BenchmarkNormal.find, BenchmarkNormal),
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
    for name, (find, opened) in LAYOUTS.items():
        if settings.layout in ("auto", name):
            root = find(tree)
            if root is not None:
                return opened(tree, root, settings)
    wanted = "any known layout" if settings.layout == "auto" else f"the layout {settings.layout}"
    found = ", ".join(entry.name for entry in tree.entries("")[:5]) or "nothing"
    raise BadInput(
        "no_layout",
        f"{source} is not in {wanted} (found {found}; looked for metadata.json or "
        "synsetoffset2category.txt). Give the folder "
        "that holds the data set, or its .zip.",
    )
