import os
import zipfile

import pytest

from preprocessing.file_tree import open_tree
from preprocessing.findings import BadInput


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "source"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "x.pts").write_bytes(b"1 2 3\n")
    (root / "a" / ".hidden").write_bytes(b"")
    (root / "__MACOSX").mkdir()
    return root


def zipped(folder, *extra):
    path = folder.parent / "source.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(folder.rglob("*")):
            archive.write(item, item.relative_to(folder).as_posix())
        for name, content in extra:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("make", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_lists_and_reads(folder, make):
    tree = open_tree(str(make(folder)))
    assert [(e.name, e.is_folder) for e in tree.entries("")] == [("a", True)]
    assert [(e.name, e.size) for e in tree.entries("a")] == [("b", 0), ("x.pts", 6)]
    assert tree.entries("nowhere") == []
    assert tree.read("a/x.pts") == b"1 2 3\n"
    with pytest.raises(BadInput, match=r"a/b: is a folder, expected a file"):
        tree.read("a/b")
    with pytest.raises(BadInput, match=r"a/y.pts: is not"):
        tree.read("a/y.pts")


def test_nothing_there():
    with pytest.raises(BadInput, match=r"no such file or directory. Give a folder or a .zip"):
        open_tree("/nowhere/at/all")


def test_neither_folder_nor_zip(folder):
    with pytest.raises(BadInput, match=r"neither a folder nor a whole .zip"):
        open_tree(str(folder / "a" / "x.pts"))


def test_truncated_zip(folder):
    path = zipped(folder)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInput, match=r"neither a folder nor a whole .zip"):
        open_tree(str(path))


def test_damaged_member(folder):
    (folder / "a" / "x.pts").write_bytes(b"0.12345 0.23456 0.34567\n" * 50)
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    content[content.index(b"a/x.pts") + 12] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a/x.pts: cannot be unpacked"):
        open_tree(str(path)).read("a/x.pts")


def test_names_that_leave_the_archive_are_not_listed(folder):
    path = zipped(folder, ("/etc/passwd", b"x"), ("../../up", b"x"), ("a/../../up", b"x"))
    tree = open_tree(str(path))
    assert [entry.name for entry in tree.entries("")] == ["a"]
    assert [entry.name for entry in tree.entries("a")] == ["b", "x.pts"]


def test_a_member_twice(folder):
    with pytest.warns(UserWarning, match=r"Duplicate name"):
        path = zipped(folder, ("a/x.pts", b"4 5 6\n"))
    with pytest.raises(BadInput, match=r"a/x.pts: stands twice in the archive"):
        open_tree(str(path)).read("a/x.pts")


def test_link_to_itself(folder):
    os.symlink("loop.pts", folder / "a" / "loop.pts")
    tree = open_tree(str(folder))
    assert "loop.pts" in [entry.name for entry in tree.entries("a")]
    with pytest.raises(BadInput, match=r"a symbolic link that leads to itself"):
        tree.read("a/loop.pts")


def test_a_pipe_is_no_file(folder):
    os.mkfifo(folder / "a" / "pipe.pts")
    with pytest.raises(BadInput, match=r"is no regular file"):
        open_tree(str(folder)).read("a/pipe.pts")
