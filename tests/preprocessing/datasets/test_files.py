import os
import zipfile

import pytest

from preprocessing.datasets.files import open_files
from schema.errors import UserError


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


def code_of(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    return error.value.code, error.value.file


@pytest.mark.parametrize("make", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_lists_and_reads(folder, make):
    files = open_files(str(make(folder)))
    assert [(e.name, e.is_folder) for e in files.entries()] == [("a", True)]
    assert [(e.name, e.size) for e in files.entries("a")] == [("b", 0), ("x.pts", 6)]
    assert files.entries("nowhere") == files.entries("a/x.pts") == []
    assert files.read("a/x.pts") == b"1 2 3\n"
    assert files.read("a/x.pts", 3) == b"1 2"
    assert code_of(files.read, "a/b") == ("not_a_file", "a/b")
    assert code_of(files.read, "a/y.pts") == ("no_file", "a/y.pts")
    below = files.below("a")
    assert [e.name for e in below.entries()] == ["b", "x.pts"]
    assert below.below("b").entries() == []
    assert below.read("x.pts") == b"1 2 3\n"
    assert code_of(below.read, "y.pts") == ("no_file", "y.pts")


@pytest.mark.parametrize("make", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_an_entrys_stamp_changes_with_the_content(folder, make):
    before = open_files(str(make(folder))).entries("a")[1].stamp
    (folder / "a" / "x.pts").write_bytes(b"1 2 4\n")
    os.utime(folder / "a" / "x.pts", (1e9, 1e9))
    assert open_files(str(make(folder))).entries("a")[1].stamp != before


def test_what_is_not_a_source(folder, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("loop", tmp_path / "loop")
    for source in ("/nowhere/at/all", tmp_path / "pipe", tmp_path / "loop", "gs://bucket/data"):
        assert code_of(open_files, str(source)) == ("no_source", "")
    assert code_of(open_files, str(folder / "a" / "x.pts")) == ("not_an_archive", "")
    path = zipped(folder)
    path.write_bytes(path.read_bytes()[:-30])
    assert code_of(open_files, str(path)) == ("not_an_archive", "")


def test_damaged_and_encrypted_members(folder):
    (folder / "a" / "x.pts").write_bytes(b"0.12345 0.23456 0.34567\n" * 50)
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    content[content.index(b"a/x.pts") + 12] ^= 0xFF
    path.write_bytes(content)
    assert code_of(open_files(str(path)).read, "a/x.pts") == ("damaged_archive", "a/x.pts")
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    # The flags of the member in the archive's directory, at its end.
    content[content.rindex(b"a/x.pts") - 38] |= 1
    path.write_bytes(content)
    assert code_of(open_files(str(path)).read, "a/x.pts") == ("damaged_archive", "a/x.pts")


def test_names_that_leave_the_archive_are_not_listed(folder):
    path = zipped(folder, ("/etc/passwd", b"x"), ("../../up", b"x"), ("a/../../up", b"x"))
    files = open_files(str(path))
    assert [entry.name for entry in files.entries()] == ["a"]
    assert [entry.name for entry in files.entries("a")] == ["b", "x.pts"]


def test_broken_links_and_pipes_are_listed_and_reported_when_read(folder):
    os.symlink("loop.pts", folder / "a" / "loop.pts")
    os.symlink("nothing", folder / "a" / "nowhere.pts")
    os.mkfifo(folder / "a" / "pipe.pts")
    files = open_files(str(folder))
    assert {"loop.pts", "nowhere.pts", "pipe.pts"} <= {e.name for e in files.entries("a")}
    assert code_of(files.read, "a/loop.pts") == ("unreadable", "a/loop.pts")
    assert code_of(files.read, "a/nowhere.pts") == ("no_file", "a/nowhere.pts")
    assert code_of(files.read, "a/pipe.pts") == ("not_a_file", "a/pipe.pts")


def test_a_name_that_is_not_utf8(folder):
    (folder / "a" / os.fsdecode(b"caf\xe9.pts")).write_bytes(b"")
    assert code_of(open_files(str(folder)).entries, "a") == ("bad_name", "a")
