"""A folder or a .zip of raw files, read the same way.

Names are relative to the source, with "/" between folders. Hidden files and the `__MACOSX` folder
that macOS adds to archives are never listed.
"""

from __future__ import annotations

import errno
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from preprocessing.findings import BadInput

# No file of one shape is larger; a member of an archive that says it is, is a trap.
MAX_FILE_BYTES = 2**28


@dataclass(frozen=True)
class Entry:
    """One name in a folder.

    Attributes:
      name: without the folder.
      is_folder: whether it holds others.
      size: bytes, 0 for a folder.
      stamp: changes when the content does: a folder's file has its modification time in ns, an
        archive's its CRC-32.
    """

    name: str
    is_folder: bool
    size: int
    stamp: int


class FileTree(Protocol):
    """What a reader needs of a folder or an archive."""

    source: str

    def entries(self, folder: str) -> list[Entry]:
        """What stands in a folder, by name; nothing if there is no such folder."""

    def read(self, name: str) -> bytes:
        """The content of one file; raises BadInput if that cannot be had."""


def open_tree(source: str) -> FileTree:
    """Opens a folder or a .zip.

    Raises:
      BadInput: there is nothing at `source`, or it is neither.
    """
    path = Path(source).expanduser()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadInput(
            "no_source", f"{source}: {_reason(error)}. Give a folder or a .zip."
        ) from None
    if stat.S_ISDIR(mode):
        return Folder(str(path))
    return Archive(str(path))


class Folder:
    """A folder on this machine's file system."""

    def __init__(self, source: str) -> None:
        self.source = source

    def entries(self, folder: str) -> list[Entry]:
        """See FileTree."""
        try:
            return sorted(self._scan(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise BadInput("unreadable", f"{_reason(error)}. Make it readable.", folder) from None

    def _scan(self, folder: str) -> Iterator[Entry]:
        with os.scandir(os.path.join(self.source, folder)) as found:
            for item in found:
                if item.name.startswith(".") or item.name == "__MACOSX":
                    continue
                try:
                    status = item.stat()
                except OSError:
                    # A link to nowhere or to itself: listed, so that reading it says what is wrong.
                    yield Entry(item.name, False, 0, 0)
                    continue
                is_folder = stat.S_ISDIR(status.st_mode)
                size = 0 if is_folder else status.st_size
                yield Entry(item.name, is_folder, size, 0 if is_folder else status.st_mtime_ns)

    def read(self, name: str) -> bytes:
        """See FileTree."""
        # The plain system calls: a shape has five small files, and `open` costs as much as reading.
        try:
            handle = os.open(f"{self.source}/{name}", os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise _unreadable(error, name) from None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise BadInput(
                    "not_a_file", f"is {what}, expected a file. Put the file in its place.", name
                )
            _check_size(status.st_size, name)
            chunks = []
            while chunk := os.read(handle, status.st_size + 1):
                chunks.append(chunk)
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except OSError as error:
            raise _unreadable(error, name) from None
        finally:
            os.close(handle)


class Archive:
    """A .zip, read where it stands: nothing is unpacked to disk."""

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            self._archive = zipfile.ZipFile(source)
        except (zipfile.BadZipFile, NotImplementedError):
            raise BadInput(
                "not_an_archive",
                f"{source} is neither a folder nor a whole .zip. Give a folder, or download the "
                "archive again.",
            ) from None
        except OSError as error:
            raise BadInput("no_source", f"{source}: {_reason(error)}.") from None
        self._folders: dict[str, dict[str, Entry]] = {"": {}}
        self._twice: set[str] = set()
        for info in self._archive.infolist():
            self._add(info)

    def _add(self, info: zipfile.ZipInfo) -> None:
        steps = info.filename.rstrip("/").split("/")
        if any(step.startswith(".") or step in ("", "__MACOSX") for step in steps):
            # Hidden, or a name such as /etc/passwd or ../x that leaves the archive.
            return
        folder = ""
        for step in steps[:-1]:
            self._folders[folder].setdefault(step, Entry(step, True, 0, 0))
            folder = f"{folder}/{step}" if folder else step
            self._folders.setdefault(folder, {})
        name = steps[-1]
        if info.is_dir():
            self._folders[folder].setdefault(name, Entry(name, True, 0, 0))
            self._folders.setdefault(f"{folder}/{name}" if folder else name, {})
        else:
            if name in self._folders[folder]:
                self._twice.add(info.filename)
            self._folders[folder][name] = Entry(name, False, info.file_size, info.CRC)

    def entries(self, folder: str) -> list[Entry]:
        """See FileTree."""
        found = self._folders.get(folder.rstrip("/"), {})
        return [found[name] for name in sorted(found)]

    def read(self, name: str) -> bytes:
        """See FileTree."""
        try:
            info = self._archive.getinfo(name)
        except KeyError:
            folder = name in self._folders
            sentence = (
                "is a folder, expected a file. Put the file in its place."
                if folder
                else "is not in the archive. Restore the file."
            )
            raise BadInput("not_a_file" if folder else "no_file", sentence, name) from None
        if name in self._twice:
            raise BadInput(
                "duplicate_file", "stands twice in the archive. Pack the archive again.", name
            )
        _check_size(info.file_size, name)
        try:
            with self._archive.open(info) as file:
                # Never more than the directory says: zipfile stops there and checks the CRC.
                return file.read()
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            RuntimeError,
            ValueError,
            zlib.error,
        ) as error:
            raise BadInput(
                "damaged_archive",
                f"cannot be unpacked ({error}). Download the archive again.",
                name,
            ) from None


def _check_size(size: int, name: str) -> None:
    if size > MAX_FILE_BYTES:
        raise BadInput(
            "too_large",
            f"is {size / 2**30:.1f} GiB, expected at most {MAX_FILE_BYTES / 2**30:g} GiB for a "
            "file of one shape. Remove it from the source.",
            name,
        )


def _unreadable(error: OSError, name: str) -> BadInput:
    if error.errno == errno.ENOENT:
        return BadInput("no_file", "is not there. Restore the file.", name)
    return BadInput(
        "unreadable",
        f"cannot be read ({_reason(error)}). Make it readable or remove the shape.",
        name,
    )


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a symbolic link that leads to itself"
    return (error.strerror or str(error)).lower()
