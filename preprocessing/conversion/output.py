"""The folder or address that a conversion writes to, and what in it may be replaced.

    OUT/<version>/<split>/part-00000-of-00003.tfrecord.gz
    OUT/manifest.json     written last
    OUT/unfinished.json   while a conversion runs: the versions that it writes and replaces

An old version is valid until the new manifest is in place. A conversion that fails or is killed
leaves its files; the next one removes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from preprocessing.conversion.manifest import MANIFEST, SHARD_NAME, Manifest, Version
from schema.atomic import write_atomically
from schema.documents import parse_json, validate
from schema.errors import UserError

UNFINISHED = "unfinished.json"
# A killed run may leave temporary files: see schema.atomic.
_TEMPORARY = r"\.[0-9a-f]{32}\.tmp"
_IN_VERSION = rf"({SHARD_NAME}(\.json)?|([a-z]+/)?{_TEMPORARY})"
_AS_IT_IS = CompressionTypes.UNCOMPRESSED
_Unfinished = dict[Literal["versions"], frozenset[Version]]


class Storage:
    """A local folder, or the objects below an address; it need not exist. Names are relative to it.

    Beam's functions that take patterns are not used for local files: names may contain * ? [.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._is_remote = "://" in root
        self._system: Any = FileSystems.get_filesystem(root)

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is no such file."""
        path = f"{self.root}/{name}"
        if not self._system.exists(path) or os.path.isdir(path):
            return None
        with self._system.open(path, compression_type=_AS_IT_IS) as file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, replacing one of that name; it appears complete."""
        if not self._is_remote:
            write_atomically(f"{self.root}/{name}", content)
            return
        with self._system.create(f"{self.root}/{name}", compression_type=_AS_IT_IS) as file:
            file.write(content)

    def files(self, folder: str = "") -> Iterator[tuple[str, int]]:
        """Name and size of each file below a folder; links to folders are not followed."""
        for file in self._system._list(os.path.join(self.root, folder, "")):
            # Consoles make empty objects "train/" to show a folder.
            if not file.path.endswith("/"):
                yield file.path.removeprefix(f"{self.root}/"), file.size_in_bytes

    def remove(self, names: Iterable[str]) -> None:
        """Removes files; missing ones are no error."""
        paths = [f"{self.root}/{name}" for name in names]
        if self._is_remote:
            self._system.delete(paths)
            return
        for path in paths:
            Path(path).unlink(missing_ok=True)

    def _check_address(self) -> None:
        scheme, _, path = self.root.partition("://")
        if self._system.has_dirs() or "/" not in path or any(c in path for c in "*?["):
            raise ValueError("expected a name in object storage, like gs://bucket/shapes, no * ? [")
        if scheme == "gs":
            # Beam's own client would try for minutes.
            from google.cloud.storage import Client

            bucket = path.partition("/")[0]
            list(Client(None).list_blobs(bucket, max_results=1, timeout=20, retry=None))
        next(self.files(), None)


class Output(Storage):
    """An output that is absent, without any file, or ours; `manifest` is that of its data set."""

    def __init__(self, path: str) -> None:
        """Checks that the output may be used; else UserError. Changes nothing."""
        try:
            super().__init__(path)
            if self._is_remote:
                self._check_address()
        # Each client has exceptions of its own, some with messages of many lines.
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            message = f"{reason:.300}. Check the address, your login and your rights."
            raise UserError("bad_address", message, path) from None
        if os.path.isfile(path):
            raise UserError("not_ours", "is a file, expected a folder. Give another output.", path)
        self.manifest: Manifest | None = None
        self._versions: frozenset[str] = frozenset()
        try:
            if (content := self.read(MANIFEST)) is not None:
                self.manifest = Manifest.from_text(content, f"{path}/{MANIFEST}")
            if (content := self.read(UNFINISHED)) is not None:
                value = parse_json(content, "not_ours", f"{path}/{UNFINISHED}")
                unfinished = validate(_Unfinished, value, "not_ours", f"{path}/{UNFINISHED}")
                self._versions = unfinished.get("versions", frozenset())
        except UserError as error:
            code = "other_format" if error.code == "other_format" else "not_ours"
            message = f"is not of this program ({error.message}) Give another output."
            raise UserError(code, message, error.file, error.line) from None
        if self.manifest is None and not self._versions:
            for name, _ in self.files():
                if not re.fullmatch(_TEMPORARY, name):
                    message = f"is foreign: {path} has no {MANIFEST} of ours. Give another output."
                    raise UserError("not_ours", message, f"{path}/{name}")

    def has(self, fingerprint: str) -> bool:
        """Whether it has the data set of this fingerprint, with all its files."""
        m = self.manifest
        return m is not None and m.fingerprint == fingerprint and not self.damage(m)

    def damage(self, manifest: Manifest) -> str:
        """The first record file that is missing or has another size; "" if all are there."""
        sizes = dict(self.files(manifest.version))
        bad = (shard.file for shard in manifest.shards if sizes.get(shard.file) != shard.bytes)
        return next((f"{self.root}/{name}" for name in bad), "")

    def start(self, version: str) -> None:
        """Prepares the writing of a version; removes what earlier conversions left."""
        self._versions |= {version, self.manifest.version if self.manifest else version}
        self.write(UNFINISHED, json.dumps({"versions": sorted(self._versions)}).encode())
        self._remove_unlisted(self.manifest)

    def publish(self, manifest: Manifest) -> None:
        """Puts a new manifest in place and removes what it replaces; UserError `cannot_write`."""
        if damage := self.damage(manifest):
            message = "is missing or cut after it was written. Run only one conversion at a time."
            raise UserError("cannot_write", message, damage)
        self._remove_unlisted(self.manifest, manifest)
        self.write(MANIFEST, manifest.to_text().encode(errors="replace"))
        self.manifest = manifest
        self.finish()

    def finish(self) -> None:
        """Removes what unfinished conversions left; the data set in place stays."""
        if self._versions:
            self._remove_unlisted(self.manifest)
            self.remove([UNFINISHED])
            self._versions = frozenset()

    def _remove_unlisted(self, *manifests: Manifest | None) -> None:
        """Removes temporary files, record files that no manifest lists, and emptied folders."""
        listed = {shard.file for manifest in manifests if manifest for shard in manifest.shards}
        unlisted = {name for name, _ in self.files()} - listed
        ours = re.compile(rf"({'|'.join(self._versions)})/{_IN_VERSION}|{_TEMPORARY}")
        self.remove(sorted(filter(ours.fullmatch, unlisted)))
        for version in self._versions:
            for path, _, _ in os.walk(f"{self.root}/{version}", topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
