"""OUT may be moved or renamed: ML Metadata stores absolute paths, which follow it here."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_ARTIFACTS = "/pipeline/artifacts/"


def follow_moved_output(metadata: Path, root: Path) -> str:
    """Makes the artifacts' paths those below `root`; returns the former root, "" if it is the same.

    Parameters of earlier executions stay as they were: steps that read a path below OUT run again,
    while blessed models, statistics and pushed versions are still known.
    """
    if not metadata.exists():
        return ""
    with closing(sqlite3.connect(metadata)) as database, database:
        known = database.execute("SELECT name FROM sqlite_master WHERE name = 'Artifact'")
        newest = (
            known.fetchone()
            and database.execute(
                "SELECT uri FROM Artifact WHERE uri LIKE ? ORDER BY id DESC LIMIT 1",
                (f"%{_ARTIFACTS}%",),
            ).fetchone()
        )
        former = newest[0].rpartition(_ARTIFACTS)[0] if newest else str(root)
        if former == str(root):
            return ""
        for table, column in (("Artifact", "uri"), ("ArtifactProperty", "string_value")):
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE substr({column}, 1, ?) = ?",
                (str(root), len(former) + 1, len(former) + 1, f"{former}/"),
            )
    return str(former)
