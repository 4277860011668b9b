import os

import pytest

from schema.atomic import atomic_file, write_atomically


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.seg"
    write_atomically(path, "old ü")
    assert path.read_text("utf-8") == "old ü"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_text("utf-8") == "old ü"
    assert list(path.parent.iterdir()) == [path]


def test_nothing_appears_before_the_block_ends_or_after_an_error(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"half")
        assert not path.exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_has_the_modes_that_the_umask_gives(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask
