import io

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.convert import convert
from preprocessing.examples import from_example
from preprocessing.settings import DataSettings
from preprocessing.tfrecord import read_records
from schema.categories import Category
from schema.labelled_cloud_files import file_stem, labels_file, ply_file

TOOL = Category("Tool", "Tool", ("head", "handle"))
BLUE, ORANGE, GREY = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0x99, 0x99, 0x99)


def test_labels_are_an_integer_a_line():
    assert labels_file(np.array([0, 2, -1])) == b"0\n2\n-1\n"
    assert labels_file(np.array([], np.int64)) == b""


def test_an_independent_reader_finds_points_colours_and_labels():
    points = np.array([[0.1, -2, 3e8], [1, 1e-30, 1], [5, 6, 7], [8, 9, 1]], np.float32)
    parts = np.array([0, 1, -1, 7])
    cloud = trimesh.load(io.BytesIO(ply_file(points, parts, TOOL)), file_type="ply")
    np.testing.assert_array_equal(np.asarray(cloud.vertices, np.float32), points)
    assert [tuple(colour[:3]) for colour in cloud.colors] == [BLUE, ORANGE, GREY, GREY]
    vertex = cloud.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(vertex["label"].reshape(-1), parts)


def test_the_header_names_the_parts_and_stays_one_line_a_name():
    odd = Category("Tool\nend_header", "Tool", ("hëad\nelement vertex 9", "handle"))
    header = ply_file(np.zeros((1, 3)), np.zeros(1, int), odd).split(b"end_header\n")[0]
    lines = header.decode("ascii").splitlines()
    assert 'comment label 1 "handle" #E69F00' in lines
    assert [line for line in lines if line.startswith("element")] == ["element vertex 1"]


def test_parts_that_do_not_fit_the_points_are_refused():
    with pytest.raises(ValueError, match="expected"):
        ply_file(np.zeros((3, 3)), np.zeros(2, int), TOOL)


@pytest.mark.parametrize("kind", ["ply", "labels"])
def test_conversion_reads_the_files_back(tmp_path, kind):
    rng = np.random.default_rng(0)
    clouds = {}
    folder = tmp_path / "source" / "Tool"
    folder.mkdir(parents=True)
    (folder.parent / "clouds.yaml").write_text("categories:\n  Tool: [head, handle]\n")
    for number in range(4):
        points = rng.normal(size=(50, 3)).astype(np.float32)
        parts = rng.integers(-1, 2, 50)
        clouds[f"tool{number}"] = points, parts
        stem = folder / file_stem(f"tool{number}")
        if kind == "ply":
            stem.with_suffix(".ply").write_bytes(ply_file(points, parts, TOOL))
        else:
            np.save(stem.with_suffix(".npy"), points)
            stem.with_suffix(".labels").write_bytes(labels_file(parts))
    convert(str(folder.parent), str(tmp_path / "out"), DataSettings(category="Tool"))
    read = [
        from_example(example)
        for file in (tmp_path / "out").glob("*/*.gz")
        for example in read_records(io.BytesIO(file.read_bytes()), file.name)
    ]
    assert sorted(record.shape_id for record in read) == sorted(clouds)
    for record in read:
        points, parts = clouds[record.shape_id]
        np.testing.assert_array_equal(record.points, points)
        np.testing.assert_array_equal(record.labels, parts)


def test_plain_ids_keep_their_name():
    assert file_stem("1a04e3eab45ca15dd86060f189eb133") == "1a04e3eab45ca15dd86060f189eb133"
    assert file_stem("airplane_00007.v2") == "airplane_00007.v2"


@pytest.mark.parametrize(
    ("shape_id", "stem"),
    [
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("/root", "%2Froot"),
        ("..", "%2E."),
        ("", "%"),
        ("-rf", "%2Drf"),
        ("Chair/stool", "Chair%2Fstool"),
        ("a\0\n\\b", "a%00%0A%5Cb"),
    ],
)
def test_hostile_ids_stay_in_their_folder(shape_id, stem):
    assert file_stem(shape_id) == stem


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_different_ids_have_different_names_that_any_file_system_takes(ids):
    stems = [file_stem(shape_id) for shape_id in ids]
    assert stems[0] != stems[1]
    for stem in stems:
        assert stem.isascii() and stem.isprintable()
        assert not set(stem) & set("/\\ \0") and stem[0] not in ".-"


def test_a_very_long_id_is_cut_and_stays_its_own():
    first, second = file_stem("ä" * 4000 + "1"), file_stem("ä" * 4000 + "2")
    assert first != second
    assert len(first) == len(second) == 200
