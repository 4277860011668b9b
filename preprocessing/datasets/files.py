"""A folder or .zip, read through one interface; an archive is never unpacked to disk.

Names are relative, with "/" between folders. Hidden files and macOS's `__MACOSX` are not listed.
"""

from __future__ import annotations

import copy
import os
import stat
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from schema.errors import UserError


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a folder; `stamp` changes with a file's content (mtime or CRC-32)."""

    name: str
    is_folder: bool = False
    size: int = 0
    stamp: int = 0


class Files:
    """The files of one data set, in the folder or archive `source`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._root = ""

    def below(self, folder: str) -> Files:
        """The files of a folder, with names relative to it."""
        files = copy.copy(self)
        files._root = f"{self._root}{folder}/"
        return files

    def entries(self, folder: str = "") -> list[Entry]:
        """Contents of a folder by name; none if absent; UserError `unreadable`, `bad_name`."""
        try:
            entries = self._scan((self._root + folder).rstrip("/"))
            shown = (entry for entry in entries if not _is_hidden(entry.name))
            return sorted(shown, key=lambda entry: entry.name.encode())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except Exception as error:
            raise _user_error(error, folder or ".") from None

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Content of a file, or its first `limit` bytes.

        Raises UserError `no_file`, `not_a_file`, `unreadable` or `damaged_archive`.
        """
        try:
            return self._read(self._root + name, limit)
        except Exception as error:
            raise _user_error(error, name) from None

    def _scan(self, folder: str) -> Iterable[Entry]:
        with os.scandir(f"{self.source}/{folder}") as items:
            for item in items:
                try:
                    info = item.stat()
                    yield Entry(item.name, item.is_dir(), info.st_size, info.st_mtime_ns)
                except OSError:
                    # A broken link is listed, so that reading it reports the reason.
                    yield Entry(item.name)

    def _read(self, name: str, limit: int | None) -> bytes:
        with open(f"{self.source}/{name}", "rb", 0, opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise IsADirectoryError("not a file")
            return file.read(-1 if limit is None else limit)


class ZippedFiles(Files):
    """The files of a .zip; its directory is read once."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._archive = zipfile.ZipFile(source)
        # Folder -> its entries by name.
        self._folders: dict[str, dict[str, Entry]] = defaultdict(dict)
        for info in self._archive.infolist():
            *folders, name = steps = info.filename.rstrip("/").split("/")
            # Empty steps and ".." would lead out of the archive.
            if any(map(_is_hidden, steps)):
                continue
            for depth, step in enumerate(folders):
                self._folders["/".join(folders[:depth])][step] = Entry(step, is_folder=True)
            entry = Entry(name, info.is_dir(), info.file_size, info.CRC)
            self._folders["/".join(folders)][name] = entry

    def _scan(self, folder: str) -> Iterable[Entry]:
        return self._folders.get(folder, {}).values()

    def _read(self, name: str, limit: int | None) -> bytes:
        folder, _, last = name.rpartition("/")
        entry = self._folders.get(folder, {}).get(last)
        if entry is None:
            raise FileNotFoundError("no such file")
        if entry.is_folder:
            raise IsADirectoryError("not a file")
        with self._archive.open(name) as file:
            return file.read(-1 if limit is None else limit)


def open_files(source: str) -> Files:
    """Opens a folder or a .zip; else UserError `no_source` or `not_an_archive`."""
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        return Files(path)
    if not os.path.isfile(path):
        message = f"{source}: no such file or directory on this disk. Give a folder or a .zip."
        raise UserError("no_source", message)
    try:
        return ZippedFiles(path)
    # zipfile raises many kinds of errors for damaged archives.
    except Exception as error:
        message = f"{source} cannot be opened ({error!s:.80}). Give a folder or a .zip."
        raise UserError("not_an_archive", message) from None


def _open_at_once(path: str, flags: int) -> int:
    """Opens a file; a pipe does not wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("", "__MACOSX")


def _user_error(error: Exception, file: str) -> UserError:
    if isinstance(error, UnicodeEncodeError):
        message = f"has a file named {error.object!a}, expected names in UTF-8. Rename it."
        return UserError("bad_name", message, file)
    if isinstance(error, OSError):
        codes = {FileNotFoundError: "no_file", IsADirectoryError: "not_a_file"}
        reason = (error.strerror or str(error)).lower()
        return UserError(codes.get(type(error), "unreadable"), f"cannot be read ({reason}).", file)
    # Damaged, encrypted, another compression: zipfile and its decompressors raise many kinds.
    message = f"cannot be unpacked ({error!s:.100}). Download or pack the archive again."
    return UserError("damaged_archive", message, file)
