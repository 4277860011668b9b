"""The folder that `pointnet-parts segment` writes: clouds' files, a table of them, perhaps a page.

The table says which files are ours: only these are ever replaced.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from preprocessing.clouds.files import file_stem
from reports.segmented_page import GENERATOR
from schema.atomic import write_atomically
from schema.errors import UserError
from serving.segmented_cloud import SegmentedCloud
from serving.writers import FILE_FORMATS

# No cloud's file has this ending, nor is any called so.
TABLE_FILE, PAGE_FILE = "clouds.tsv", "segmented.html"
COLUMNS = ("cloud", "source", "category", "points", "unanswered", "mean_probability", "files")
_HEAD_BYTES = 2048


class SegmentedFolder:
    """Where the answers go; made when the first is written.

    Args:
      root: the folder.
      formats: of each cloud's files, keys of FILE_FORMATS.

    Attributes:
      replaced: how many files of earlier calls gave way to new ones.

    Raises:
      UserError: it is a file, or holds a table of another program's.
    """

    def __init__(self, root: Path, formats: Sequence[str]) -> None:
        self.root = root
        self.replaced = 0
        self._formats = formats
        self._rows: dict[str, dict[str, str]] = {}
        self._own: set[str] = set()
        self._table_begun = False
        if root.exists() and not root.is_dir():
            raise UserError("no_folder", "is a file; give another --output.", str(root))
        table = root / TABLE_FILE
        if not table.exists():
            return
        with table.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(file, delimiter="\t")
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UserError(
                    "foreign_file",
                    f"has the columns {', '.join(reader.fieldnames or ())[:60]}, expected "
                    f"{', '.join(COLUMNS)}: something else wrote it. Give another --output.",
                    str(table),
                )
            self._rows = {row["cloud"]: row for row in reader}
        self._own = {name for row in self._rows.values() for name in _listed(row)}

    @property
    def own_files(self) -> set[Path]:
        """The clouds' files that earlier calls wrote, as Path.resolve gives them."""
        return {(self.root / name).resolve() for name in self._own}

    def check(self, name: str, source: str) -> None:
        """Makes sure that a cloud's files may be written.

        Args:
          name: of the cloud.
          source: the file that it was read from.

        Raises:
          UserError: one of them is the source, or is there and not ours.
        """
        for file in self._files(name):
            path = self.root / file
            if path.resolve() == Path(source).resolve():
                raise UserError(
                    "over_itself",
                    f"{path} would be written over it; give another --output.",
                    source,
                )
            if path.exists() and file not in self._own:
                raise UserError(
                    "foreign_file",
                    f"{path} is there already and this command did not write it; move it away or "
                    "give another --output.",
                    source,
                )

    def write(self, cloud: SegmentedCloud, source: str) -> None:
        """Writes a cloud's files, each whole or not at all, and enters them in the table.

        Args:
          cloud: `check` said yes to it.
          source: the file that it was read from.

        Raises:
          OSError: the disk is full, or the like.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if not self._table_begun:
            self.finish_table()
            self._table_begun = True
        row = self._row(cloud, source)
        # First, so that a call that is killed knows its files again.
        with (self.root / TABLE_FILE).open("ab") as table:
            table.write(_lines([row]))
        self._rows[cloud.name] = row
        self._own.update(_listed(row))
        for form, file in zip(self._formats, self._files(cloud.name), strict=True):
            path = self.root / file
            self.replaced += path.exists()
            write_atomically(path, FILE_FORMATS[form](cloud))

    def finish_table(self) -> None:
        """Writes the table anew, each cloud once.

        Raises:
          OSError: the disk is full, or the like.
        """
        head = dict(zip(COLUMNS, COLUMNS, strict=True))
        write_atomically(self.root / TABLE_FILE, _lines([head, *self._rows.values()]))

    def check_page(self) -> None:
        """Makes sure that the page may be written.

        Raises:
          UserError: a page of another program's is there.
        """
        page = self.root / PAGE_FILE
        if page.exists() and GENERATOR.encode() not in page.read_bytes()[:_HEAD_BYTES]:
            raise UserError(
                "foreign_file",
                "is there already and this command did not write it; give another --output.",
                str(page),
            )

    def write_page(self, page: str) -> None:
        """Writes the page.

        Raises:
          OSError: the disk is full, or the like.
        """
        path = self.root / PAGE_FILE
        self.replaced += path.exists()
        write_atomically(path, page.encode())

    def _files(self, name: str) -> list[str]:
        return [f"{file_stem(name)}.{form}" for form in self._formats]

    def _row(self, cloud: SegmentedCloud, source: str) -> dict[str, str]:
        answered = cloud.answered
        sure = float(np.mean(cloud.certainty[answered])) if answered.any() else 0.0
        # Files of other formats that an earlier call wrote are still there, and still ours.
        earlier = [
            name for name in _listed(self._rows.get(cloud.name, {})) if (self.root / name).exists()
        ]
        values = (
            cloud.name,
            source,
            cloud.category.name,
            str(len(cloud.points)),
            str(int((~answered).sum())),
            f"{sure:.4f}",
            " ".join(dict.fromkeys([*self._files(cloud.name), *earlier])),
        )
        return dict(zip(COLUMNS, values, strict=True))


def _listed(row: dict[str, str]) -> list[str]:
    return (row.get("files") or "").split()


def _lines(rows: Iterable[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")
