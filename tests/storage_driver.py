"""Uses gs://here as each client of Google's storage does, in a process that finds it by itself.

python storage_driver.py tensorflow | beam | google
"""

import sys

ROOT = "gs://here/root"


def tensorflow() -> None:
    """The file system that TensorFlow has built in, and TFX uses."""
    import tensorflow as tf

    files = tf.io.gfile
    assert not files.exists(ROOT)
    assert not files.exists("gs://elsewhere/root")
    files.makedirs(f"{ROOT}/a/b")
    contents = {"a/b/small": b"small", "a/b/empty": b"", "a/big": bytes(range(256)) * 40_000}
    for name, content in contents.items():
        with files.GFile(f"{ROOT}/{name}", "wb") as file:
            file.write(content)
    for name, content in contents.items():
        assert files.GFile(f"{ROOT}/{name}", "rb").read() == content
    with files.GFile(f"{ROOT}/a/big", "rb") as file:
        file.seek(1000)
        assert file.read(3) == contents["a/big"][1000:1003]
    assert files.stat(f"{ROOT}/a/b/small").length == 5
    assert files.isdir(f"{ROOT}/a/b")
    # Unlike a local folder's.
    assert files.listdir(f"{ROOT}/a") == ["big", "b/"]
    assert f"{ROOT}/a/b/small" in files.glob(f"{ROOT}/a/*/s*")
    files.rename(f"{ROOT}/a/b/small", f"{ROOT}/a/big", overwrite=True)
    assert files.GFile(f"{ROOT}/a/big", "rb").read() == b"small"
    files.rename(f"{ROOT}/a", f"{ROOT}/c")
    assert files.GFile(f"{ROOT}/c/big", "rb").read() == b"small"
    files.copy(f"{ROOT}/c/big", f"{ROOT}/d")
    files.remove(f"{ROOT}/d")
    files.rmtree(f"{ROOT}/c")
    try:
        files.GFile(f"{ROOT}/c/big", "rb").read()
        raise AssertionError("it is there")
    except tf.errors.NotFoundError:
        pass


def beam() -> None:
    """Beam's, which conversion uses; it copies and deletes in batches."""
    from apache_beam.io.filesystems import FileSystems as files

    big = bytes(range(256)) * 80_000
    for name, content in {"big": big, "small": b"small\r\nlines\n", "empty": b""}.items():
        with files.create(f"{ROOT}/{name}") as file:
            file.write(content)
        assert files.open(f"{ROOT}/{name}").read() == content, name
    (found,) = files.match([f"{ROOT}/*"])
    assert {one.path: one.size_in_bytes for one in found.metadata_list} == {
        f"{ROOT}/big": len(big), f"{ROOT}/empty": 0, f"{ROOT}/small": 13
    }  # fmt: skip
    files.rename([f"{ROOT}/big", f"{ROOT}/small"], [f"{ROOT}/to/big", f"{ROOT}/to/small"])
    files.copy([f"{ROOT}/to/small"], [f"{ROOT}/again"])
    assert files.open(f"{ROOT}/again").read() == b"small\r\nlines\n"
    assert not files.exists(f"{ROOT}/big")
    files.delete([f"{ROOT}/again", f"{ROOT}/never"])
    # "/" stands for what lies right below; in newer Beams also for what is in folders there.
    files.delete([f"{ROOT}/to/"])
    files.delete([f"{ROOT}/"])


def google() -> None:
    """Google's own library, as this project's checks use it."""
    from google.api_core.exceptions import BadRequest, NotFound, PreconditionFailed
    from google.cloud.storage import Client

    client = Client(project="none")
    bucket = client.bucket("here")
    blob = bucket.blob("root/a")
    blob.upload_from_string(b"--\r\n--content\n")
    assert blob.download_as_bytes() == b"--\r\n--content\n"
    assert [found.name for found in client.list_blobs("here", prefix="root/")] == ["root/a"]
    for error, call in (
        (NotFound, lambda: list(client.list_blobs("elsewhere"))),
        (NotFound, bucket.blob("root/b").download_as_bytes),
        (PreconditionFailed, lambda: blob.upload_from_string(b"", if_generation_match=0)),
        (BadRequest, lambda: bucket.blob("root//b").upload_from_string(b"")),
        (BadRequest, lambda: bucket.blob("root/a/b").upload_from_string(b"")),
        (BadRequest, lambda: client.create_bucket("another")),
    ):
        try:
            call()
            raise AssertionError(f"no {error}")
        except error:
            pass
    blob.delete()


if __name__ == "__main__":
    {"tensorflow": tensorflow, "beam": beam, "google": google}[sys.argv[1]]()
