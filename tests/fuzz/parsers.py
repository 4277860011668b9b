"""What must hold of each parser of files, whatever the file: the right result or a UserError.

One function a parser takes any bytes, compares the result with an independent reading of them, and
returns whether they were accepted. `test_parsers.py` feeds them with hypothesis, `fuzz_parsers.py`
with a fuzzer that watches which code each input reaches.
"""

import gzip
import io
import re
import struct
from collections.abc import Callable

import google_crc32c
import numpy as np

from preprocessing.clouds.files import columns_of, read_cloud, start_size
from preprocessing.clouds.meshes import read_mesh_points
from preprocessing.clouds.ply import ply_file
from preprocessing.clouds.text import read_labels, read_numbers
from preprocessing.conversion.records import from_example, read_records, to_example
from preprocessing.datasets.clouds_yaml import CLOUDS, parse_clouds
from schema.categories import Category
from schema.errors import UserError
from schema.record import Cloud

# What damages texts of numbers most cleverly.
TOKENS = [
    *(b" ", b"\t", b"\r\n", b"\r", b"\n\n", b"\0", b"\f", b"\x1c", b"\x85", b"\xef\xbb\xbf"),
    *(b"\xff\xfe", b"\xc2\xa0", b"\xd9\xa1", b"nan", b"-inf", b"Infinity", b"1e400", b"1e39"),
    *(b"-0.0", b"--1", b"+1", b"1.", b".5", b".", b"-", b"1_000", b"0x10", b"1,5", b"1e", b"1d5"),
    *(b"9" * 30, b"0." + b"3" * 60, b"1" * 5000, b"0" * 400 + b"1", b"true", b"2", b"-1", b"/"),
    *(b"[" * 2000, b"{}", b'"', b",", b";", b"x,y,z", b"*x", b"&x", b"!!set", b"? ", b"<<: "),
    *(b"label", b"//", b"list", b"vertex", b"f ", b"v ", b"\xff\xff\xff\xff"),
]
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")
_MAX_FLOAT32 = np.finfo(np.float32).max


def table_of(content: bytes, columns: int) -> np.ndarray | None:
    """The numbers of a table, word by word; None where it is not one."""
    text = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        lines = text.decode("ascii").rstrip().split("\n")
        rows = [[float(word) for word in line.split()] for line in lines]
    except ValueError:
        return None
    if b"_" in text or {len(row) for row in rows} != {columns}:
        return None
    table = np.array(rows)
    return table if (np.abs(table) <= _MAX_FLOAT32).all() else None


def refused(error: UserError, file: str) -> bool:
    """A refusal names the file, in a message that can be printed."""
    assert error.code and error.file == file, str(error)
    assert error.message and len(error.message) < 600
    str(error).encode()
    return False


def number_file(name: str, columns: int, read: Callable) -> Callable[[bytes], bool]:
    """read_numbers, or with one column read_labels."""

    def check(content: bytes) -> bool:
        expected = table_of(content, columns)
        if expected is not None and columns == 1:
            is_label = (expected % 1 == 0) & (np.abs(expected) < 2**24)
            expected = expected[:, 0].astype(np.int64) if is_label.all() else None
        try:
            found = read(content)
        except UserError as error:
            # Other control characters may separate words or not.
            assert expected is None or _CONTROL.search(content)
            return refused(error, name)
        assert expected is not None
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        # Equal to the last bit, the sign of a zero included.
        assert found.tobytes() == expected.tobytes()
        return True

    return check


def cloud_file(name: str) -> Callable[[bytes], bool]:
    """read_cloud and columns_of for one ending."""

    def check(content: bytes) -> bool:
        read = []
        for with_labels in (True, False):
            try:
                read.append(read_cloud(name, content, with_labels=with_labels))
            except UserError as error:
                refused(error, name)
        for cloud in read:
            points = cloud.points
            assert points.dtype == np.float64 and points.shape == (len(points), 3) and len(points)
            assert (np.abs(points) <= _MAX_FLOAT32).all()
            assert cloud.labels is None or len(cloud.labels) == len(points)
            np.testing.assert_array_equal(points, read[0].points)
        if len(read) == 2:
            columns = columns_of(name, content[: start_size(name)])
            assert columns.has_labels is (read[0].labels is not None)
            assert read[1].labels is None
        return bool(read)

    return check


