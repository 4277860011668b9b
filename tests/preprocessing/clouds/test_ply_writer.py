"""Written clouds come back exactly, also for an independent reader."""

import io

import numpy as np
import pytest
import trimesh

from preprocessing.clouds.files import read_cloud
from preprocessing.clouds.ply import labels_file, ply_file
from preprocessing.clouds.text import read_labels
from schema.categories import Category

TOOL = Category("Tool", "Tool", ("head", "handle"))
BLUE, ORANGE, GREY = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0x99, 0x99, 0x99)


def test_labels_are_an_integer_a_line():
    parts = np.array([0, 12, -1])
    assert labels_file(parts) == b"0\n12\n-1\n"
    np.testing.assert_array_equal(read_labels(labels_file(parts), "a.labels"), parts)
    assert labels_file(np.array([], np.int64)) == b""


def test_an_independent_reader_finds_points_colours_and_labels():
    points = np.array([[0.1, -2, 3e8], [1, 1e-30, 1], [5, 6, 7], [8, 9, 1]], np.float32)
    parts = np.array([0, 1, -1, 7])
    cloud = trimesh.load(io.BytesIO(ply_file(points, parts, TOOL)), file_type="ply")
    np.testing.assert_array_equal(np.asarray(cloud.vertices, np.float32), points)
    assert [tuple(colour[:3]) for colour in cloud.colors] == [BLUE, ORANGE, GREY, GREY]
    vertex = cloud.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(vertex["label"].reshape(-1), parts)


@pytest.mark.parametrize(
    ("centre", "kind"), [((0, 0, 0), "float"), ((500_000, 4_649_776, 0), "double")]
)
def test_coordinates_come_back_exactly(centre, kind):
    points = np.random.default_rng(0).uniform(size=(50, 3)).astype(np.float32) + np.array(centre)
    parts = np.arange(50) % 2
    content = ply_file(points, parts, TOOL)
    assert f"property {kind} x\n".encode() in content
    cloud = read_cloud("a.ply", content)
    np.testing.assert_array_equal(cloud.points, points)
    np.testing.assert_array_equal(cloud.labels, parts)


def test_the_header_names_the_parts_and_stays_one_line_a_name():
    odd = Category("Tool\nend_header", "Tool", ("hëad\nelement vertex 9", "handle"))
    header = ply_file(np.zeros((1, 3)), np.zeros(1, int), odd).split(b"end_header\n")[0]
    lines = header.decode("ascii").splitlines()
    assert 'comment label 1 "handle" #E69F00' in lines
    assert [line for line in lines if line.startswith("element")] == ["element vertex 1"]


def test_parts_that_do_not_fit_the_points_are_refused():
    with pytest.raises(ValueError, match="expected"):
        ply_file(np.zeros((3, 3)), np.zeros(2, int), TOOL)
