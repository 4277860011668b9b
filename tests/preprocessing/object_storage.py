"""A double for object storage such as gs://: a Beam file system of objects in this process.

It is no storage and says nothing of a real one's rights, speed or failures. It follows what Beam's
GCSFileSystem does, since there is no bucket to test on: names, not folders; `mkdirs` makes nothing;
a name is there only as a whole object, never as a prefix of others; a listing takes every object
below the prefix; a file that is closed is there, even after an error; a copy or rename takes the
place of what was there; a rename is a copy, then a delete; deleting what is not there is no error,
and a name that ends in "/" stands for all objects in it.

Here a test can end everything at a change. What Beam's GCSFileSystem itself asks of Google is
answered by tests/google_storage.py.
"""

import io

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

SCHEME = "object-double"


class Killed(Exception):
    """The process ends here, as far as the code under test can tell."""


class Bucket:
    """Objects by address, and each change to them.

    Attributes:
      objects: content by address.
      changes: (what, address) of each change, in order.
      kill_at: number of the change that never happens, counted from 1; 0 for none.
      watch: called after each change.
    """

    def __init__(self):
        self.clear()

    def clear(self):
        self.objects = {}
        self.restart()

    def restart(self, kill_at=0, watch=lambda: None):
        self.changes = []
        self.kill_at = kill_at
        self.watch = watch

    def change(self, what, address, content=None):
        self.changes.append((what, address))
        if len(self.changes) == self.kill_at:
            raise Killed(f"{what} {address}")
        if what == "delete":
            self.objects.pop(address, None)
        else:
            self.objects[address] = content
        self.watch()


BUCKET = Bucket()


class _Upload(io.BytesIO):
    def __init__(self, address):
        super().__init__()
        self._address = address

    def close(self):
        if not self.closed:
            content = self.getvalue()
            super().close()
            BUCKET.change("create", self._address, content)


class ObjectStorageDouble(FileSystem):
    """See the module."""

    @classmethod
    def scheme(cls):
        return SCHEME

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for address, content in sorted(BUCKET.objects.items()):
            if address.startswith(dir_or_prefix):
                yield FileMetadata(address, len(content), 0.0)

    def create(self, path, mime_type=None, compression_type=CompressionTypes.AUTO):
        return _Upload(path)

    def open(self, path, mime_type=None, compression_type=CompressionTypes.AUTO):
        return io.BytesIO(BUCKET.objects[path])

    def copy(self, source_file_names, destination_file_names):
        failed = {}
        for pair in zip(source_file_names, destination_file_names, strict=True):
            if pair[0] in BUCKET.objects:
                BUCKET.change("copy", pair[1], BUCKET.objects[pair[0]])
            else:
                failed[pair] = FileNotFoundError(pair[0])
        if failed:
            raise BeamIOError("Copy operation failed", failed)

    def rename(self, source_file_names, destination_file_names):
        self.copy(source_file_names, destination_file_names)
        for name in source_file_names:
            BUCKET.change("delete", name)

    def exists(self, path):
        return path in BUCKET.objects

    def size(self, path):
        return self.metadata(path).size_in_bytes

    def last_updated(self, path):
        return self.metadata(path).last_updated_in_seconds

    def metadata(self, path):
        if path not in BUCKET.objects:
            raise BeamIOError("Metadata operation failed", {path: FileNotFoundError(path)})
        return FileMetadata(path, len(BUCKET.objects[path]), 0.0)

    def delete(self, paths):
        for path in paths:
            pattern = path + "*" if path.endswith("/") else path
            for found in self.match([pattern])[0].metadata_list:
                BUCKET.change("delete", found.path)
