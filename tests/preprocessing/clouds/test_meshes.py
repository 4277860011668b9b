"""Points drawn from the faces of meshes as text, with trimesh as an independent writer."""

import numpy as np
import pytest
import trimesh

from preprocessing.clouds.meshes import read_mesh_points
from schema.errors import UserError

SQUARE = "0 0 0\n2 0 0\n2 2 0\n0 2 0\n"
OFF_SQUARE = f"OFF\n4 1 0\n{SQUARE}4 0 1 2 3\n"
OBJ_SQUARE = "".join(f"v {line}\n" for line in SQUARE.splitlines()) + "f 1 2 3 4\n"
FACE = "f 1 2 3 4"


def off(vertices, faces):
    lines = ["OFF", f"{len(vertices)} {len(faces)} 0", *(f"{x} {y} {z}" for x, y, z in vertices)]
    return "\n".join([*lines, *(f"3 {a} {b} {c}" for a, b, c in faces)]).encode()


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
        ("a.obj", OBJ_SQUARE.replace(FACE, "f 1/1/1 2/1/1 3//1 4/1")),
        ("a.obj", OBJ_SQUARE.replace(FACE, "f -4 -3 -2 -1")),
        ("a.obj", OBJ_SQUARE.replace(FACE, "f -4 -3 -2 -1\nv 9 9 9\n")),
        ("a.obj", OBJ_SQUARE.replace("v 0 0 0", "v 0 0 0 1 0 0")),
        ("a.obj", f"{FACE}\n" + OBJ_SQUARE.replace(FACE, "")),
    ],
)
def test_a_square_is_covered_evenly(name, text):
    points = read_mesh_points(name, text.encode(), 400)
    assert points.shape == (400, 3) and points.dtype == np.float64
    assert (points[:, 2] == 0).all()
    # Two triangles of equal area on both sides of a diagonal.
    assert np.count_nonzero(points[:, 1] > points[:, 0]) == 200
    quarters = np.histogram2d(points[:, 0], points[:, 1], bins=2, range=[[0, 2], [0, 2]])[0]
    assert quarters.sum() == 400
    assert np.abs(quarters - 100).max() < 25


@pytest.mark.parametrize("kind", ["off", "obj"])
def test_reads_what_trimesh_writes(kind):
    sphere = trimesh.creation.icosphere(2)
    text = trimesh.exchange.export.export_mesh(sphere, file_type=kind, file_obj=None)
    content = text.encode() if isinstance(text, str) else text
    points = read_mesh_points(f"ball.{kind}", content, 300)
    _, distance, _ = trimesh.proximity.closest_point_naive(sphere, points)
    assert distance.max() < 1e-6
    assert np.abs(points.mean(axis=0)).max() < 0.1


@pytest.mark.parametrize(
    ("name", "text", "code", "fact"),
    [
        ("a.off", "", "bad_mesh", ""),
        ("a.off", "ply\n", "bad_mesh", "ply"),
        ("a.off", "OFF\nfour 1 0\n", "bad_mesh", "four"),
        ("a.off", OFF_SQUARE.replace("2 2 0", "2 x 0"), "bad_mesh", "x"),
        ("a.off", OFF_SQUARE.replace("2 2 0", "2 nan 0"), "not_finite", "2, nan, 0"),
        ("a.off", OFF_SQUARE.replace("2 2 0", "2 2"), "bad_mesh", ""),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "4 0 1 2"), "bad_mesh", ""),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "4 0 1 2 4"), "bad_mesh", "0 to 4"),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "3 0 1 -1"), "bad_mesh", "-1 to 1"),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "3 0 1 -2"), "bad_mesh", "-2 to 1"),
        ("a.off", OFF_SQUARE.replace("4 0 1 2 3", "2 0 1"), "no_faces", "2 vertices"),
        ("a.off", OFF_SQUARE.replace("4 1 0", "4 2 0"), "bad_mesh", "expected 6"),
        ("a.off", OFF_SQUARE.replace("4 1 0", "99999999999 2 0"), "bad_mesh", "100000000001"),
        ("a.off", OFF_SQUARE.replace("4 1 0", "4 -1 0"), "bad_mesh", "expected 3"),
        ("a.off", OFF_SQUARE.replace("4 1 0", "4 0 0"), "no_faces", "0 faces"),
        ("a.off", OFF_SQUARE.replace("2", "0"), "no_area", ""),
        ("a.off", OFF_SQUARE.replace("2 2 0", "1e60 2e60 0"), "not_finite", "1e+60"),
        ("a.obj", OBJ_SQUARE.replace("v 2 2 0", "v 2 2"), "bad_mesh", ""),
        ("a.obj", OBJ_SQUARE.replace(FACE, "f 1 2 5"), "bad_mesh", "0 to 4"),
        ("a.obj", OBJ_SQUARE.replace(FACE, "f 0 1 2\nv 1 1 1"), "bad_mesh", "-1 to 1"),
        ("a.obj", OBJ_SQUARE.replace(FACE, "f -5 1 2"), "bad_mesh", "-1 to 1"),
        ("a.obj", OBJ_SQUARE.replace(FACE, "f 1 2\nf 1 2 3"), "no_faces", "2 faces"),
        ("a.obj", OBJ_SQUARE.replace(FACE, "f a b c"), "bad_mesh", "a"),
        ("a.obj", "v 0 0 0\n", "no_faces", "0 faces"),
        ("a.obj", "f 1 2 3\n", "bad_mesh", "0 vertices"),
        ("a.obj", "v 0 0 0\n\xff", "wrong_encoding", "0xff"),
        ("a.obj", "v 0 0 0\n\0", "not_text", ""),
    ],
)
def test_a_fault_has_its_code(name, text, code, fact):
    with pytest.raises(UserError) as error:
        read_mesh_points(name, text.encode("latin-1"), 100)
    assert (error.value.code, error.value.file) == (code, name)
    assert fact in error.value.message


def test_points_are_shared_by_area():
    # A unit square in two triangles, one triangle of three times its area, and two of none.
    vertices = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 0, 5], [11, 0, 5], [9, 3, 5]]
    faces = [[3, 3, 3], [0, 1, 2], [0, 2, 3], [4, 5, 6], [6, 6, 6]]
    points = read_mesh_points("a.off", off(vertices, faces), 4000)
    in_square = points[points[:, 2] == 0]
    assert abs(len(in_square) - 1000) <= 1
    assert ((in_square >= 0) & (in_square <= 1)).all()
    np.testing.assert_allclose(in_square[:, :2].mean(axis=0), 0.5, atol=0.04)


def test_the_same_points_each_time():
    first, second = (read_mesh_points("a.off", OFF_SQUARE.encode(), 50) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(read_mesh_points("a.off", OFF_SQUARE.encode(), 1)) == 1