def mesh_file(name: str) -> Callable[[bytes], bool]:
    """read_mesh_points for one ending."""

    def check(content: bytes) -> bool:
        try:
            points = read_mesh_points(name, content, 5)
        except UserError as error:
            return refused(error, name)
        assert points.shape == (5, 3) and np.isfinite(points).all()
        return True

    return check


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
    """read_records: of the bytes themselves, and of them as the content of a gzip file."""
    accepted = False
    for file in (content, gzip.compress(content, 0)):
        try:
            found = list(read_records(io.BytesIO(file), "a.gz"))
        except UserError as error:
            refused(error, "a.gz")
            continue
        assert framed(found) == gzip.decompress(file)
        accepted = True
    return accepted


def example(content: bytes) -> bool:
    """from_example."""
    try:
        cloud = from_example(content)
    except UserError as error:
        return refused(error, "")
    assert cloud.points.dtype in (np.float32, np.float64)
    assert cloud.points.shape == (len(cloud.points), 3) and len(cloud.points)
    assert cloud.labels is None or cloud.labels.dtype == np.int64
    (cloud.shape_id + cloud.category).encode()
    return True


def clouds_yaml(content: bytes) -> bool:
    """parse_clouds."""
    try:
        return bool(parse_clouds(content).categories)
    except UserError as error:
        return refused(error, CLOUDS)


_POINTS = np.arange(12).reshape(4, 3) / 8
_LABELS = np.array([0, -1, 1, 0])
_CATEGORY = Category("A", "a", ("x", "y"))
_PLY = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty double y\n"
_PLY += b"property float z\nproperty uchar label\nend_header\n0 0.5 1 7\n1 1.5 0 8\n"


def _saved(save: Callable, *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


_LABEL_FILES = [b"1\n4\n0\n", b"12\n7\n", b"3\n0\n9", b"-1\n2\n", b"1.0\r\n0e0\r\n"]
_TABLES = [
    b"0.250 -1.500 3.000\n0.125 0.000 -0.500\n",
    b"0.25000 -0.12345 0.99999\n" * 3 + b"-9.00000 0.00000 -0.00000",
    b"0.25\t-1.5\t3\r\n1e-3 0 -.5\r\n",
]
_CSV = [
    b"x,y,z,label\n0.5,1,2,1\n1,2,3,nan\n",
    b'"x";"y";"z";"part"\r\n1;2;3;"left arm"\r\n',
    b"0.5 1 2 3\n0.25 1 2 0\n",
    b"//x\ty\tz\tscalar_label\n1\t2\t3\t4.0\n",
]
_NPY = [_saved(np.save, _POINTS), _saved(np.save, np.c_[_POINTS, _LABELS].astype(">f4"))]
_YAML = [b'categories:\n  Chair: [back, "seat"]\nunlabelled: [-1, .nan]\nfirst_label: 1\n']
_RECORDS = framed([b"first", b"", b"x" * 40])
_EXAMPLES = [Cloud("abc", "Airplane", _POINTS, _LABELS), Cloud("é", "Lamp", _POINTS + 1e7)]

# Each parser, and sound files, which the fuzzers damage.
PARSERS: dict[str, tuple[Callable[[bytes], bool], list[bytes]]] = {
    "table": (number_file("a.pts", 3, lambda c: read_numbers(c, 3, "a.pts")), _TABLES),
    "labels": (number_file("a.seg", 1, lambda c: read_labels(c, "a.seg")), _LABEL_FILES),
    "off": (mesh_file("a.off"), [b"OFF\n4 1 0\n0 0 0\n2 0 0\n2 2 0\n0 2 0\n4 0 1 2 3\n"]),
    "obj": (mesh_file("a.obj"), [b"v 0 0 0\nv 2 0 0\nv 2 2 0\nf 1 2 3\nf -1 -2 1/1/1\n"]),
    "csv": (cloud_file("a.csv"), _CSV),
    "ply": (cloud_file("a.ply"), [_PLY, ply_file(_POINTS, _LABELS, _CATEGORY)]),
    "npy": (cloud_file("a.npy"), _NPY),
    "npz": (cloud_file("a.npz"), [_saved(np.savez, points=_POINTS, labels=_LABELS)]),
    "record_file": (record_file, [_RECORDS, gzip.compress(_RECORDS, mtime=0)]),
    "yaml": (clouds_yaml, _YAML),
    "example": (example, [to_example(cloud) for cloud in _EXAMPLES]),
}
