"""A cloud comes back the same from every form; anything else is one clear error."""

import io
import zipfile

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preprocessing.cloud_columns import MAX_HEADER_BYTES
from preprocessing.cloud_files import ENDINGS, columns_of, parse_cloud_file, start_size
from preprocessing.findings import BadInput

POINTS = np.array([[0.25, -1.5, 3.0], [1e-7, 0.1, -2e30]], np.float32)
LABELS = np.array([2, -1])

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
COORDINATES = st.integers(1, 6).flatmap(lambda n: arrays(np.float32, (n, 3), elements=FLOATS))


@given(data=st.data(), points=COORDINATES)
@settings(max_examples=40)
def test_any_cloud_comes_back_from_every_form(cloud_forms, data, points):
    kinds = st.none() | arrays(np.int64, len(points), elements=st.integers(-300, 300))
    labels = data.draw(kinds)
    for name, write in cloud_forms.items():
        content = write(points, labels)
        cloud = parse_cloud_file(name, content, None)
        assert cloud.points.dtype == np.float32
        np.testing.assert_array_equal(cloud.points, points, err_msg=name)
        assert columns_of(name, content[: start_size(name)], None).has_labels is (
            labels is not None
        )
        if labels is None:
            assert cloud.labels is None
        else:
            np.testing.assert_array_equal(cloud.labels, labels, err_msg=name)


def ply(vertices, properties=("float x", "float y", "float z", "uchar label"), more=()):
    head = ["ply", "format ascii 1.0", f"element vertex {vertices}"]
    head += [f"property {item}" for item in properties]
    return "\n".join([*head, *more, "end_header\n"]).encode()


def npy(array, **header):
    """A .npy of an array, with a header that may say something else."""
    file = io.BytesIO()
    said = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
    np.lib.format.write_array_header_1_0(file, said)
    return file.getvalue() + array.tobytes()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


BINARY = ply(2).replace(b"ascii", b"binary_little_endian")
BINARY_POINT = np.array([1, 2, 3], "<f4").tobytes() + b"\1"


