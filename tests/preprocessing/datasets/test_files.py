import os
import zipfile

import pytest

from preprocessing.datasets.files import open_files
from schema.errors import UserError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "source"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "x.pts").write_bytes(b"0.12345 0.23456 0.34567\n" * 50)
    (root / "a" / ".hidden").write_bytes(b"")
    (root / "__MACOSX").mkdir()
    return root


def zipped(folder):
    path = folder.parent / "source.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(folder.rglob("*")):
            archive.write(item, item.relative_to(folder).as_posix())
    return path


def code_of(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    return error.value.code, error.value.file


@pytest.mark.parametrize("make", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_lists_and_reads(folder, make):
    files = open_files(str(make(folder)))
    content = (folder / "a" / "x.pts").read_bytes()
    assert [(e.name, e.is_folder) for e in files.entries()] == [("a", True)]
    assert [(e.name, e.is_folder) for e in files.entries("a")] == [("b", True), ("x.pts", False)]
    assert files.entries("a")[1].size == 1200
    assert files.entries("nowhere") == files.entries("a/x.pts") == []
    assert (files.read("a/x.pts"), files.read("a/x.pts", 3)) == (content, content[:3])
    assert code_of(files.read, "a/b") == ("not_a_file", "a/b")
    below = files.below("a")
    assert [e.name for e in below.entries()] == ["b", "x.pts"]
    assert below.below("b").entries() == []
    assert below.read("x.pts") == content
    assert code_of(below.read, "y.pts") == ("no_file", "y.pts")
    stamp = files.entries("a")[1].stamp
    (folder / "a" / "x.pts").write_bytes(content.replace(b"1", b"2"))
    os.utime(folder / "a" / "x.pts", (1e9, 1e9))
    assert open_files(str(make(folder))).entries("a")[1].stamp != stamp


def test_what_is_not_a_source(folder):
    for source in ("/nowhere/at/all", "gs://bucket/data"):
        assert code_of(open_files, source) == ("no_source", "")
    archive = zipped(folder)
    archive.write_bytes(archive.read_bytes()[:-30])
    for source in (folder / "a" / "x.pts", archive):
        assert code_of(open_files, str(source)) == ("not_an_archive", "")


def test_an_encrypted_member_cannot_be_read(folder):
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    # The flags of the member in the archive's directory, at its end.
    content[content.rindex(b"a/x.pts") - 38] |= 1
    path.write_bytes(content)
    assert code_of(open_files(str(path)).read, "a/x.pts") == ("damaged_archive", "a/x.pts")
