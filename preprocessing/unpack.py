"""Unpacks an archive from elsewhere, so that it can do no harm: .zip, .tar, .tar.gz.

Only plain files and folders come out, each below the target, with this user's ordinary modes; any
other entry, and any that would be written twice, ends it. Sizes are counted while writing, whatever
the headers say. All is written in `<folder>.partial` first, which becomes the folder when it is
whole.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from preprocessing.destination import STAGING_SUFFIX, staging_lock
from preprocessing.findings import BadInput

SUFFIXES = (".zip", ".tar", ".tar.gz")
_CHUNK_BYTES = 2**20
# In the staging folder, what is to become the target.
_UNPACKED = "unpacked"
# No tar header is larger; one that says so would be read into memory at once.
_MAX_HEADER_BYTES = 2**24
_MAX_PATH_BYTES = 4000
_MAX_STEP_BYTES = 255


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Attributes:
      total_bytes: of all files together.
      ratio: bytes that come out for each byte of the archive.
      ratio_from_bytes: as long as less came out, the ratio does not matter.
      entries: files and folders.
    """

    total_bytes: int = 20 * 10**9
    ratio: float = 100.0
    ratio_from_bytes: int = 2**26
    entries: int = 2_000_000


@dataclass(frozen=True)
class _Entry:
    """A file or folder of an archive, before it is trusted.

    Attributes:
      name: as the archive has it.
      kind: "file", "folder", or what else it is.
      size: bytes, as the header says.
      chunks: gives the content.
    """

    name: str
    kind: str
    size: int
    chunks: Iterator[bytes]


