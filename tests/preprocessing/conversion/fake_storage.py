"""A fake of object storage such as gs://: a Beam file system of objects in this process.

It follows Beam's GCSFileSystem: names and no folders; a listing has every object below a prefix; a
file that is closed exists, even after an error; a copy or rename replaces; a rename is a copy, then
a delete; deleting a missing object is no error.
"""

import io

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

SCHEME = "fake-storage"


class Killed(Exception):
    """The process ends here, as far as the code under test can tell."""


class Bucket:
    """Objects by address, and each change to them; from change `kill_at` on none happens."""

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
        if self.kill_at and len(self.changes) + 1 >= self.kill_at:
            raise Killed(f"{what} {address}")
        self.changes.append((what, address))
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


class FakeStorage(FileSystem):
    """See the module."""

    def _unused(self, *_):
        raise NotImplementedError

    join = split = mkdirs = size = last_updated = _unused

    @classmethod
    def scheme(cls):
        return SCHEME

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

    def metadata(self, path):
        return FileMetadata(path, len(BUCKET.objects[path]), 0.0)

    def delete(self, paths):
        for path in paths:
            pattern = path + "*" if path.endswith("/") else path
            for found in self.match([pattern])[0].metadata_list:
                BUCKET.change("delete", found.path)
