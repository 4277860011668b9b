"""What must hold of each parser of files, whatever the file: the result or BadInput, nothing else.

One function a parser takes any bytes, compares what the parser says with an independent reading of
them, and tells whether they were accepted. `test_parsers.py` feeds them with hypothesis,
`fuzz_parsers.py` with a fuzzer that watches which code each input reaches.
"""

from __future__ import annotations

import gzip
import io
import json
import posixpath
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np

from preprocessing import number_table
from preprocessing.benchmark import _split_list
from preprocessing.examples import from_example, to_example
from preprocessing.file_tree import open_tree
from preprocessing.findings import BadInput, Finding
from preprocessing.manifest import Count, Manifest, Shard
from preprocessing.number_table import parse_labels, parse_mask, parse_table
from preprocessing.part_annotation import PartAnnotation
from preprocessing.settings import DataSettings
from preprocessing.tfrecord import Writer, read_records
from schema.categories import Category
from schema.record import CloudRecord

# What damages texts of numbers, JSON and archives most cleverly.
TOKENS = [
    *(b" ", b"  ", b"\t", b"\n", b"\r\n", b"\r", b"\n\n", b"\0", b"\f", b"\v", b"\x1c", b"\x85"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2\xa0", b"\xe2\x80\x83", b"\xd9\xa1", b"\xb5", b"\xed"),
    *(b"nan", b"-inf", b"Infinity", b"1e400", b"1e39", b"3.4028236e38", b"1e-400", b"-0.0"),
    *(b"--1", b"+1", b"1.", b".5", b".", b"-", b"1_000", b"0x10", b"1,5", b"1e", b"1d5", b"0.1f"),
    *(b"9" * 30, b"0." + b"3" * 60, b"1" * 5000, b"0" * 400 + b"1", b"true", b"None", b"2", b"-1"),
    *(b"[" * 2000, b"{}", b'"', b"\\ud800", b'"lables"', b'"directory"', b"..", b"/", b"null"),
    *(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"\xff\xff\xff\xff", b"\x0c\x00", b"../x"),
]


def lines_of(text: bytes) -> list[str]:
    """The lines of a text, or ValueError."""
    for mark, end in ((b"\r\n", b"\n"), (b"\r", b"\n")):
        text = text.replace(mark, end)
    lines = text.decode("utf-8-sig").rstrip(" \t\n").split("\n")
    if lines == [""] or not all(line.isascii() for line in lines):
        raise ValueError("empty, or not plain")
    return lines


def number_of(word: str) -> float:
    if "_" in word:
        raise ValueError("digits in groups")
    return float(word)


def table_of(text: bytes, columns: int | None) -> np.ndarray | None:
    """What a table of numbers says, word by word; None: it is none."""
    try:
        rows = [[number_of(word) for word in line.split()] for line in lines_of(text)]
    except ValueError:
        return None
    if not rows[0] or {len(row) for row in rows} != {columns or len(rows[0])}:
        return None
    with np.errstate(over="ignore"):
        table = np.array(rows).astype(np.float32)
    return table if np.isfinite(table).all() else None


def integers_of(text: bytes) -> list[int] | None:
    """What a list of integers says, line by line; None: it is none."""
    try:
        numbers = [number_of(line) for line in lines_of(text)]
    except ValueError:
        return None
    fit = all(abs(number) < 2**31 and number == int(number) for number in numbers)
    return [int(number) for number in numbers] if fit else None


def same(found: np.ndarray, expected: np.ndarray | None) -> None:
    """Equal to the last bit, the sign of a zero included."""
    assert expected is not None
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def refusal(error: BadInput) -> None:
    """A refusal names the file and ends like a sentence."""
    assert error.code and error.file and str(error).endswith("."), str(error)
    assert len(error.sentence) < 500
    str(error).encode()


def table(content: bytes) -> bool:
    """parse_table, and each of its fast paths."""
    accepted = False
    for columns in (3, 7, None):
        expected = table_of(content, columns)
        try:
            same(parse_table(content, columns, "a.pts"), expected)
            accepted = True
        except BadInput as error:
            refusal(error)
            assert expected is None
        plain = number_table._plain(content)
        for fast in (number_table._fixed_point_table, number_table._regular_table):
            found = fast(plain, columns)
            if found is not None:
                same(found, expected)
    return accepted


def mask(content: bytes) -> bool:
    """parse_mask."""
    expected = integers_of(content)
    try:
        found = parse_mask(content, "a.seg")
    except BadInput as error:
        refusal(error)
        assert expected is None or not set(expected) <= {0, 1}
        return False
    assert expected is not None and set(expected) <= {0, 1}
    same(found, np.array(expected, bool))
    return True


def labels(content: bytes) -> bool:
    """parse_labels."""
    expected = integers_of(content)
    try:
        found = parse_labels(content, "a.seg")
    except BadInput as error:
        refusal(error)
        assert expected is None
        return False
    assert expected is not None
    same(found, np.array(expected, np.int64))
    return True


class OneFile:
    """A tree in which every name is the same file, and no folder holds anything."""

    source = "source"

    def __init__(self, content: bytes):
        self.content = content

    def entries(self, folder):
        (Path("/source") / folder).as_posix().encode()
        return []

    def read(self, name, limit=None):
        return self.content[:limit]


def metadata(content: bytes) -> bool:
    """metadata.json, and the categories made of it."""
    for unannotated in ("auto", "ignore", "part"):
        try:
            reader = PartAnnotation(
                OneFile(content), "", DataSettings.model_validate({"unannotated": unannotated})
            )
        except BadInput as error:
            refusal(error)
            return False
        said = json.loads(content.decode("utf-8-sig"))
        assert list(reader.categories) == list(said)
        for name, category in reader.categories.items():
            parts = said[name].get("lables", said[name].get("labels"))
            assert set(category.parts) - set(parts) <= {category.rest}
            for folder in (category.directory, *parts):
                assert posixpath.normpath(f"/source/{folder}").startswith("/source/")
        assert reader.list_shapes(reader.categories).shapes == []
    return True


def split_list(content: bytes) -> bool:
    """An official list of shapes."""
    try:
        found = _split_list(content, "list.json")
    except BadInput as error:
        refusal(error)
        return False
    said = json.loads(content)
    assert len(found) == len(said)
    for name, item in zip(found, said, strict=True):
        name.encode()
        assert item == name or item.endswith(f"/{name}")
    return True


def archive(content: bytes) -> bool:
    """A .zip: all of its folders listed, and all of its files read."""
    with tempfile.NamedTemporaryFile(suffix=".zip") as file, warnings.catch_warnings():
        # zipfile warns of a name that stands twice.
        warnings.simplefilter("ignore", UserWarning)
        file.write(content)
        file.flush()
        try:
            tree = open_tree(file.name)
        except BadInput as error:
            assert str(error).endswith(".")
            return False
        folders, accepted = [""], False
        while folders:
            folder = folders.pop()
            for entry in tree.entries(folder):
                name = f"{folder}/{entry.name}" if folder else entry.name
                assert "/" not in entry.name and not entry.name.startswith(".")
                if entry.is_folder:
                    folders.append(name)
                    continue
                try:
                    found = tree.read(name)
                except BadInput as error:
                    refusal(error)
                    continue
                assert (len(found), zlib.crc32(found)) == (entry.size, entry.stamp)
                accepted = True
    return accepted


def framed(records: list[bytes]) -> bytes:
    """TensorFlow's format, from its description."""
    out = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        for data in (length, record):
            crc = google_crc32c.value(data)
            turned = (crc >> 15 | crc << 17) & 0xFFFFFFFF
            out += data + struct.pack("<I", (turned + 0xA282EAD8) % 2**32)
    return out


def record_file(content: bytes) -> bool:
    """read_records: of the bytes themselves, of them as frames, and of them as records."""
    accepted = False
    for file in (content, gzip.compress(content, 0)):
        try:
            found = list(read_records(io.BytesIO(file), "a.gz"))
        except BadInput as error:
            refusal(error)
            continue
        assert framed(found) == gzip.decompress(file)
        accepted = True
    records = content.split(b"\n")
    written = io.BytesIO()
    writer = Writer(written)
    for record in records:
        writer.write(record)
    writer.close()
    written.seek(0)
    assert list(read_records(written, "a.gz")) == records
    return accepted


def example(content: bytes) -> bool:
    """from_example."""
    try:
        record = from_example(content)
    except BadInput as error:
        assert str(error).endswith(".")
        return False
    assert record.points.dtype == np.float32 and record.points.shape[1:] == (3,)
    assert len(record.points) >= 1
    if record.labels is not None:
        assert record.labels.dtype == np.int64
        assert record.labels.shape == (len(record.points),)
    record.shape_id.encode()
    record.category.encode()
    return True


def manifest(content: bytes) -> bool:
    """Manifest.from_text, there and back."""
    try:
        text = Manifest.from_text(content.decode(errors="replace")).to_text()
    except BadInput as error:
        refusal(error)
        return False
    assert Manifest.from_text(text).to_text() == text
    return True


PARSERS: dict[str, Callable[[bytes], bool]] = {
    check.__name__: check
    for check in (
        table,
        mask,
        labels,
        metadata,
        split_list,
        archive,
        record_file,
        example,
        manifest,
    )
}


def _zip(compression: int, names: tuple[str, ...]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name in names:
            made.writestr(name, b"" if name.endswith("/") else b"0.25 0.5 1\n" * 9)
    return file.getvalue()


_MANIFEST = Manifest(
    source="s",
    layout="part_annotation",
    fingerprint="f",
    categories=(Category("A", "a", ("x", "y"), "y"),),
    counts=(Count("train", "A", 1, 2, 0, {"x": 2, "y": 0}, {"x": 1, "y": 0}),),
    shards=(Shard("train/part-00000-of-00001.tfrecord.gz", 1, 9, "0f"),),
    findings=(Finding("empty_file", "s", "a/s.pts", 1, "Restore it.", True),),
    settings={"seed": 0},
)
_CLOUD = np.arange(12, dtype=np.float32).reshape(4, 3)
# Sound files, which the fuzzers damage.
SOUND: dict[str, list[bytes]] = {
    "table": [
        b"0.250 -1.500 3.000\n0.125 0.000 -0.500\n",
        b"0.25000 -0.12345 0.99999\n" * 3 + b"-9.00000 0.00000 -0.00000",
        b"0.25 -1.5 3\r\n1e-3 0 -.5\r\n",
        b"1\t2\t3\n4\t5\t6\n",
        b"1 2 3 0 0 1 24.000\n4 5 6 0 1 0 27.000\n",
        b"0.12345678 -0.87654321 1.00000000\n",
    ],
    "mask": [b"1\n0\n0\n1\n", b"1\r\n0\r\n", b"1.0\n0e0\n", b"0\n" * 40],
    "labels": [b"1\n4\n0\n", b"12\n7\n", b"3\n0\n9", b"-1\n2147483647\n"],
    "metadata": [
        b'{"Airplane": {"directory": "02691156", "lables": ["wing", "body", "tail", "engine"]}}',
        b'{"Lamp": {"directory": "03636649", "labels": ["canopy", "lampshade", "base"]}}',
        b'{"A": {"directory": "a", "lables": ["x"]},"B": {"directory": "b", "lables": ["none"]}}',
    ],
    "split_list": [b'["shape_data/02691156/a", "shape_data/03636649/b"]', b"[]"],
    "archive": [
        _zip(zipfile.ZIP_DEFLATED, ("metadata.json", "a/points/x.pts")),
        _zip(zipfile.ZIP_STORED, ("a/", "a/b", "/etc/x", "../y")),
        _zip(zipfile.ZIP_LZMA, ("a",)),
        _zip(zipfile.ZIP_BZIP2, ("a", "b")),
    ],
    "record_file": [
        framed([b"first", b"", b"x" * 40]),
        gzip.compress(framed([b"first", b"x" * 40]), mtime=0),
        gzip.compress(b"", mtime=0),
    ],
    "example": [
        to_example(CloudRecord("abc", "Airplane", _CLOUD, np.array([0, -1, 2, 3]))),
        to_example(CloudRecord("é", "Lamp", _CLOUD[:1])),
    ],
    "manifest": [_MANIFEST.to_text().encode()],
}
assert SOUND.keys() == PARSERS.keys()