def archive_suffix(archive: Path) -> str | None:
    """The suffix that a file should have by its first bytes; None if it is no known archive."""
    with open(archive, "rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ".zip"
    if head.startswith(b"\x1f\x8b"):
        return ".tar.gz"
    return ".tar" if head[257:262] == b"ustar" else None


def check_whole(archive: Path) -> str:
    """Makes sure that an archive has its end, too; returns its suffix.

    Raises:
      BadInput: it is no archive that we know, or not whole.
    """
    with _translated(archive):
        suffix = archive_suffix(archive)
    if suffix == ".zip":
        # Its directory stands at the end.
        with _translated(archive), zipfile.ZipFile(archive):
            return suffix
    for _ in _entries(archive, suffix):
        pass
    return str(suffix)


def unpack(archive: Path, folder: Path, limits: Limits | None = None) -> int:
    """Unpacks an archive into a new folder.

    Args:
      archive: a .zip, .tar or .tar.gz; its first bytes count, not its name.
      folder: made by this; must not be there yet, or be empty.
      limits: what the archive may hold.

    Returns:
      How many files there are.

    Raises:
      BadInput: something is wrong with the archive, or stands where the folder should be; then
        nothing of it is left.
    """
    limits = limits or Limits()
    with _translated(archive):
        suffix = archive_suffix(archive)
    free = not os.path.lexists(folder) or (
        folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
    )
    if not free:
        raise BadInput(
            "not_ours",
            f"{folder} is there already, so nothing is unpacked to it. Remove it yourself to "
            "unpack again.",
        )
    staging = Path(f"{folder}{STAGING_SUFFIX}")
    if staging.is_symlink() or (staging.exists() and not staging.is_dir()):
        raise BadInput("not_ours", f"{staging} is no folder. Remove it yourself.")
    with staging_lock(str(staging), "unpacking"):
        others = sorted(entry.name for entry in staging.iterdir() if entry.name != _UNPACKED)
        if others:
            raise BadInput(
                "not_ours",
                f"{staging} holds {others[0]}: nothing that was unpacked here, so it is not "
                "replaced. Remove it yourself.",
            )
        unpacked = staging / _UNPACKED
        # One that was killed midway.
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            unpacked.mkdir()
            files = _write_all(archive, suffix, unpacked, limits)
            os.rename(unpacked, folder)
        except OSError as error:
            raise BadInput(
                "cannot_write", f"{folder} cannot be written ({error.strerror}). Make room for it."
            ) from None
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
            os.rmdir(staging)
    return files


def _write_all(archive: Path, suffix: str | None, target: Path, limits: Limits) -> int:
    """Writes every entry below `target`; returns how many files."""
    kinds: dict[tuple[str, ...], str] = {}
    room = min(
        limits.total_bytes,
        max(limits.ratio_from_bytes, int(limits.ratio * archive.stat().st_size)),
    )
    written = 0
    for entry in _entries(archive, suffix):
        steps = _safe_steps(entry, target)
        if entry.kind not in ("file", "folder"):
            raise _refused("not_a_file", entry, f"is {entry.kind}, expected a file or a folder")
        if not steps:
            if entry.kind == "folder":
                continue
            raise _refused("unsafe_name", entry, "names no file, expected a name")
        _claim(kinds, steps, entry, limits)
        path = target.joinpath(*steps)
        if entry.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = written
        with open(path, "xb") as file:
            for chunk in entry.chunks:
                written += len(chunk)
                if written > room:
                    raise _too_large(entry, archive, room, limits)
                file.write(chunk)
        if written - begun != entry.size:
            raise _refused(
                "damaged_archive",
                entry,
                f"holds {written - begun:,} bytes, expected {entry.size:,} as its header says",
            )
    return sum(kind == "file" for kind in kinds.values())


def _safe_steps(entry: _Entry, target: Path) -> tuple[str, ...]:
    """The folders and the name of an entry, if they stay below the target."""
    name = entry.name
    if "\0" in name or "\\" in name:
        raise _refused("unsafe_name", entry, "has a backslash or a zero byte in its name")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _refused("unsafe_name", entry, "has an absolute name, expected a relative one")
    steps = tuple(step for step in name.split("/") if step not in ("", "."))
    if ".." in steps:
        raise _refused("unsafe_name", entry, "leads out of its folder by '..'")
    try:
        lengths = [len(os.fsencode(step)) for step in steps]
    except UnicodeEncodeError:
        raise _refused("unsafe_name", entry, "has a name that no file can have") from None
    if max(lengths, default=0) > _MAX_STEP_BYTES or (
        sum(lengths) + len(steps) + len(os.fsencode(target)) > _MAX_PATH_BYTES
    ):
        raise _refused(
            "unsafe_name",
            entry,
            f"has too long a name, expected at most {_MAX_STEP_BYTES} bytes for each folder and "
            f"{_MAX_PATH_BYTES:,} in all",
        )
    return steps


def _claim(
    kinds: dict[tuple[str, ...], str], steps: tuple[str, ...], entry: _Entry, limits: Limits
) -> None:
    """Notes that an entry takes its name, and those above it as folders."""
    for length in range(1, len(steps)):
        if kinds.setdefault(steps[:length], "folder") != "folder":
            raise _refused(
                "duplicate_file",
                entry,
                "stands in what is a file, expected a folder",
            )
    # A folder may be named again; archives that were joined do.
    if steps in kinds and not entry.kind == kinds[steps] == "folder":
        raise _refused("duplicate_file", entry, "stands twice in the archive, expected once")
    kinds[steps] = entry.kind
    if len(kinds) > limits.entries:
        raise _refused("too_large", entry, f"is one too many, expected at most {limits.entries:,}")


def _too_large(entry: _Entry, archive: Path, room: int, limits: Limits) -> BadInput:
    if room == limits.total_bytes:
        return _refused(
            "too_large",
            entry,
            f"is where more than {room:,} bytes have come out, expected at most that "
            "(--max-gigabytes)",
        )
    return _refused(
        "too_large",
        entry,
        f"is where more than {room:,} bytes have come out of {archive.stat().st_size:,}, expected "
        f"at most {limits.ratio:g} for one: made to fill the disk",
    )


def _refused(code: str, entry: _Entry, found: str) -> BadInput:
    # As Python writes it: a name may hold line ends, or bytes that are no text.
    name = repr(entry.name[:200])
    return BadInput(
        code, f"entry {name} {found}. Nothing was unpacked; get the archive from elsewhere."
    )


def _entries(archive: Path, suffix: str | None) -> Iterator[_Entry]:
    """Entries in the order of the archive; the content of one is to be read before the next."""
    if suffix == ".zip":
        return _zip_entries(archive)
    if suffix is None:
        raise BadInput("not_an_archive", f"{archive} is no .zip, .tar or .tar.gz.")
    return _tar_entries(archive, suffix)


def _zip_entries(archive: Path) -> Iterator[_Entry]:
    with _translated(archive), zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = _kind_of_mode(info.external_attr >> 16)
            if info.is_dir():
                kind = "folder"
            # Not info.filename: that one ends at a zero byte.
            entry = _Entry(info.orig_filename, kind, info.file_size, iter(()))
            if info.flag_bits & 1:
                raise _refused("encrypted", entry, "is encrypted, expected it readable")
            if kind == "file":
                entry = replace(entry, chunks=_zip_chunks(archive, file, info))
            yield entry


def _zip_chunks(archive: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _translated(archive), file.open(info) as content:
        while chunk := content.read(_CHUNK_BYTES):
            yield chunk


def _kind_of_mode(mode: int) -> str:
    kinds = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "a link"}
    return kinds.get(stat.S_IFMT(mode), "a device, a pipe or the like")


def _tar_entries(archive: Path, suffix: str) -> Iterator[_Entry]:
    opened = gzip.open if suffix == ".tar.gz" else open
    with _translated(archive), opened(archive, "rb") as raw:
        reader = _TarReader(raw)
        with tarfile.open(fileobj=reader, mode="r:") as file:  # type: ignore[call-overload]
            while (member := file.next()) is not None:
                if member.size < 0:
                    raise tarfile.ReadError("a negative size")
                chunks = _tar_chunks(archive, file, member) if member.isreg() else iter(())
                yield _Entry(member.name, _kind_of_member(member), member.size, chunks)
                # tarfile would keep them all.
                file.members = []
        if reader.last != bytes(tarfile.BLOCKSIZE):
            # tarfile takes a header that it cannot read for the end.
            raise tarfile.ReadError("it ends too early, or in the middle is something else")
        reader.finish()


def _tar_chunks(archive: Path, file: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    with _translated(archive):
        content = file.extractfile(member)
        while content and (chunk := content.read(_CHUNK_BYTES)):
            yield chunk


def _kind_of_member(member: tarfile.TarInfo) -> str:
    if member.isreg():
        return "file"
    if member.isdir():
        return "folder"
    return "a link" if member.issym() or member.islnk() else "a device, a pipe or the like"


class _TarReader:
    """What tarfile reads from: refuses headers that would fill the memory."""

    def __init__(self, raw: io.BufferedIOBase) -> None:
        self._raw = raw
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self._raw.read(size)
        return self.last

    def seek(self, position: int) -> int:
        return self._raw.seek(position)

    def tell(self) -> int:
        return self._raw.tell()

    def finish(self) -> None:
        """Reads what fills the last record; then gzip has compared its checksum."""
        for _ in range(64):
            if not self._raw.read(_CHUNK_BYTES):
                return
        raise tarfile.ReadError("much stands after its end")


@contextlib.contextmanager
def _translated(archive: Path) -> Iterator[None]:
    """Turns what the libraries say of an archive into BadInput."""
    try:
        yield
    except BadInput:
        raise
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        OverflowError,
    ) as error:
        raise BadInput(
            "damaged_archive",
            f"{archive} cannot be unpacked ({str(error) or type(error).__name__}). Get it again.",
        ) from None
