"""Downloads a data set: tries its addresses in turn, verifies what arrives, says what to do next.

    data_sources.yaml -> fetch.py (resumes) -> checksum -> <folder>/<data set>.zip -> unpack.py

The archive is what `pointnet-parts convert` reads, so by default it stays packed. While it arrives
it is called `<data set>.part`; it gets its name when it is whole and verified. One whose checksum
is wrong is set aside as `<data set>.rejected`, and is taken from there once its checksum is given.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from preprocessing.command_line import program
from preprocessing.data_sources import DataSource, checksum, read_sources, web_address
from preprocessing.destination import staging_lock
from preprocessing.fetch import AddressFailed, PartFile, Patience, fetch, megabytes, shown
from preprocessing.findings import BadInput
from preprocessing.progress import progress
from preprocessing.unpack import SUFFIXES, Limits, check_whole, unpack

_PART_SUFFIX = ".part"
_REJECTED_SUFFIX = ".rejected"


@dataclass(frozen=True)
class Download:
    """What there is after a download.

    Attributes:
      archive: the file.
      sha256: its checksum.
      verified: whether that is the expected one; False where none is known.
      source: what to give to `pointnet-parts convert`.
    """

    archive: Path
    sha256: str
    verified: bool
    source: Path

    def __str__(self) -> str:
        state = (
            "as expected"
            if self.verified
            else "none is known to compare it with; --sha256 holds a later download to it"
        )
        following = f"{program()} convert {shlex.quote(str(self.source))} OUTPUT"
        if self.source == self.archive and self.archive.suffix != ".zip":
            following = "run this again with --unpack; convert reads folders and .zip"
        return (
            f"{self.archive}: {megabytes(self.archive.stat().st_size)}\n"
            f"sha256 {self.sha256} ({state})\n"
            f"next: {following}"
        )


def download(
    folder: str,
    dataset: str = "part_annotation",
    urls: Sequence[str] = (),
    addresses: str | None = None,
    sha256: str | None = None,
    unpacked: bool = False,
    max_gigabytes: float = 20.0,
    patience: Patience | None = None,
) -> Download:
    """Downloads a data set's archive to a folder, unless it is there.

    Args:
      folder: where to; made if it is not there.
      dataset: a name in the list of addresses.
      urls: the user's own addresses, tried before those of the list.
      addresses: a list of the user's own instead of data_sources.yaml.
      sha256: the expected checksum instead of the list's.
      unpacked: unpack it to `<folder>/<dataset>`, too.
      max_gigabytes: the largest archive, and the most that may come out of it.
      patience: how long servers are waited for.

    Raises:
      BadInput: no address gave it (then the message says what to do by hand), a file that is there
        has another checksum, the archive is damaged or hostile, there is no room.
    """
    sources = read_sources(addresses)
    if dataset not in sources:
        raise BadInput(
            "unknown_data_set",
            f"no data set {dataset!r} in the list of addresses; known are {', '.join(sources)}.",
        )
    if not 0 < max_gigabytes < 10**6:
        raise BadInput(
            "bad_size", f"--max-gigabytes is {max_gigabytes:g}, expected a number above 0."
        )
    source = sources[dataset]
    wanted = checksum(sha256) if sha256 else source.sha256
    own = tuple(web_address(url) for url in urls)
    root = Path(folder).expanduser()
    max_bytes = int(max_gigabytes * 10**9)
    try:
        with staging_lock(str(root), "download"):
            there = _present(root, dataset, wanted)
            if there:
                archive, found = there
                _say(f"{archive} is there already, so nothing is downloaded.")
            else:
                _say(f"Terms: {source.terms} ({source.terms_url}); downloading accepts them.")
                archive, found = _first_that_works(
                    root, dataset, source, own, wanted, max_bytes, patience or Patience()
                )
            target = root / dataset
            if unpacked and there and target.is_dir() and any(target.iterdir()):
                # It has its name only when it is whole.
                _say(f"{target} is there already, so nothing is unpacked.")
            elif unpacked:
                files = unpack(archive, target, Limits(total_bytes=max_bytes))
                _say(f"unpacked {files:,} files to {target}")
    except OSError as error:
        raise BadInput(
            "cannot_write", f"{folder}: {(error.strerror or str(error)).lower()}. Give another."
        ) from None
    return Download(archive, found, wanted is not None, target if unpacked else archive)


def _present(root: Path, dataset: str, wanted: str | None) -> tuple[Path, str] | None:
    """The archive that is there, and its checksum."""
    for suffix in SUFFIXES:
        archive = root / f"{dataset}{suffix}"
        if archive.exists():
            found = _sha256(archive)
            if wanted not in (None, found):
                raise BadInput(
                    "wrong_checksum",
                    f"{archive} is there already, with sha256 {found}, expected {wanted}. Move it "
                    f"away to download it again, or give --sha256 {found} if you trust it.",
                )
            return archive, found
    rejected = root / f"{dataset}{_REJECTED_SUFFIX}"
    if wanted and rejected.exists() and _sha256(rejected) == wanted:
        return _take(rejected, root, dataset), wanted
    return None


def _first_that_works(
    root: Path,
    dataset: str,
    source: DataSource,
    own: tuple[str, ...],
    wanted: str | None,
    max_bytes: int,
    patience: Patience,
) -> tuple[Path, str]:
    """The archive from the first address that gives it, and its checksum."""
    part = PartFile(root / f"{dataset}{_PART_SUFFIX}")
    # What has begun to arrive is gone on with first. Each address once, in its order.
    order = sorted(dict.fromkeys((*own, *source.urls)), key=lambda url: not part.is_from(url))
    failures: list[str] = []
    for address in order:
        _say(f"from {shown(address)}")
        try:
            fetch(address, part, max_bytes, patience, _show_arriving)
            accepted = _accept(part, root, dataset, wanted)
            # Where none gives it, the error names all reasons.
            for failure in failures:
                _say(f"not from{failure[1:]}")
            return accepted
        except AddressFailed as failure:
            failures.append(f"  {shown(address)}: {failure}")
    kept = f"The first {megabytes(part.size)} stay for the next run. " if part.size else ""
    raise BadInput("no_address", _by_hand(root, dataset, source, failures, kept))


def _accept(part: PartFile, root: Path, dataset: str, wanted: str | None) -> tuple[Path, str]:
    """Gives what has arrived its name, if it is what was expected."""
    found = _sha256(part.path)
    if wanted not in (None, found):
        rejected = root / f"{dataset}{_REJECTED_SUFFIX}"
        os.replace(part.path, rejected)
        part.discard()
        raise AddressFailed(
            f"the file has sha256 {found}, expected {wanted}; it is set aside as {rejected.name}: "
            f"if you trust it, run again with --sha256 {found}, else remove it"
        )
    try:
        archive = _take(part.path, root, dataset)
    except BadInput as error:
        raise AddressFailed(f"what arrived is of no use: {error.sentence}") from None
    finally:
        part.discard()
    return archive, found


def _take(file: Path, root: Path, dataset: str) -> Path:
    """Renames a verified file to what it is to be called from now on."""
    archive = root / f"{dataset}{check_whole(file)}"
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())
    os.replace(file, archive)
    return archive


def _by_hand(root: Path, dataset: str, source: DataSource, failures: list[str], kept: str) -> str:
    tried = "\n".join(failures) or "  (the list has none)"
    pages = "\n".join(f"       {page}" for page in source.by_hand)
    file = shlex.quote(str(root / f"{dataset}.zip"))
    names = dict.fromkeys(urlsplit(url).path.rsplit("/", 1)[-1] for url in source.urls)
    known = " or ".join(name for name in names if name.endswith(".zip"))
    called = f" (elsewhere called {known})" if known else ""
    checks = f"\n     Its sha256 should be {source.sha256}." if source.sha256 else ""
    return (
        f"no address gave the data set {dataset}.\n{tried}\n"
        f"{kept}What to do by hand:\n"
        f"  1. In a browser, find {source.what}; register where asked to:\n{pages}\n"
        f"  2. Put the .zip{called}, as it is, to {file}{checks}\n"
        f"  3. {program()} convert {file} OUTPUT\n"
        f"Or name another address: {program()} download {shlex.quote(str(root))} --dataset "
        f"{dataset} --url ADDRESS"
    )


@contextlib.contextmanager
def _show_arriving(total: int | None, there: int, given_up: int) -> Iterator[Callable[[int], None]]:
    """Shows how much has arrived; gives what is told of it."""

    def arrived(count: int) -> None:
        nonlocal there
        there = count

    of_all = "" if total is None else f" of {megabytes(total)}"
    if there:
        _say(f"  going on at {megabytes(there)}{of_all}")
    elif given_up:
        _say(f"  the server cannot go on at {megabytes(given_up)}, where it was: starting anew")
    if total is None:
        _say("  the server does not say how much it is")
        yield arrived
        return
    if not there:
        _say(f"  downloading {megabytes(total)}")
    with progress("Downloading", -(-total // 10**6), lambda: there // 10**6, "MB"):
        yield arrived
    if there == total:
        _say(f"  all {megabytes(total)} are there")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while chunk := content.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
