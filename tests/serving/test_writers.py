"""Segmented clouds as files, each read back by a reader that is not ours where there is one."""

import csv
import io

import numpy as np
import pytest
import trimesh
from matplotlib.image import imread

from schema.categories import Category
from schema.errors import UserError
from serving.parts_table import numbered_parts, read_parts
from serving.segmented_cloud import SegmentedCloud
from serving.writers import CSV_COLUMNS, FILE_FORMATS

TOOL = Category("Tool", "Tool", ("head", 'han"d,le'))


@pytest.fixture
def cloud():
    points = np.array([[0.1, -2, 3e8], [1, 1e-30, 1 / 3], [5, 6, 7]], np.float32)
    probability = np.array([[0.75, 0.25], [np.nan, np.nan], [0.125, 0.875]], np.float32)
    return SegmentedCloud("hammer", points, np.array([0, -1, 1]), probability, TOOL)


def test_seg_is_a_number_a_line(cloud):
    assert FILE_FORMATS["seg"](cloud) == b"0\n-1\n1\n"


def test_csv_brings_every_coordinate_back(cloud):
    rows = list(csv.DictReader(io.StringIO(FILE_FORMATS["csv"](cloud).decode())))
    assert tuple(rows[0]) == CSV_COLUMNS
    points = np.array([[row["x"], row["y"], row["z"]] for row in rows]).astype(np.float32)
    np.testing.assert_array_equal(points, cloud.points)
    assert [row["part"] for row in rows] == ["0", "-1", "1"]
    assert [row["part_name"] for row in rows] == ["head", "", 'han"d,le']
    assert [float(row["probability"]) for row in rows] == [0.75, 0, 0.875]


def test_npz_needs_no_code_to_be_read(cloud):
    with np.load(io.BytesIO(FILE_FORMATS["npz"](cloud)), allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["points"], cloud.points)
        np.testing.assert_array_equal(stored["part"], cloud.part)
        np.testing.assert_array_equal(stored["probability"], cloud.probability)
        assert stored["part_names"].tolist() == list(TOOL.parts)
        assert str(stored["category"]) == "Tool"


def test_ply_has_the_parts_colours(cloud):
    read = trimesh.load(io.BytesIO(FILE_FORMATS["ply"](cloud)), file_type="ply")
    np.testing.assert_array_equal(np.asarray(read.vertices, np.float32), cloud.points)
    blue, grey, orange = [tuple(colour[:3]) for colour in read.colors]
    assert blue == (0x00, 0x72, 0xB2) and orange == (0xE6, 0x9F, 0x00)
    assert len(set(grey)) == 1


def test_png_is_a_picture(cloud):
    picture = imread(io.BytesIO(FILE_FORMATS["png"](cloud)), "png")
    assert picture.shape == (640, 960, 4)
    assert (picture[..., 3] > 0).any()


@pytest.mark.parametrize("form", FILE_FORMATS)
def test_the_same_cloud_is_the_same_file(form, cloud):
    assert FILE_FORMATS[form](cloud) == FILE_FORMATS[form](cloud)


def test_a_cloud_holds_an_answer_for_every_point():
    points = np.zeros((3, 3), np.float32)
    with pytest.raises(ValueError, match="3 points, but parts"):
        SegmentedCloud("x", points, np.zeros(2, np.int64), np.zeros((3, 2)), TOOL)
    with pytest.raises(ValueError, match="expected \\[n, 3\\]"):
        SegmentedCloud("x", points[:, :2], np.zeros(3, np.int64), np.zeros((3, 2)), TOOL)


def test_parts_come_from_the_model(one_folder):
    (category,) = read_parts(one_folder / "assets" / "parts.json")
    assert category.parts == ("body", "fin", "nose")
    assert numbered_parts(2, None).parts == ("part 0", "part 1")
    assert numbered_parts(2, 3).name == "category 3"


@pytest.mark.parametrize("content", ["", "[]", '{"categories": []}', '{"categories": [{}]}', "{"])
def test_parts_that_are_none_are_refused(content, tmp_path):
    path = tmp_path / "parts.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"parts\.json"):
        read_parts(path)
    with pytest.raises(UserError, match="No such file"):
        read_parts(tmp_path / "none.json")