@pytest.mark.parametrize(
    ("name", "content", "code", "line", "words"),
    [
        ("a.pts", b"", "empty_file", 1, "nothing in its first line"),
        ("a.pts", b"1 2 3 4 5\n", "wrong_columns", 1, "Name more columns in a first line"),
        ("a.pts", b"1 2\n", "wrong_columns", 1, "expected x y z or x y z label"),
        ("a.pts", b"1 2 3\n1 2 3 4\n", "wrong_columns", 2, "found 4 numbers"),
        ("a.pts", b"1 2 3 1\n1 2 3\n", "wrong_columns", 2, "expected 4"),
        ("a.pts", b"1 2 3\n1 nan 3\n", "not_finite", 2, "found nan"),
        ("a.pts", b"1 2 3 back\n", "wrong_columns", 1, "Name the columns so"),
        ("a.csv", b"x,y,label\n1,2,3\n", "wrong_columns", 1, "no columns named z"),
        ("a.csv", b"x,y,z,X\n1,2,3,4\n", "wrong_columns", 1, "found 2 columns named x"),
        ("a.csv", b"x,y,z\n1,2,3\n\n1,2,3\n", "wrong_columns", 3, "found 0 columns"),
        ("a.csv", b"x,y,z\n1,2,3\n1,2\n", "wrong_columns", 3, "found 2 columns ('1,2')"),
        ("a.csv", b"x,y,z\n1,,3\n", "not_a_number", 2, "found '' in column y"),
        ("a.csv", b"x,y,z\n1,2 2,3\n", "not_a_number", 2, "found '2 2' in column y"),
        ("a.csv", b"x,y,z\n1,2,3\n1,two,3\n", "not_a_number", 3, "found 'two'"),
        ("a.txt", b"0,29 0,31 0,12\n", "not_a_number", 1, "'0,29', expected a number; decimal"),
        ("a.csv", b"0,29;0,31;1;0\n", "not_a_number", 1, "decimal commas? Save the numbers"),
        ("a.csv", b"x;y;z\n1;2;-0,3e2\n", "not_a_number", 2, "decimal commas?"),
        ("a.csv", b"x,y,z\n1,2,inf\n", "not_finite", 2, "found inf"),
        ("a.csv", b'x,y,z,label\n1,2,3,"a\nb"\n', "not_csv", 2, "separated by ','"),
        ("a.csv", b"x,y,z\n", "empty_file", 0, "found no line"),
        ("a.csv", b"x,y,z,label,class\n1,2,3,0,0\n", "two_labels", 0, "label and class"),
        ("a.csv", b"x,y,z,\xe9\n", "wrong_encoding", 1, "0xe9"),
        ("a.txt", "0 0 0\n".encode("utf-16"), "wrong_encoding", 1, "UTF-8"),
        ("a.xyz", b"\x7fELF\2\1\1\0\t\0\x80\n", "not_text", 1, "is no text file"),
        ("a.csv", b"x,y,z\n1,2,3\n\0\0\0\0", "not_text", 3, "is no text file"),
        ("a.npy", b"no array", "not_npy", 0, "no NumPy array"),
        ("a.npy", npy(np.zeros((2, 3)))[:-8], "count_mismatch", 0, "takes 48 bytes, but holds 40"),
        ("a.npy", npy(np.zeros((2, 3)), shape=(2**40, 3)), "count_mismatch", 0, "[1099511627776"),
        ("a.npy", npy(np.zeros((2, 3)), shape=(-2, -3)), "count_mismatch", 0, "[-2, -3]"),
        ("a.npy", npy(np.zeros((2, 5))), "wrong_shape", 0, "[2, 5]"),
        ("a.npy", npy(np.zeros(6)), "wrong_shape", 0, "[6]"),
        ("a.npy", npy(np.zeros((0, 3))), "empty_file", 0, "no point"),
        ("a.npy", npy(np.array([[0, np.inf, 0]])), "not_finite", 0, "point 1: found 0, inf, 0"),
        ("a.npy", npy(np.array([[0, 1e39, 0]])), "not_finite", 0, "found 0, 1e+39, 0"),
        ("a.npy", npy(np.array([[0, 0, 0, 0.5]])), "not_a_label", 0, "found label 0.5"),
        ("a.npy", npy(np.array([[0, 0, 0, np.nan]])), "not_a_label", 0, "found label nan"),
        ("a.npy", npy(np.array([["a", "b", "c"]])), "wrong_type", 0, "expected numbers"),
        ("a.npy", npy(np.zeros((1, 3)), descr="|O"), "wrong_type", 0, "type object"),
        ("a.npz", b"PK", "not_npz", 0, "np.savez"),
        ("a.npz", npz(xyz=POINTS), "no_points", 0, "holds the arrays xyz"),
        ("a.npz", npz(points=POINTS, labels=[0]), "wrong_shape", 0, "[1], expected [2]"),
        ("a.npz", npz(points=POINTS[0]), "wrong_shape", 0, "expected [n, 3]"),
        ("a.npz", npz(points=POINTS, labels=LABELS, part=LABELS), "two_labels", 0, "labels and"),
        ("a.npz", npz(points=np.array([{}])), "wrong_type", 0, "type object"),
        ("a.ply", b"solid stl\n", "not_ply", 0, "no PLY header"),
        ("a.ply", b"ply\nformat ascii 1.0\n", "not_ply", 0, "no PLY header"),
        ("a.ply", ply(2).replace(b"ascii", b"utf8"), "bad_header", 2, "'format utf8 1.0'"),
        ("a.ply", ply(2, ("float x", "half y")), "bad_header", 5, "'property half y'"),
        ("a.ply", ply("many"), "bad_header", 3, "'element vertex many'"),
        ("a.ply", ply(2, ("float x", "float y")), "wrong_columns", 0, "no columns named z"),
        ("a.ply", ply(2, more=["element vertex 2"]), "bad_header", 0, "2 elements named vertex"),
        ("a.ply", ply(1, ("list uchar int x",)), "bad_header", 0, "a list among"),
        ("a.ply", b"ply\nelement vertex 1\nend_header\n", "bad_header", 0, "no line format"),
        ("a.ply", ply(0), "empty_file", 0, "no vertex"),
        ("a.ply", ply(2) + b"0 0 0 1\n", "count_mismatch", 0, "has 1 lines after its header"),
        ("a.ply", ply(1) + b"0 0 0 1\n" * 2, "count_mismatch", 0, "has 2 lines"),
        ("a.ply", ply(10**12) + b"0 0 0 1\n", "count_mismatch", 0, "expected 1000000000000"),
        ("a.ply", ply(2) + b"0 0 0 1\n0 0 0\n", "wrong_columns", 10, "found 3 columns"),
        ("a.ply", ply(2) + b"0 0 0 1\n0 0x 0 1\n", "not_a_number", 10, "found '0x'"),
        ("a.ply", ply(2) + b"0 0 0 1\n0 0 \xff 1\n", "wrong_encoding", 10, "0xff"),
        ("a.ply", BINARY + BINARY_POINT, "count_mismatch", 0, "has 13 bytes"),
        ("a.ply", BINARY + BINARY_POINT * 3, "count_mismatch", 0, "expected 26"),
        (
            "a.ply",
            ply(10**14).replace(b"ascii", b"binary_big_endian"),
            "count_mismatch",
            0,
            "expected 1300000000000000",
        ),
        ("a.obj", b"", "unknown_ending", 0, "'.obj'"),
    ],
)
def test_says_what_is_wrong_and_where(name, content, code, line, words):
    with pytest.raises(BadInput) as error:
        parse_cloud_file(f"Chair/{name}", content, None)
    found = (error.value.code, error.value.file, error.value.line)
    assert found == (code, f"Chair/{name}", line)
    assert words in str(error.value)


