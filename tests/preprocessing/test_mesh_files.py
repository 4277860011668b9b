"""Meshes as text, against trimesh's readers, and points drawn from their faces."""

import io

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.findings import BadInput
from preprocessing.mesh_files import Mesh, parse_mesh, sample_mesh

SQUARE = "0 0 0\n2 0 0\n2 2 0\n0 2 0\n"
OFF_SQUARE = f"OFF\n4 1 0\n{SQUARE}4 0 1 2 3\n"
OBJ_SQUARE = "".join(f"v {line}\n" for line in SQUARE.splitlines()) + "f 1 2 3 4\n"
FAN = [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.off", OFF_SQUARE),
        ("a.OFF", OFF_SQUARE.replace("\n", "\r\n")),
        ("a.off", OFF_SQUARE.replace("OFF\n", "OFF")),
        ("a.off", "# a square\n\n" + OFF_SQUARE.replace("2 2 0\n", "2 2 0 # far\n\n")),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "4 0 1 2 3 255 0 0")),
        ("a.off", OFF_SQUARE.replace("OFF", "COFF").replace("2 2 0\n", "2 2 0 9 9 9 255\n")),
        ("a.obj", OBJ_SQUARE),
        ("a.obj", "mtllib x.mtl\no square\nvn 0 0 1\nvt 0 0\n" + OBJ_SQUARE + "s off\n"),
        ("a.obj", OBJ_SQUARE.replace("f 1 2 3 4", "f 1/1/1 2/1/1 3//1 4/1")),
        ("a.obj", OBJ_SQUARE.replace("f 1 2 3 4", "f -4 -3 -2 -1")),
    ],
)
def test_a_square_is_two_triangles(name, text):
    mesh = parse_mesh(name, text.encode())
    np.testing.assert_array_equal(mesh.vertices, np.loadtxt(io.StringIO(SQUARE)))
    assert mesh.triangles.tolist() == FAN


@pytest.mark.parametrize("kind", ["off", "obj"])
def test_an_independent_programs_meshes_are_read_as_it_wrote_them(kind):
    sphere = trimesh.creation.icosphere(2)
    text = trimesh.exchange.export.export_mesh(sphere, file_type=kind, file_obj=None)
    content = text.encode() if isinstance(text, str) else text
    mesh = parse_mesh(f"ball.{kind}", content)
    np.testing.assert_array_equal(mesh.triangles, sphere.faces)
    np.testing.assert_allclose(mesh.vertices, sphere.vertices, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "text", "line", "found"),
    [
        ("a.off", "", 0, "expected OFF"),
        ("a.off", "ply\n", 1, "found 'ply'"),
        ("a.off", "OFF\nfour 1 0\n", 2, "found 'four 1 0'"),
        ("a.off", OFF_SQUARE.replace("2 2 0", "2 x 0"), 5, "found '2 x 0'"),
        ("a.off", OFF_SQUARE.replace("2 2 0", "2 nan 0"), 5, "found '2 nan 0'"),
        ("a.off", OFF_SQUARE.replace("2 2 0", "2 2"), 5, "found '2 2'"),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "4 0 1 2"), 7, "found '4 0 1 2'"),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "4 0 1 2 4"), 7, "among the 4 vertices"),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "2 0 1"), 7, "at least three"),
        ("a.off", OFF_SQUARE.replace("4 1 0", "4 2 0"), 0, "has 4 vertices and 1 faces"),
        ("a.off", OFF_SQUARE.replace("4 1 0", "99999999999 2 0"), 0, "expected 99999999999"),
        ("a.obj", "v 0 0\n", 1, "found '0 0'"),
        ("a.obj", OBJ_SQUARE.replace("f 1 2 3 4", "f 1 2 5"), 5, "found 'f 1 2 5'"),
        ("a.obj", OBJ_SQUARE.replace("f 1 2 3 4", "f 0 1 2"), 5, "found 'f 0 1 2'"),
        ("a.obj", OBJ_SQUARE.replace("f 1 2 3 4", "f -5 1 2"), 5, "found 'f -5 1 2'"),
        ("a.obj", OBJ_SQUARE.replace("f 1 2 3 4", "f a b c"), 5, "found 'f a b c'"),
        ("a.obj", "v 0 0 0\n", 0, "no face"),
        ("a.obj", "v 0 0 0\n\xff".encode("latin-1"), 2, "0xff"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(name, text, line, found):
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(BadInput, match=found) as error:
        parse_mesh(name, content)
    assert (error.value.file, error.value.line) == (name, line)


@given(st.binary(max_size=200), st.sampled_from(["a.off", "a.obj"]))
def test_any_bytes_are_a_mesh_or_a_sentence(content, name):
    try:
        parse_mesh(name, b"OFF\n" + content if name == "a.off" else content)
    except BadInput as error:
        assert error.sentence


def test_points_are_dealt_out_by_area():
    # One unit square in two triangles, and one triangle of three times its area beside it.
    vertices = np.array(
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 0, 5], [11, 0, 5], [9, 3, 5]]
    )
    mesh = Mesh(vertices.astype(np.float64), np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]]))
    points = sample_mesh(mesh, 4000, "a.off")
    assert points.shape == (4000, 3) and points.dtype == np.float32
    in_square = points[points[:, 2] == 0]
    assert abs(len(in_square) - 1000) <= 1
    assert ((in_square >= 0) & (in_square <= 1)).all()
    # Evenly within, too: each quarter of the square has its share.
    quarter = (in_square[:, 0] > 0.5) * 2 + (in_square[:, 1] > 0.5)
    assert np.abs(np.bincount(quarter, minlength=4) - 250).max() < 60
    np.testing.assert_allclose(in_square[:, :2].mean(axis=0), 0.5, atol=0.04)


def test_the_same_points_each_time():
    mesh = parse_mesh("a.off", OFF_SQUARE.encode())
    np.testing.assert_array_equal(sample_mesh(mesh, 50, "a"), sample_mesh(mesh, 50, "a"))
    assert len(sample_mesh(mesh, 1, "a")) == 1


@pytest.mark.parametrize("scale", [0, 1e200])
def test_a_mesh_without_an_area_is_refused(scale):
    mesh = parse_mesh("a.off", OFF_SQUARE.encode())
    with pytest.raises(BadInput, match="area"):
        sample_mesh(Mesh(mesh.vertices * scale, mesh.triangles), 10, "a.off")


def test_faces_without_an_area_get_no_point():
    mesh = Mesh(np.eye(4, 3) * 2, np.array([[0, 0, 0], [0, 1, 2], [3, 3, 3]]))
    points = sample_mesh(mesh, 100, "a.off")
    np.testing.assert_allclose(points.sum(axis=1), 2, atol=1e-5)
