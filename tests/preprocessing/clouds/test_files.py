"""A cloud comes back the same from every form; anything else is one error with its place."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preprocessing.clouds.files import columns_of, file_stem, read_cloud, start_size
from preprocessing.clouds.text import MAX_HEADER_BYTES
from schema.errors import UserError
from tests.preprocessing.conftest import CLOUD_FORMS

POINTS = np.array([[0.25, -1.5, 3.0], [1e-7, 0.1, -2e30]])
LABELS = np.array([2, -1])

FLOATS = st.floats(-1e38, 1e38)
# Half a unit in the first x: four columns without names are x y z label beyond doubt.
COORDINATES = st.integers(1, 6).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=FLOATS).map(lambda p: np.r_[[[0.5, 1, 2]], p])
)


@given(data=st.data(), points=COORDINATES)
@settings(max_examples=40)
def test_any_cloud_comes_back_from_every_form(data, points):
    kinds = st.none() | arrays(np.int64, len(points), elements=st.integers(-300, 300))
    labels = data.draw(kinds)
    for name, write in CLOUD_FORMS.items():
        content = write(points, labels)
        cloud = read_cloud(name, content)
        # This form of the fixture stores two coordinates in 32 bits.
        expected = points
        if name.endswith("ply"):
            expected = points.copy()
            expected[:, :2] = points[:, :2].astype(np.float32)
        assert cloud.points.dtype == np.float64
        np.testing.assert_array_equal(cloud.points, expected, err_msg=name)
        columns = columns_of(name, content[: start_size(name)])
        assert columns.has_labels is (labels is not None)
        assert columns.first_line == cloud.first_line
        if labels is None:
            assert cloud.labels is None
        else:
            assert cloud.labels.dtype == np.int64
            np.testing.assert_array_equal(cloud.labels, labels, err_msg=name)
        unlabelled = read_cloud(name, content, with_labels=False)
        np.testing.assert_array_equal(unlabelled.points, expected)
        assert unlabelled.labels is None


XYZ = ("float x", "float y", "float z")


def ply(vertices, properties=(*XYZ, "uchar label"), more=()):
    head = ["ply", "format ascii 1.0", f"element vertex {vertices}"]
    head += [f"property {item}" for item in properties]
    return "\n".join([*head, *more, "end_header\n"]).encode()


def npy(array, **header):
    """A .npy of an array, with a header that may contradict it."""
    file = io.BytesIO()
    values = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
    np.lib.format.write_array_header_1_0(file, values)
    return file.getvalue() + array.tobytes()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


BINARY = ply(2).replace(b"ascii", b"binary_little_endian")
BIG_BINARY = ply(10**14).replace(b"ascii", b"binary_big_endian")
BINARY_POINT = np.array([1, 2, 3], "<f4").tobytes() + b"\1"
LISTS_FIRST = b"element camera 1\nproperty list uchar int zoom\nelement vertex"


@pytest.mark.parametrize(
    ("name", "content", "code", "line", "fact"),
    [
        ("a.pts", b"", "empty_file", 1, ""),
        ("a.pts", b"\n0.1 0.2 0.3\n", "empty_file", 1, ""),
        ("a.pts", b"1 2\n", "wrong_columns", 1, "2"),
        ("a.pts", b"1 2 3\n1 2 3 4\n", "wrong_columns", 2, "1 2 3 4"),
        ("a.xyz", b"0.1 0.2 x0.3\n", "not_a_number", 1, "x0.3"),
        ("a.csv", b"0.1,0.2,0.3\n0.1,0.2,0.3,1\n", "wrong_columns", 2, "4"),
        ("a.txt", b"# 0.1 0.2 0.3\n0.1 0.2 0.3\n", "wrong_columns", 1, ""),
        ("a.csv", b"x,y,z,X\n1,2,3,4\n", "wrong_columns", 1, "2 columns named x"),
        ("a.csv", b"u,v,w\n1,2,3\n", "wrong_columns", 1, "u, v, w"),
        ("a.csv", b"x,y,z\n1,2,3\n\n1,2,3\n", "wrong_columns", 3, "0"),
        ("a.csv", b"x,y,z\n1,,3\n", "not_a_number", 2, "''"),
        ("a.csv", b"x,y,z\n1,2 2,3\n", "not_a_number", 2, "2 2"),
        ("a.csv", "x,y,z\n1,2,٣\n".encode(), "not_a_number", 2, "٣"),
        ("a.txt", b"0,29 0,31 0,12\n", "not_a_number", 1, "0,29"),
        ("a.csv", b"0,29;0,31;0,5;0\n", "not_a_number", 1, "0,29"),
        ("a.csv", b"0,29;0,31;1;0\n", "not_a_number", 1, "0,29"),
        ("a.csv", b"x;y;z\n1;2;-0,3e2\n", "not_a_number", 2, "-0,3e2"),
        ("a.csv", b"x,y,z\n1,2,inf\n", "not_finite", 2, "inf"),
        ("a.csv", b'x,y,z,label\n1,2,3,"a\nb"\n', "not_csv", 2, "','"),
        ("a.csv", b"x,y,z\n", "empty_file", 0, ""),
        ("a.csv", b"x,y,z,\xe9\n", "wrong_encoding", 1, "0xe9"),
        ("a.xyz", b"\x7fELF\2\1\1\0\t\0\x80\n", "not_text", 1, ""),
        ("a.npy", npy(np.zeros((2, 3)))[:40], "not_npy", 0, ""),
        ("a.npy", npy(np.zeros((2, 3)))[:-8], "count_mismatch", 0, "40"),
        ("a.npy", npy(np.zeros((2, 3))) + b"\0", "count_mismatch", 0, "49 bytes"),
        ("a.npy", npy(np.zeros((2, 3)), shape=(2**40, 3)), "count_mismatch", 0, "1099511627776"),
        ("a.npy", npy(np.zeros((2, 3)), shape=(-2, 3)), "count_mismatch", 0, "[-2, 3]"),
        ("a.npy", npy(np.zeros((0, 3))), "empty_file", 0, ""),
        ("a.npy", npy(np.array([[0, np.inf, 0]])), "not_finite", 0, "0, inf, 0"),
        ("a.npy", npy(np.array([[0, 1e39, 0]])), "not_finite", 0, "0, 1e+39, 0"),
        ("a.npy", npy(np.array([[0.5, 0, 0, 0.5]])), "not_a_label", 0, "0.5"),
        ("a.npy", npy(np.array([[0.5, 0, 0, 2.0**24]])), "not_a_label", 0, "1.67772e+07"),
        ("a.npy", npy(np.array([["a", "b", "c"]])), "wrong_type", 0, "<U1"),
        ("a.npy", npy(np.zeros((1, 3)), descr="|O"), "wrong_type", 0, "object"),
        ("a.npz", b"PK", "not_npz", 0, ""),
        ("a.npz", npz(points=POINTS).replace(b"\0\0\xd0?", b"\0\0\xd1?"), "not_npz", 0, "points"),
        ("a.npz", npz(points=POINTS, labels=[0]), "wrong_shape", 0, "expected [2]"),
        ("a.npz", npz(points=POINTS, labels=LABELS, part=LABELS), "two_labels", 0, "labels and"),
        ("a.npz", npz(points=np.array([{}])), "not_npz", 0, "Object"),
        ("a.npz", npz(points=np.array([["a", "b", "c"]])), "wrong_type", 0, "<U1"),
        ("a.npz", npz(points=POINTS, labels=[0.5, 1]), "not_a_label", 0, "0.5"),
        ("a.ply", b"solid stl\n", "not_ply", 0, ""),
        ("a.ply", b"ply\nformat ascii 1.0\n", "not_ply", 0, ""),
        ("a.ply", ply(2).replace(b"ascii", b"utf8"), "bad_header", 2, "utf8"),
        ("a.ply", ply(2, ("float x", "half y")), "bad_header", 5, "half y"),
        ("a.ply", ply(2, ("float x y",)), "bad_header", 4, "float x y"),
        ("a.ply", ply("many"), "bad_header", 3, "many"),
        ("a.ply", ply(2, ("float x", "float y")), "wrong_columns", 0, "z"),
        ("a.ply", ply(2, more=["element vertex 2"]), "bad_header", 0, "vertex"),
        ("a.ply", ply(1, ("list uchar int x",)), "bad_header", 0, "lists"),
        ("a.ply", b"ply\nelement vertex 1\nend_header\n", "bad_header", 0, "format"),
        ("a.ply", ply(0), "empty_file", 0, ""),
        ("a.ply", ply(2), "count_mismatch", 0, "0 lines"),
        ("a.ply", ply(1) + b"0 0 0 1\n" * 2, "count_mismatch", 0, "2 lines"),
        ("a.ply", ply(10**12) + b"0 0 0 1\n", "count_mismatch", 0, "1000000000000"),
        ("a.ply", ply(2) + b"0 0 0 1\n0 0 0\n", "wrong_columns", 10, "3 columns"),
        ("a.ply", ply(2) + b"0 0 0 1\n0 0x 0 1\n", "not_a_number", 10, "0x"),
        ("a.ply", ply(2) + b"0 0 0 1\n0 0 inf 1\n", "not_finite", 10, "inf"),
        ("a.ply", ply(2) + b"0 0 0 1\n0 0 0 1.5\n", "not_a_label", 10, "1.5"),
        ("a.ply", ply(2) + b"0 0 0 1\n0 0 \xff 1\n", "wrong_encoding", 10, "0xff"),
        ("a.ply", BINARY + BINARY_POINT, "count_mismatch", 0, "13 bytes"),
        ("a.ply", BINARY + BINARY_POINT * 3, "count_mismatch", 0, "26"),
        ("a.ply", BIG_BINARY, "count_mismatch", 0, "1300000000000000"),
        ("a.ply", BINARY.replace(b"element vertex", LISTS_FIRST), "bad_header", 0, "lists"),
        ("a.obj", b"", "unknown_ending", 0, "'.obj'"),
    ],
)
def test_a_fault_has_its_code_and_place(name, content, code, line, fact):
    with pytest.raises(UserError) as error:
        read_cloud(f"Chair/{name}", content)
    found = (error.value.code, error.value.file, error.value.line)
    assert found == (code, f"Chair/{name}", line)
    assert fact in error.value.message


ROWS = np.array([[0.135, 0.04, 0.01], [0.2, 0.05, 0.02], [0.3, 0.1, 0.5], [0.4, 0.2, 0.25]])


def text(rows, separator=","):
    return "\n".join(separator.join(f"{x:g}" for x in row) for row in rows.tolist()).encode()


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("form", ["csv", "xyz", "npy"])
@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(np.c_[[0, 1, 2, 3], ROWS], id="rows from 0"),
        pytest.param(np.c_[[1, 2, 3, 4], ROWS], id="rows from 1"),
        pytest.param(np.c_[[17, 3, 5, 9], ROWS], id="rows of a sample"),
        pytest.param(np.c_[[0, 0, 2, 1], ROWS], id="labels"),
        pytest.param([[0, 1.5, 0.5, 0], [1, 2.5, 0.5, 0], [2, 1.5, 0.5, 0]], id="z is whole"),
        pytest.param([[1, 5, 7, 0], [2, 5, 7, 1], [3, 5, 8, 0]], id="all whole"),
        pytest.param([[0, 0.1, 0.2, 0.3]], id="one point"),
    ],
)
def test_a_number_in_front_of_x_y_z_is_refused(rows, form, with_labels):
    rows = np.array(rows, float)
    content = npy(rows) if form == "npy" else text(rows, "," if form == "csv" else " ")
    with pytest.raises(UserError) as error:
        read_cloud(f"a.{form}", content, with_labels=with_labels)
    assert (error.value.code, error.value.file) == ("ambiguous_columns", f"a.{form}")


LONG_HEADER = ply(1).replace(b"element", b"comment " + b"x" * MAX_HEADER_BYTES + b"\nelement")


@pytest.mark.parametrize(
    ("name", "content", "code", "line"),
    [
        ("a.csv", b"0,1,2\r\n5,5,5\r\n", "ambiguous_columns", 1),
        ("a.csv", b"0,1,2,3\n5,5,5,5\n", "ambiguous_columns", 1),
        ("a.csv", b",0,1,2\n5,5,5,5\n", "ambiguous_columns", 1),
        ("a.csv", b"1,2,3\n0.5,5,5\n", "ambiguous_columns", 1),
        ("a.csv", b"1,2,3,4\n5,5,.5,5\n", "ambiguous_columns", 1),
        ("a.csv", b"1 2 3\n5 5e-1 5\n", "ambiguous_columns", 1),
        ("a.csv", b" 1;2;3\n5;5.;5\n", "ambiguous_columns", 1),
        ("a.npy", npy(np.zeros((2, 7))), "wrong_shape", 0),
        ("a.npy", npy(np.zeros((2, 2))), "wrong_shape", 0),
        ("a.npy", npy(np.zeros(6)), "wrong_shape", 0),
        ("a.ply", LONG_HEADER + b"0 0 0 1\n", "not_ply", 0),
    ],
)
def test_refused_when_listed_and_when_read(name, content, code, line):
    for read in (read_cloud, columns_of):
        with pytest.raises(UserError) as error:
            read(name, content)
        assert (error.value.code, error.value.line) == (code, line)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[0, 0, 0, 0], [1, 1, 1, 0]], id="two points"),
        pytest.param([[0, 0.5, 0.5, 0], [0, 0.1, 0.2, 1], [0, 0.2, 0.2, 1]], id="a plane"),
        pytest.param([[512, 40, 7, 1], [90, 41, 9, 0], [7, 41, 8, 2]], id="millimetres"),
        pytest.param([[1, 2, 3, 4], [5, 6, 7, 8], [2, 1, 5, 3]], id="counting first point"),
        pytest.param([[9, 1.5, 0.5, 0], [4, 2.5, 0.5, 0], [6, 1.5, 0.5, 0]], id="all whole x"),
        pytest.param([[512, 40, 7, np.nan], [90, 41, 9, 0], [7, 41, 8, 2]], id="NaN label"),
        pytest.param([[0.5, 40, 7, 1], [1, 41, 9, 0], [2, 41, 8, 2]], id="one fraction"),
    ],
)
def test_whole_coordinates_are_read(rows):
    rows = np.array(rows, float)
    for name, content in (("a.csv", text(rows)), ("a.npy", npy(rows))):
        cloud = read_cloud(name, content)
        np.testing.assert_array_equal(cloud.points, rows[:, :3])
        np.testing.assert_array_equal(cloud.labels, rows[:, 3])


def test_named_columns_are_never_ambiguous():
    rows = np.column_stack([np.arange(4), ROWS])
    # As pandas writes a frame with its index.
    cloud = read_cloud("a.csv", b",x,y,z\n" + text(rows))
    np.testing.assert_array_equal(cloud.points, ROWS)
    assert cloud.labels is None
    assert columns_of("a.csv", b",x,y,z\n").others == ("",)


def test_another_value_than_a_label_is_ignored_where_labels_are_not_read():
    rows = np.column_stack([ROWS, [0.688, 1, 2, 3]])
    for name, content in (("a.xyz", text(rows, " ")), ("a.npy", npy(rows))):
        np.testing.assert_array_equal(read_cloud(name, content, with_labels=False).points, ROWS)
        with pytest.raises(UserError) as error:
            read_cloud(name, content)
        assert error.value.code == "not_a_label"
    damaged = npz(points=ROWS, labels=[[0.5]], part=[1])
    np.testing.assert_array_equal(read_cloud("a.npz", damaged, with_labels=False).points, ROWS)


def test_words_stay_words():
    cloud = read_cloud("a.csv", b"x,y,z,part\n0,0,0,left arm\n1,1,1, seat\n2,2,2,\n3,3,3,-1\n")
    assert cloud.labels == ["left arm", "seat", "", "-1"]
    assert cloud.first_line == 2
    content = b"0 0 0 -1\n0 1 1 seat\n0 2 2 back\n"
    assert read_cloud("a.xyz", content).labels == ["-1", "seat", "back"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"x,y,z,scalar_Classification\n0,0,0,7\n0,0,0,nan\n0,0,0,3\n"),
        ("a.csv", b"x,y,z,label\n0,0,0,7\n0,0,0,\n0,0,0,3\n"),
        ("a.txt", b"//X Y Z Scalar_Label\n0 0 0 7.000000\n0 0 0 nan\n0 0 0 3.000000\n"),
        ("a.npz", npz(points=ROWS[:3], scalar_part=[7, np.nan, 3])),
        ("a.ply", ply(3, (*XYZ, "float scalar_class")) + b"0 0 0 7\n0 0 0 nan\n0 0 0 3\n"),
    ],
)
def test_a_label_that_is_not_known_leaves_the_column_numeric(name, content):
    cloud = read_cloud(name, content)
    assert cloud.labels.dtype == np.float64
    np.testing.assert_array_equal(cloud.labels, [7, np.nan, 3])


def test_one_word_among_numbers_is_named_with_its_line():
    labels = ["1", "2", "3", "0", "O", "1"]
    content = "x,y,z,label\n" + "".join(f"0,0,0,{label}\n" for label in labels)
    with pytest.raises(UserError) as error:
        read_cloud("a.csv", content.encode())
    assert (error.value.code, error.value.line) == ("not_a_label", 6)
    assert "'O'" in error.value.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"x,y,z,label,Mine\n0,0,0,7,3\n"),
        ("a.csv", b"x,y,z,label,scalar_Mine\n0,0,0,7,3\n"),
        ("a.ply", ply(1, (*XYZ, "int label", "int mine")) + b"0 0 0 7 3"),
        ("a.npz", npz(points=POINTS[:1], labels=[7], mine=[3])),
    ],
)
def test_the_named_label_is_taken(name, content):
    assert read_cloud(name, content, "mine").labels.tolist() == [3]
    assert read_cloud(name, content).labels.tolist() == [7]
    assert read_cloud(name, content, "another").labels is None


def test_other_elements_of_a_ply_are_ignored():
    camera = b"element camera 1\nproperty double zoom\nelement vertex"
    faces = b"element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    head = ply(2).replace(b"element vertex", camera).replace(b"end_header\n", faces)
    body = b"0.5\n0 0 0 300\n1 1 1 -1\n3 0 1 0\n4 0 1 0 1\n"
    # Text may hold what a uchar may not.
    assert read_cloud("a.ply", head + body).labels.tolist() == [300, -1]
    head = head.replace(b"ascii", b"binary_little_endian")
    content = head + np.array([0.5]).tobytes() + BINARY_POINT * 2 + b"\3" + bytes(12)
    np.testing.assert_array_equal(read_cloud("a.ply", content).points, [[1, 2, 3], [1, 2, 3]])


@pytest.mark.parametrize(
    ("shape_id", "stem"),
    [
        ("1a04e3eab45ca15dd86060f189eb133", "1a04e3eab45ca15dd86060f189eb133"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("..", "%2E."),
        ("", "%"),
        ("-rf", "%2Drf"),
        ("Chair/stool", "Chair%2Fstool"),
        ("a\0\n\\b", "a%00%0A%5Cb"),
    ],
)
def test_ids_stay_in_their_folder(shape_id, stem):
    assert file_stem(shape_id) == stem


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_different_ids_have_different_names_that_any_file_system_takes(ids):
    stems = [file_stem(shape_id) for shape_id in ids]
    assert stems[0] != stems[1]
    for stem in stems:
        assert stem.isascii() and stem.isprintable()
        assert not set(stem) & set("/\\ \0") and stem[0] not in ".-"


def test_a_very_long_id_is_cut_and_stays_different():
    first, second = file_stem("ä" * 4000 + "1"), file_stem("ä" * 4000 + "2")
    assert first != second
    assert len(first) == len(second) == 200
