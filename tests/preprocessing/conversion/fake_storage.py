"""A fake of object storage such as gs://: a Beam file system of objects in this process.

It follows Beam's GCSFileSystem: names and no folders; a listing has every object below a prefix; a
file that is closed exists; deleting a missing object is no error.
"""

import io

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

SCHEME = "fake-storage"


class Killed(Exception):
    """The process ends here, as far as the code under test can tell."""


class Bucket:
    """Objects by address, and each change to them; from change `kill_at` on none happens."""

    def __init__(self):
        self.objects = {}
        self.restart()

    def restart(self, kill_at=0, watch=lambda: None):
        self.changes = []
        self.kill_at = kill_at
        self.watch = watch

    def change(self, address, content=None):
        if self.kill_at and len(self.changes) + 1 >= self.kill_at:
            raise Killed(address)
        self.changes.append(address)
        self.objects.pop(address, None)
        if content is not None:
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
            BUCKET.change(self._address, content)


class FakeStorage(FileSystem):
    """See the module."""

    def _unused(self, *_):
        raise NotImplementedError

    join = split = mkdirs = size = last_updated = copy = rename = metadata = _unused

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

    def exists(self, path):
        return path in BUCKET.objects

    def delete(self, paths):
        for path in paths:
            BUCKET.change(path)
