"""Where a conversion writes to: a folder of this machine, or object storage that Beam knows.

Record files are made in a staging folder beside the output, `<output>.partial`, each under a
temporary name first. When all are there and the manifest with them, the staging folder becomes the
output: by one rename on this machine; in object storage (gs://...), where nothing can be renamed at
once, by copies with the manifest last. A folder that was not made here is never deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from preprocessing.cloud_storage import check_bucket
from preprocessing.findings import BadInput
from preprocessing.manifest import MANIFEST, Manifest
from schema.record import SPLITS, UNLABELLED

STAGING_SUFFIX = ".partial"
# In the staging folder: what it is being made from, and a summary of each finished shard.
PLAN = "plan.json"
SUMMARIES = "summaries"
# Files that are being written; a killed conversion leaves some here.
_TEMPORARY = "temporary"
_REPLACED_SUFFIX = ".replaced"
# In object storage: stands in the output from before its old manifest goes until the new one came.
_UNFINISHED = "unfinished"
_OURS = {*SPLITS, UNLABELLED, MANIFEST}


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
        path = Path(self.root, name)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BadInput(
                "unreadable",
                f"{path} cannot be read ({error.strerror}). Make it readable, or give another "
                "output.",
            ) from None

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
    """A folder's worth of objects, such as gs://bucket/name. What is written replaces at once."""

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

        # Storage takes what was written before an error for whole: only a rename comes last.
        temporary = f"{self.root}/{_TEMPORARY}/{uuid.uuid4().hex}"
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield file
        FileSystems.rename([temporary], [f"{self.root}/{name}"])

    def count(self, folder: str) -> int:
        """See Store."""
        from apache_beam.io.filesystems import FileSystems

        return len(FileSystems.match([f"{self.root}/{folder}/*.json"])[0].metadata_list)

    def files(self) -> list[str]:
        """Names of all files below."""
        from apache_beam.io.filesystems import FileSystems

        found = FileSystems.match([f"{self.root}/**"])[0].metadata_list
        names = (entry.path.removeprefix(f"{self.root}/") for entry in found)
        # Consoles make empty objects "train/" to show a folder.
        return sorted(name for name in names if name and not name.endswith("/"))

    def remove(self, names: Sequence[str]) -> None:
        """Removes files."""
        from apache_beam.io.filesystems import FileSystems

        FileSystems.delete([f"{self.root}/{name}" for name in names])


def check_output(output: str) -> None:
    """Makes sure that nothing of somebody else's would be replaced.

    Raises:
      BadInput: something stands at `output`, or beside it, that no conversion made.
    """
    if "://" in output:
        _check_remote(output)
        return
    staged = _OURS | {PLAN, SUMMARIES, _TEMPORARY}
    for suffix, known in (("", _OURS), (STAGING_SUFFIX, staged), (_REPLACED_SUFFIX, _OURS)):
        path = Path(output + suffix)
        if not path.exists():
            continue
        if not path.is_dir():
            raise BadInput("not_ours", f"{path} is a file, expected a folder. Give another output.")
        names = {entry.name for entry in path.iterdir()}
        _check_names(str(path), names, known, {MANIFEST} if suffix != STAGING_SUFFIX else names)
        for entry in path.iterdir():
            what = "file" if entry.name in (MANIFEST, PLAN) else "folder"
            if entry.is_symlink() or entry.is_dir() != (what == "folder"):
                raise BadInput(
                    "not_ours",
                    f"{entry} is no {what} as a conversion makes it, so nothing here is replaced. "
                    "Give another output, or remove it yourself.",
                )


def _check_remote(output: str) -> None:
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    if "/" not in output.split("://")[1]:
        # Its staging folder would be another bucket.
        raise BadInput(
            "bad_address", f"{output} is a whole bucket. Give a name in it: {output}/shapes."
        )
    if any(letter in output for letter in "*?["):
        raise BadInput("bad_address", f"{output} holds one of * ? [. Give another output.")
    if output.startswith("gs://"):
        check_bucket(output)
    try:
        system: Any = FileSystems.get_filesystem(output)
        if system.has_dirs():
            raise BadInput(
                "bad_address",
                f"{output} is no object storage such as gs://. Give such an address, or a folder "
                "of a disk that every worker sees.",
            )
        names = RemoteStore(output).files()
    except BadInput:
        raise
    except (BeamIOError, ValueError) as error:
        raise BadInput(
            "bad_address",
            f"{output} cannot be listed ({error!s:.300}). Correct the address, or see to the "
            "rights and packages that it needs.",
        ) from None
    tops = {name.split("/")[0] for name in names}
    _check_names(output, tops, _OURS | {_UNFINISHED}, {MANIFEST, _UNFINISHED})


