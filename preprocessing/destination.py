"""Where a conversion writes to: a folder of this machine, or one that Beam's file systems know.

Record files are made in a staging folder beside the output, `<output>.partial`, each under a
temporary name first. When all are there and the manifest with them, the staging folder becomes the
output: by one rename on this machine; elsewhere (gs://...), where folders cannot be renamed, file
by file with the manifest last. A folder that was not made here is never deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from preprocessing.findings import BadInput
from preprocessing.manifest import MANIFEST
from schema.record import SPLITS, UNLABELLED

STAGING_SUFFIX = ".partial"
# In the staging folder: what it is being made from, and a summary of each finished shard.
PLAN = "plan.json"
SUMMARIES = "summaries"
# Files that are being written; a killed conversion leaves some here.
_TEMPORARY = "temporary"
_REPLACED_SUFFIX = ".replaced"


class Store(Protocol):
    """A folder's files, by names relative to it."""

    root: str

    def read(self, name: str) -> bytes | None:
        """The content of a file, None if it is not there."""

    def write(self, name: str) -> Any:
        """A context that gives a file to write to; the name exists only if it ends well."""

    def count(self, folder: str) -> int:
        """Files in a folder."""


def open_store(root: str) -> Store:
    """The store for a path or an address."""
    return RemoteStore(root) if "://" in root else LocalStore(root)


class LocalStore:
    """A folder of this machine."""

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        """See Store."""
        try:
            return Path(self.root, name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """See Store."""
        target = Path(self.root, name)
        temporary = Path(self.root, _TEMPORARY, uuid.uuid4().hex)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.parent.mkdir(exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                yield file
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def count(self, folder: str) -> int:
        """See Store."""
        try:
            return sum(1 for name in os.listdir(Path(self.root, folder)) if name.endswith(".json"))
        except FileNotFoundError:
            return 0


class RemoteStore:
    """A folder that one of Beam's file systems knows, such as gs://."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """See Store."""
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        path = f"{self.root}/{name}"
        if not FileSystems.exists(path):
            return None
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return file.read()

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """See Store."""
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        temporary = f"{self.root}/{_TEMPORARY}/{uuid.uuid4().hex}"
        make_folder(f"{self.root}/{_TEMPORARY}")
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield file
        target = f"{self.root}/{name}"
        make_folder(target.rsplit("/", 1)[0])
        if FileSystems.exists(target):
            FileSystems.delete([target])
        FileSystems.rename([temporary], [target])

    def count(self, folder: str) -> int:
        """See Store."""
        from apache_beam.io.filesystems import FileSystems

        return len(FileSystems.match([f"{self.root}/{folder}/*.json"])[0].metadata_list)

    def files(self) -> list[str]:
        """Names of all files below."""
        from apache_beam.io.filesystems import FileSystems

        found = FileSystems.match([f"{self.root}/**"])[0].metadata_list
        return sorted(entry.path.removeprefix(f"{self.root}/") for entry in found)


def make_folder(path: str) -> None:
    """Makes a remote folder where the file system has such things."""
    from apache_beam.io.filesystems import FileSystems

    if not FileSystems.exists(path):
        # Another worker may be quicker.
        with contextlib.suppress(OSError):
            FileSystems.mkdirs(path)


def check_output(output: str) -> None:
    """Makes sure that nothing of somebody else's would be replaced.

    Raises:
      BadInput: something stands at `output`, or beside it, that no conversion made.
    """
    if "://" in output:
        return
    ours = {*SPLITS, UNLABELLED, MANIFEST}
    staged = ours | {PLAN, SUMMARIES, _TEMPORARY}
    for suffix, known in (("", ours), (STAGING_SUFFIX, staged), (_REPLACED_SUFFIX, ours)):
        path = Path(output + suffix)
        if not path.exists():
            continue
        if not path.is_dir():
            raise BadInput("not_ours", f"{path} is a file, expected a folder. Give another output.")
        names = {entry.name for entry in path.iterdir()}
        others = sorted(names - known)
        if names and (others or (MANIFEST not in names and suffix != STAGING_SUFFIX)):
            what = f"holds {others[0]}" if others else f"has no {MANIFEST}"
            raise BadInput(
                "not_ours",
                f"{path} {what}: not a data set that was converted here, so it is not replaced. "
                "Give another output, or remove it yourself.",
            )


@contextlib.contextmanager
def staging_lock(staging: str) -> Iterator[None]:
    """Keeps a second conversion out of a local staging folder while one writes there.

    Raises:
      BadInput: another conversion is at work.
    """
    if "://" in staging:
        yield
        return
    try:
        os.makedirs(staging, exist_ok=True)
    except OSError as error:
        raise BadInput(
            "cannot_write", f"cannot make {staging} ({error.strerror}). Give another output."
        ) from None
    handle = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BadInput(
            "busy", f"another conversion is writing to {staging}. Wait for it, or stop it."
        ) from None
    finally:
        os.close(handle)


def clear(staging: str) -> None:
    """Empties a staging folder; the folder itself stays, it is locked."""
    if "://" in staging:
        from apache_beam.io.filesystems import FileSystems

        store = RemoteStore(staging)
        FileSystems.delete([f"{staging}/{name}" for name in store.files()])
        return
    for entry in Path(staging).iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def remove_staging(staging: str) -> None:
    """Removes a staging folder."""
    clear(staging)
    if "://" not in staging:
        os.rmdir(staging)


def publish(staging: str, output: str) -> None:
    """Makes the finished staging folder the output, in place of what was there."""
    if "://" in output:
        _publish_remote(staging, output)
        return
    for folder in (SUMMARIES, _TEMPORARY):
        shutil.rmtree(Path(staging, folder))
    Path(staging, PLAN).unlink()
    # A conversion that was killed right here before may have left one.
    replaced = output + _REPLACED_SUFFIX
    if os.path.exists(replaced):
        shutil.rmtree(replaced)
    if os.path.exists(output) and os.listdir(output):
        os.rename(output, replaced)
    os.rename(staging, output)
    if os.path.exists(replaced):
        shutil.rmtree(replaced)


def _publish_remote(staging: str, output: str) -> None:
    from apache_beam.io.filesystems import FileSystems

    old, new = RemoteStore(output), RemoteStore(staging)
    folders = (*SPLITS, UNLABELLED)
    stale = [name for name in old.files() if name.split("/")[0] in folders]
    # The sign that it is finished goes first and comes last.
    stale.sort(key=lambda name: name != MANIFEST)
    if old.read(MANIFEST) is not None:
        FileSystems.delete([f"{output}/{MANIFEST}"])
    if stale:
        FileSystems.delete([f"{output}/{name}" for name in stale])
    made = [name for name in new.files() if name.split("/")[0] in folders]
    for name in (*made, MANIFEST):
        make_folder(f"{output}/{name}".rsplit("/", 1)[0])
        FileSystems.rename([f"{staging}/{name}"], [f"{output}/{name}"])
    FileSystems.delete([f"{staging}/{name}" for name in new.files()])
