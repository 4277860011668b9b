"""Archives that are good, damaged, or made to do harm."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.findings import BadInput
from preprocessing.unpack import Limits, archive_suffix, check_whole, unpack

FILES = {
    "PartAnnotation/metadata.json": b"{}",
    "PartAnnotation/02691156/points/a.pts": b"0 0 0\n" * 100,
    "PartAnnotation/empty.txt": b"",
}
KINDS = [".zip", ".tar", ".tar.gz"]


def zip_with(*entries):
    """A .zip of (name or ZipInfo, content)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def tar_with(*entries, packed=False):
    """A .tar or .tar.gz of (name or TarInfo, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz" if packed else "w") as archive:
        for name, content in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def archive_of(kind, entries):
    if kind == ".zip":
        return zip_with(*entries)
    return tar_with(*entries, packed=kind == ".tar.gz")


def zip_mode(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def tar_type(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.fixture
def archive(tmp_path):
    """Writes an archive; returns its path."""

    def write(content):
        file = tmp_path / "archive"
        file.write_bytes(content)
        return file

    return write


def files_below(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def assert_refused(archive, code, said, limits=None):
    """Unpacking ends in BadInput and leaves nothing, there or elsewhere."""
    around = archive.parent
    before = files_below(around)
    with pytest.raises(BadInput) as failure:
        unpack(archive, around / "target", limits)
    assert failure.value.code == code
    assert said in str(failure.value)
    assert files_below(around) == before
    assert not (around / "target").exists()
    assert not (around / "target.partial").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_packed_comes_out(archive, tmp_path, kind):
    file = archive(archive_of(kind, FILES.items()))
    assert archive_suffix(file) == check_whole(file) == kind
    assert unpack(file, tmp_path / "target") == 3
    assert files_below(tmp_path / "target") == FILES
    assert not (tmp_path / "target.partial").exists()


def test_folders_may_be_named_and_named_again(archive, tmp_path):
    entries = [("./", b""), ("./a/", b""), ("a/b.txt", b"x"), ("a/", b""), ("c/", b"")]
    assert unpack(archive(zip_with(*entries)), tmp_path / "target") == 1
    assert sorted(os.listdir(tmp_path / "target")) == ["a", "c"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/etc/shadow", "entry '/etc/shadow' has an absolute name, expected a relative one"),
        ("C:/x", "has an absolute name"),
        ("c:x", "has an absolute name"),
        ("../x", "leads out of its folder by '..'"),
        ("a/../../x", "leads out of its folder by '..'"),
        ("a/..", "leads out of its folder by '..'"),
        ("..\\x", "has a backslash"),
        ("a\\b", "has a backslash"),
        ("a/" + "n" * 256, "has too long a name"),
        ("/".join(["folder"] * 600), "has too long a name"),
        (".", "names no file"),
    ],
)
def test_names_stay_below_the_target(archive, kind, name, said):
    content = archive_of(kind, [("good.txt", b"x"), (name, b"x")])
    assert_refused(archive(content), "unsafe_name", said)


def test_a_name_with_a_zero_byte(archive):
    content = zip_with(("a.txtXb", b"x")).replace(b"a.txtXb", b"a.txt\0b")
    assert_refused(archive(content), "unsafe_name", "a zero byte in its name")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "a"], "entry 'a' stands twice"),
        (["a", "./a"], "entry './a' stands twice"),
        (["a", "b//c", "b/c"], "entry 'b/c' stands twice"),
        (["a", "a/b"], "entry 'a/b' stands in what is a file"),
        (["a/b", "a"], "entry 'a' stands twice"),
    ],
)
def test_nothing_is_written_twice(archive, kind, names, said):
    twice = kind == ".zip" and names[0] == names[1]
    with pytest.warns(UserWarning) if twice else contextlib.nullcontext():
        content = archive_of(kind, [(name, b"x") for name in names])
    assert_refused(archive(content), "duplicate_file", said)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (stat.S_IFLNK | 0o777, "is a link"),
        (stat.S_IFCHR | 0o666, "is a device"),
        (stat.S_IFIFO | 0o666, "is a device, a pipe or the like"),
    ],
)
def test_a_zip_holds_files_and_folders_only(archive, mode, said):
    content = zip_with((zip_mode("out", mode), "/etc"), ("out/passwd", b"x"))
    assert_refused(archive(content), "not_a_file", f"entry 'out' {said}")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        (tarfile.SYMTYPE, "/etc", "is a link"),
        (tarfile.SYMTYPE, "inside.txt", "is a link"),
        (tarfile.LNKTYPE, "../../secret", "is a link"),
        (tarfile.CHRTYPE, "", "is a device"),
        (tarfile.BLKTYPE, "", "is a device"),
        (tarfile.FIFOTYPE, "", "is a device, a pipe or the like"),
        (b"Z", "", "is a device"),
    ],
)
def test_a_tar_holds_files_and_folders_only(archive, packed, kind, target, said):
    content = tar_with((tar_type("out", kind, target), b""), packed=packed)
    assert_refused(archive(content), "not_a_file", f"entry 'out' {said}")


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_no_right_comes_out_of_an_archive(archive, tmp_path, kind):
    mode = 0o6777
    info = zip_mode("run", stat.S_IFREG | mode) if kind == ".zip" else tarfile.TarInfo("run")
    if kind == ".tar":
        info.mode = mode
        info.uid = info.gid = 12345
    unpack(archive(archive_of(kind, [(info, b"x")])), tmp_path / "target")
    made = (tmp_path / "target" / "run").stat()
    assert stat.S_IMODE(made.st_mode) & 0o7111 == 0
    assert made.st_uid == os.getuid()


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_counted(archive, kind):
    file = archive(archive_of(kind, [("a", bytes(5000)), ("b", bytes(5000))]))
    limits = Limits(total_bytes=9999)
    assert_refused(file, "too_large", "entry 'b' is where more than 9,999 bytes", limits)
    assert unpack(file, file.parent / "target", Limits(total_bytes=10000)) == 2


@pytest.mark.parametrize("kind", [".zip", ".tar.gz"])
def test_a_bomb_is_known_by_its_ratio(archive, kind):
    file = archive(archive_of(kind, [("zeros", bytes(10**6))]))
    limits = Limits(ratio=20, ratio_from_bytes=1000)
    assert_refused(file, "too_large", "expected at most 20 for one: made to fill the disk", limits)
    assert unpack(file, file.parent / "target", Limits(ratio=20, ratio_from_bytes=10**6)) == 1


def test_entries_are_counted(archive):
    file = archive(zip_with(*((f"{number}/", b"") for number in range(6))))
    assert_refused(file, "too_large", "expected at most 5", Limits(entries=5))
    assert unpack(file, file.parent / "target", Limits(entries=6)) == 0


@pytest.mark.parametrize("says", [10, 10**6 - 1, 2 * 10**6])
def test_a_zip_that_lies_about_a_size(archive, says):
    truth = struct.pack("<L", 10**6)
    content = zip_with(("zeros", bytes(10**6)))
    assert content.count(truth) == 2
    lying = archive(content.replace(truth, struct.pack("<L", says)))
    with pytest.raises(BadInput) as failure:
        unpack(lying, lying.parent / "target", Limits(ratio_from_bytes=2**30))
    assert failure.value.code == "damaged_archive"
    assert files_below(lying.parent).keys() == {"archive"}


def test_an_encrypted_zip(archive):
    content = bytearray(zip_with(("a", b"x")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    assert_refused(archive(bytes(content)), "encrypted", "entry 'a' is encrypted")


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_without_its_end(archive, kind):
    content = archive_of(kind, FILES.items())
    # GNU tar's last 10,240 bytes are mostly zeros; what matters ends at 512 * 7.
    for length in (len(content) - 1 if kind != ".tar" else 3000, len(content) // 4):
        file = archive(content[:length])
        with pytest.raises(BadInput):
            check_whole(file)
        assert_refused(file, "damaged_archive", "cannot be unpacked")


def test_a_tar_cut_between_two_entries(archive):
    content = tar_with(("a", b"x" * 512), ("b", b"x"))
    file = archive(content[:1024])
    assert_refused(file, "damaged_archive", "it ends too early")


def test_a_tar_with_a_damaged_header(archive):
    content = bytearray(tar_with(("a", b"x" * 512), ("b", b"x")))
    content[1024] ^= 1
    assert_refused(archive(bytes(content)), "damaged_archive", "cannot be unpacked")


def test_a_gzip_with_a_wrong_checksum(archive):
    content = bytearray(tar_with(*FILES.items(), packed=True))
    content[-8] ^= 1
    assert_refused(archive(bytes(content)), "damaged_archive", "CRC")


def test_a_tar_header_that_would_fill_the_memory(archive):
    info = tar_type("long", tarfile.GNUTYPE_LONGNAME)
    info.size = 2**40
    assert_refused(
        archive(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))),
        "damaged_archive",
        "a header of 1,099,511,627,776 bytes",
    )


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, b"Z"])
def test_a_tar_header_with_a_negative_size(archive, kind):
    """Would send a reader that believes it back to where it was, forever."""
    info = tar_type("back", kind)
    info.size = -1024
    content = info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert_refused(archive(content), "damaged_archive", "cannot be unpacked")


def test_many_nested_tar_headers(archive):
    info = tar_type("long", tarfile.GNUTYPE_LONGNAME)
    info.size = 1
    nested = (info.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * 5000
    assert_refused(archive(gzip.compress(nested)), "damaged_archive", "cannot be unpacked")


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>", bytes(2000)])
def test_what_is_no_archive(archive, content):
    assert archive_suffix(archive(content)) is None
    assert_refused(archive(content), "not_an_archive", "is no .zip, .tar or .tar.gz")


def test_what_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        unpack(tmp_path / "nothing", tmp_path / "target")


def test_nothing_that_is_there_is_replaced(archive, tmp_path):
    file = archive(zip_with(*FILES.items()))
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").write_text("x")
    with pytest.raises(BadInput, match="is there already, so nothing is unpacked"):
        unpack(file, tmp_path / "target")
    (tmp_path / "other.partial").mkdir()
    (tmp_path / "other.partial" / "mine").write_text("x")
    with pytest.raises(BadInput, match="holds mine"):
        unpack(file, tmp_path / "other")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is there already"):
        unpack(file, tmp_path / "link")
    assert files_below(tmp_path).keys() == {"archive", "target/mine", "other.partial/mine"}


KILLED = """
import os, signal, sys
from pathlib import Path
from preprocessing.unpack import unpack