def test_words_stay_words():
    cloud = parse_cloud_file("a.csv", b"x,y,z,part\n0,0,0,left arm\n1,1,1, seat\n2,2,2,\n", None)
    assert cloud.labels == ["left arm", "seat", ""]
    assert cloud.first_line == 2


def test_a_label_that_is_not_whole_is_no_label():
    assert parse_cloud_file("a.pts", b"0 0 0 1\n0 0 0 1.5\n", None).labels == ["1", "1.5"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"x,y,z,label,Mine\n0,0,0,7,3\n"),
        (
            "a.ply",
            ply(1, ("float x", "float y", "float z", "int label", "int mine")) + b"0 0 0 7 3",
        ),
        ("a.npz", npz(points=POINTS[:1], labels=[7], mine=[3])),
    ],
)
def test_the_named_label_is_taken(name, content):
    assert parse_cloud_file(name, content, "mine").labels.tolist() == [3]
    assert parse_cloud_file(name, content, None).labels.tolist() == [7]
    assert parse_cloud_file(name, content, "another").labels is None


def test_a_uchar_of_300_stays_300():
    cloud = parse_cloud_file("a.ply", ply(2) + b"0 0 0 300\n0 0 0 -1\n", None)
    assert cloud.labels.tolist() == [300, -1]


