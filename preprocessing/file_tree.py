"""A folder or a .zip of raw files, read the same way.

Names are relative to the source, with "/" between folders. Hidden files and the `__MACOSX` folder
that macOS adds to archives are never listed.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from preprocessing.findings import BadInput

# No file of a source is larger; a member of an archive that says it is, is a trap.
MAX_FILE_BYTES = 2**28
# The bit of a .zip's member that says so.
_ENCRYPTED = 1


@dataclass(frozen=True, slots=True)
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

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The content of one file, or its first `limit` bytes; raises BadInput if it cannot."""


def open_tree(source: str) -> FileTree:
    """Opens a folder or a .zip.

    Raises:
      BadInput: there is nothing at `source`, or it is neither.
    """
    try:
        path = Path(source).expanduser()
        mode = path.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        if "://" in source:
            raise BadInput(
                "no_source",
                f"{source} is an address; sources are read from disks alone. Copy it to a disk "
                "that every worker sees, and give the folder or .zip there.",
            ) from None
        raise BadInput(
            "no_source", f"{source}: {_reason(error)}. Give a folder or a .zip."
        ) from None
    if stat.S_ISDIR(mode):
        return Folder(str(path))
    if not stat.S_ISREG(mode):
        # A pipe would keep whoever opens it waiting.
        raise BadInput("no_source", f"{source}: no regular file. Give a folder or a .zip.")
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
                _check_name(item.name, folder)
                try:
                    status = item.stat()
                except OSError:
                    # A link to nowhere or to itself: listed, so that reading it says what is wrong.
                    yield Entry(item.name, False, 0, 0)
                    continue
                is_folder = stat.S_ISDIR(status.st_mode)
                size = 0 if is_folder else status.st_size
                yield Entry(item.name, is_folder, size, 0 if is_folder else status.st_mtime_ns)

    def read(self, name: str, limit: int | None = None) -> bytes:
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
            if limit is not None:
                return os.read(handle, limit)
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

    def __init__(self, source: str, content: bytes | None = None) -> None:
        """Reads the directory of the file `source`, or of `content`, which came from there."""
        self.source = source
        try:
            self._archive = zipfile.ZipFile(source if content is None else io.BytesIO(content))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
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

    def read(self, name: str, limit: int | None = None) -> bytes:
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
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Of these two alone can no more be unpacked than is asked for.
            raise BadInput(
                "other_compression",
                f"is packed by method {info.compress_type}, expected 0 or 8 (stored, deflate). "
                "Pack the archive again as an ordinary .zip.",
                name,
            )
        if info.flag_bits & _ENCRYPTED:
            raise BadInput(
                "encrypted", "is encrypted. Pack the archive again without a password.", name
            )
        _check_size(info.file_size, name)
        try:
            with self._archive.open(info) as file:
                # zipfile stops at the size that the directory says, and checks the CRC there; the
                # one byte more takes it there. Asked for "all", it would unpack up to 2 GiB first.
                content = file.read(info.file_size + 1 if limit is None else limit)
                if len(content) < min(info.file_size, limit or info.file_size):
                    raise zipfile.BadZipFile("it is shorter than the directory says")
                return content
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
                f"cannot be unpacked ({error!s:.100}). Download the archive again.",
                name,
            ) from None


def _check_size(size: int, name: str) -> None:
    if size > MAX_FILE_BYTES:
        raise BadInput(
            "too_large",
            f"is {size / 2**30:.1f} GiB, expected at most {MAX_FILE_BYTES / 2**30:g} GiB for one "
            "file. Remove it from the source, or split it.",
            name,
        )


def _check_name(name: str, folder: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadInput(
            "bad_name",
            f"holds a file named {os.fsencode(name)!r}, expected names in UTF-8. Rename it.",
            folder or ".",
        ) from None


def _unreadable(error: OSError, name: str) -> BadInput:
    if error.errno == errno.ENOENT:
        return BadInput("no_file", "is not there. Restore the file.", name)
    return BadInput(
        "unreadable",
        f"cannot be read ({_reason(error)}). Make it readable or remove the shape.",
        name,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "a symbolic link that leads to itself"
    return (getattr(error, "strerror", None) or str(error)).lower()