def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith("b.txt"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_killed_midway_it_never_looks_finished(archive, tmp_path):
    file = archive(zip_with(("a.txt", b"a"), ("b.txt", b"b")))
    target = tmp_path / "target"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(file), str(target)],
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode < 0
    assert not target.exists()
    assert files_below(tmp_path).keys() == {"archive", "target.partial/unpacked/a.txt"}
    assert unpack(file, target) == 2
    assert files_below(tmp_path).keys() == {"archive", "target/a.txt", "target/b.txt"}


STEP = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=8)
NAME = (
    st.lists(STEP | st.sampled_from(["..", ".", "", "a", "C:"]), min_size=1, max_size=4)
    .map("/".join)
    .filter(bool)
)


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.dictionaries(NAME, st.binary(max_size=40), max_size=4))
def test_any_names_stay_below_the_target_or_are_refused(kind, files):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "archive")
        file.write_bytes(archive_of(kind, files.items()))
        try:
            unpack(file, Path(folder, "target"))
        except BadInput:
            assert os.listdir(folder) == ["archive"]
        else:
            assert set(os.listdir(folder)) == {"archive", "target"}
            written = files_below(Path(folder, "target"))
            kept = {name: text for name, text in files.items() if not name.endswith("/")}
            if kind == ".zip":
                assert sorted(written.values()) == sorted(kept.values())


@settings(max_examples=100)
@given(
    st.sampled_from([archive_of(kind, FILES.items()) for kind in KINDS]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_ends_in_a_sentence(content, changes):
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "archive")
        file.write_bytes(bytes(damaged))
        try:
            unpack(file, Path(folder, "target"), Limits(total_bytes=10**6))
        except BadInput:
            assert os.listdir(folder) == ["archive"]