def _check_names(folder: str, names: set[str], known: set[str], signs: set[str]) -> None:
    """Raises BadInput unless all names are known, and a sign that they are ours among them."""
    others = sorted(names - known)
    if names and (others or not names & signs):
        what = f"holds {others[0]}" if others else f"has no {MANIFEST}"
        raise BadInput(
            "not_ours",
            f"{folder} {what}: not a data set that was converted here, so it is not replaced. "
            "Give another output, or remove it yourself.",
        )


@contextlib.contextmanager
def staging_lock(staging: str, work: str = "conversion") -> Iterator[None]:
    """Keeps a second conversion out of a local staging folder while one writes there.

    Args:
      staging: the folder; made if it is not there.
      work: what goes on there, for the message.

    Raises:
      BadInput: another one is at work.
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
            "busy", f"another {work} is writing to {staging}. Wait for it, or stop it."
        ) from None
    finally:
        os.close(handle)


def clear(staging: str) -> None:
    """Empties a staging folder; the folder itself stays, it is locked."""
    # The plan goes first: killed here, nobody takes the rest for finished shards.
    if "://" in staging:
        store = RemoteStore(staging)
        store.remove(sorted(store.files(), key=lambda name: name != PLAN))
        return
    Path(staging, PLAN).unlink(missing_ok=True)
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
    replaced = output + _REPLACED_SUFFIX
    if _holds_anything(output):
        os.rename(output, replaced)
    os.rename(staging, output)
    if os.path.exists(replaced):
        _remove_data_set(replaced)


def settle(output: str) -> None:
    """Ends what a conversion that was killed while it published had begun.

    The data set that was to be replaced is put back if nothing took its place yet, else removed:
    without an output, the one set aside is whole.

    Raises:
      BadInput: another conversion is at work.
    """
    if "://" in output:
        _settle_remote(output)
        return
    replaced = output + _REPLACED_SUFFIX
    if not os.path.exists(replaced):
        return
    staging = output + STAGING_SUFFIX
    with staging_lock(staging):
        # Whoever had the lock before may have done it.
        if os.path.exists(replaced):
            if _holds_anything(output):
                _remove_data_set(replaced)
            else:
                os.rename(replaced, output)
        # The lock may have made it.
        if not os.listdir(staging):
            os.rmdir(staging)


def _holds_anything(folder: str) -> bool:
    return os.path.exists(folder) and bool(os.listdir(folder))


def _remove_data_set(folder: str) -> None:
    """Removes one of ours. The manifest goes last: as long as it stands, the rest is ours, too."""
    for entry in Path(folder).iterdir():
        if entry.name != MANIFEST:
            shutil.rmtree(entry)
    Path(folder, MANIFEST).unlink(missing_ok=True)
    os.rmdir(folder)


def _publish_remote(staging: str, output: str) -> None:
    """Copies, not moves: killed at any time, the staging folder is whole and this is done again."""
    from apache_beam.io.filesystems import FileSystems

    old = RemoteStore(output)
    text = RemoteStore(staging).read(MANIFEST) or b""
    with FileSystems.create(f"{output}/{_UNFINISHED}") as file:
        file.write(b"A conversion writes here. It is finished when manifest.json is there.\n")
    # The sign that it is finished goes first and comes last.
    names = old.files()
    if MANIFEST in names:
        old.remove([MANIFEST])
    old.remove([name for name in names if name.split("/")[0] in (*SPLITS, UNLABELLED)])
    shards = [shard.file for shard in Manifest.from_text(text.decode()).shards]
    FileSystems.copy(
        [f"{staging}/{name}" for name in shards], [f"{output}/{name}" for name in shards]
    )
    FileSystems.copy([f"{staging}/{MANIFEST}"], [f"{output}/{MANIFEST}"])
    _settle_remote(output)


def _settle_remote(output: str) -> None:
    """Removes what a publication needed, once its manifest is there."""
    published, staged = RemoteStore(output), RemoteStore(output + STAGING_SUFFIX)
    if published.read(_UNFINISHED) is None:
        return
    manifest = published.read(MANIFEST)
    if manifest is not None and staged.read(MANIFEST) in (None, manifest):
        clear(staged.root)
        published.remove([_UNFINISHED])