def test_what_a_ply_holds_besides_vertices():
    before = ply(2).replace(
        b"element vertex", b"element camera 1\nproperty double zoom\nelement vertex"
    )
    faces = b"element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    text = before.replace(b"end_header\n", faces)
    body = b"0.5\n0 0 0 1\n1 1 1 2\n3 0 1 0\n4 0 1 0 1\n"
    assert parse_cloud_file("a.ply", text + body, None).labels.tolist() == [1, 2]
    text = text.replace(b"ascii", b"binary_little_endian")
    content = text + np.array([0.5]).tobytes() + BINARY_POINT * 2 + b"\3" + bytes(12)
    cloud = parse_cloud_file("a.ply", content, None)
    np.testing.assert_array_equal(cloud.points, [[1, 2, 3], [1, 2, 3]])
    lists_first = text.replace(b"property double zoom", b"property list uchar int zoom")
    with pytest.raises(BadInput, match="lists of camera before the vertices"):
        parse_cloud_file("a.ply", lists_first + bytes(99), None)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_reads_what_trimesh_writes(encoding):
    mesh = trimesh.creation.icosphere(subdivisions=1)
    labels = np.arange(len(mesh.vertices), dtype=np.int32) % 4
    mesh.vertex_attributes["label"] = labels
    content = trimesh.exchange.ply.export_ply(mesh, encoding=encoding)
    cloud = parse_cloud_file("a.ply", content, None)
    np.testing.assert_allclose(cloud.points, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(cloud.labels, labels)


@pytest.mark.parametrize("form", ["ascii.ply", "little.ply", "big.ply"])
def test_reads_ply_as_trimesh_does(cloud_forms, form):
    content = cloud_forms[form](POINTS, LABELS)
    read = trimesh.exchange.ply.load_ply(io.BytesIO(content))["metadata"]["_ply_raw"]["vertex"]
    cloud = parse_cloud_file(form, content, None)
    for column, name in zip(cloud.points.T, "xyz", strict=True):
        np.testing.assert_array_equal(column, read["data"][name].ravel().astype(np.float32))
    np.testing.assert_array_equal(cloud.labels, read["data"]["label"].ravel())


def test_a_header_longer_than_is_read_of_it_is_refused_in_both_ways():
    content = ply(1).replace(b"element", b"comment " + b"x" * MAX_HEADER_BYTES + b"\nelement")
    content += b"0 0 0 1\n"
    for part in (content, content[: start_size("a.ply")]):
        with pytest.raises(BadInput, match="no PLY header"):
            columns_of("a.ply", part, None)
    with pytest.raises(BadInput, match="no PLY header"):
        parse_cloud_file("a.ply", content, None)


def test_an_npz_cannot_claim_more_than_a_file_may_be(monkeypatch):
    monkeypatch.setattr("preprocessing.file_tree.MAX_FILE_BYTES", 1000)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", bytes(5000))
    with pytest.raises(BadInput) as error:
        parse_cloud_file("a.npz", file.getvalue(), None)
    assert (error.value.code, error.value.file) == ("too_large", "a.npz")


def parse_or_refuse(name, content):
    """What every content must lead to: a sound cloud, or a BadInput that names the file."""
    try:
        cloud = parse_cloud_file(name, content, None)
    except BadInput as error:
        assert error.file == name
        assert str(error).endswith(".")
        return
    assert cloud.points.dtype == np.float32
    assert cloud.points.shape == (len(cloud.points), 3)
    assert len(cloud.points) >= 1
    assert np.isfinite(cloud.points).all()
    labelled = cloud.labels is not None
    assert not labelled or len(cloud.labels) == len(cloud.points)
    assert columns_of(name, content[: start_size(name)], None).has_labels is labelled


@given(st.sampled_from(ENDINGS), st.binary(max_size=200))
@settings(max_examples=200)
def test_random_bytes_never_break_a_parser(ending, content):
    parse_or_refuse("a" + ending, content)


@given(data=st.data())
@settings(max_examples=400)
def test_damaged_files_never_break_a_parser(cloud_forms, data):
    name = data.draw(st.sampled_from(sorted(cloud_forms)))
    content = bytearray(cloud_forms[name](POINTS, LABELS))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 8))
        bits = st.binary(max_size=4) | st.sampled_from(
            [b"9", b"(", b"\n", b",", b" ", b"nan", b"-"]
        )
        content[place : place + length] = data.draw(bits)
    parse_or_refuse(name, bytes(content[: data.draw(st.integers(0, len(content)))]))
    parse_or_refuse(name, bytes(content))
