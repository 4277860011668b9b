import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings

LAMP = {"Lamp": {"directory": "03636649", "lables": ["canopy", "lampshade", "base"]}}
PLANE = {"Airplane": {"directory": "02691156", "lables": ["wing", "body", "tail", "engine"]}}


def test_reads_points_and_labels(planes, load):
    planes.points("a", "0 1 2\n3 4 5\n6 7 8\n9 10 11\n")
    planes.part("a", "body", "1\n0\n0\n0\n")
    planes.part("a", "tail", "0\n1\n0\n1\n")
    planes.points("unlabelled", "0 0 0\n1 1 1\n")
    data = load(planes.root)
    cloud = data.clouds["a"]
    assert (cloud.shape_id, cloud.category) == ("a", "Airplane")
    np.testing.assert_array_equal(cloud.points, np.arange(12).reshape(4, 3))
    # The part wing is absent; the third point is in no part.
    assert data.labels("a") == [0, 2, -1, 2]
    assert cloud.labels.dtype == np.int64
    assert data.clouds["unlabelled"].labels is None
    assert [shape.annotations for shape in data.listing.shapes] == [("body", "tail"), ()]
    assert not data.findings


def test_key_of_parts_may_be_labels(planes, load):
    planes.write_metadata({"Airplane": {"directory": "planes", "labels": ["body", "wing"]}})
    planes.shape("a")
    assert load(planes.root).labels("a") == [0, 0, 0, 1, 1, 1]


def test_known_folder_takes_the_tables_order_of_parts(part_annotation_folder, tmp_path, load):
    folder = part_annotation_folder(tmp_path / "s", PLANE)
    folder.points("a", "0 0 0\n1 1 1\n", "02691156")
    folder.part("a", "wing", "0\n1\n", "02691156")
    folder.part("a", "body", "1\n0\n", "02691156")
    data = load(folder.root)
    assert data.labels("a") == [0, 1]
    assert data.reader.categories["Airplane"].parts == ("body", "wing", "tail", "engine")


@pytest.mark.parametrize(
    ("unannotated", "parts", "by_part", "verified"),
    [
        ("auto", ("base", "lampshade", "canopy", "tube"), [0, 3, 3], [3, 0, 3]),
        ("part", ("base", "lampshade", "canopy", "tube"), [0, 3, 3], [3, 0, 3]),
        ("ignore", ("base", "lampshade", "canopy"), [0, -1, -1], [-1, 0, -1]),
    ],
)
def test_rest_part_of_lamp(
    part_annotation_folder, tmp_path, load, unannotated, parts, by_part, verified
):
    folder = part_annotation_folder(tmp_path / "s", LAMP)
    for name in "ab":
        folder.points(name, "0 0 0\n1 1 1\n2 2 2\n", "03636649")
    folder.part("a", "base", "1\n0\n0\n", "03636649")
    folder.verified("b", "0\n1\n4\n", "03636649")
    data = load(folder.root, unannotated=unannotated)
    assert data.reader.categories["Lamp"].parts == parts
    assert (data.labels("a"), data.labels("b")) == (by_part, verified)


def test_part_named_none_where_the_table_has_no_rest(planes, load):
    planes.points("a", "0 0 0\n1 1 1\n")
    planes.part("a", "wing", "0\n1\n")
    data = load(planes.root, unannotated="part")
    assert data.reader.categories["Airplane"].parts == ("body", "wing", "tail", "none")
    assert data.labels("a") == [3, 1]


def test_verified_labels_are_preferred(part_annotation_folder, tmp_path, load):
    folder = part_annotation_folder(tmp_path / "s", PLANE)
    folder.points("a", "0 0 0\n1 1 1\n2 2 2\n", "02691156")
    folder.part("a", "wing", "1\n1\n1\n", "02691156")
    folder.verified("a", "0\n1\n4\n", "02691156")
    # Counted from 1 in the benchmark's order.
    assert load(folder.root).labels("a") == [-1, 0, 3]
    assert load(folder.root, labels="raw").labels("a") == [1, 1, 1]


def test_contested_points_are_left_unannotated_with_a_finding(planes, load):
    planes.points("a", "0 0 0\n1 1 1\n2 2 2\n")
    planes.part("a", "body", "1\n1\n0\n")
    planes.part("a", "wing", "0\n1\n1\n")
    data = load(planes.root)
    assert data.labels("a") == [0, -1, 1]
    (finding,) = data.findings
    assert (finding.code, finding.shape, finding.line) == ("overlapping_parts", "a", 2)
    assert "1 of 3 points" in finding.message
    assert not finding.left_out


@pytest.mark.parametrize(
    ("labels", "code", "line"),
    [
        ("1\n0\n", "count_mismatch", 3),
        ("1\n0\n0\n0\n", "count_mismatch", 4),
        ("", "empty_file", 0),
        ("1\n0\nx\n", "not_a_label", 3),
        ("1\n2\n0\n", "not_a_mask", 2),
        ("1\n-1\n0\n", "not_a_mask", 2),
    ],
)
def test_bad_label_file_excludes_the_shape(planes, load, labels, code, line):
    planes.points("a", "0 0 0\n1 1 1\n2 2 2\n")
    planes.part("a", "body", labels)
    error = load(planes.root).clouds["a"]
    assert (error.code, error.line) == (code, line)
    assert error.file == "planes/points_label/body/a.seg"


@pytest.mark.parametrize("label", ["5", "-1"])
def test_verified_label_outside_the_parts(part_annotation_folder, tmp_path, load, label):
    folder = part_annotation_folder(tmp_path / "s", PLANE)
    folder.points("a", "0 0 0\n1 1 1\n", "02691156")
    folder.verified("a", f"1\n{label}\n", "02691156")
    error = load(folder.root).clouds["a"]
    place = "02691156/expert_verified/points_label/a.seg"
    assert (error.code, error.file, error.line) == ("unknown_label", place, 2)
    assert f"label {label}, expected 0 to 4" in error.message


def test_what_is_not_read_is_reported(planes, load):
    planes.write_metadata(
        {
            "Airplane": {"directory": "planes", "lables": ["body", "wing", "tail"]},
            "Boat": {"directory": "boats", "lables": ["hull"]},
        }
    )
    planes.shape("a")
    planes.part("a", "wings", "1\n" * 6)
    planes.part("b", "body", "1\n")
    data = load(planes.root)
    assert [(f.code, f.file, f.category) for f in data.findings] == [
        ("unknown_part", "planes/points_label/wings", "Airplane"),
        ("labels_without_points", "planes/points_label", "Airplane"),
        ("no_shapes", "boats", "Boat"),
    ]


def test_no_shapes_at_all(planes, refusal):
    planes.part("b", "body", "1\n")
    error = refusal(planes.root)
    assert error.code == "no_shapes"
    assert "planes/points_label" in error.message


@pytest.mark.parametrize(
    ("text", "code", "line", "fact"),
    [
        ("{\n", "bad_metadata", 2, "JSON"),
        ("[]", "bad_metadata", 0, "[]"),
        ("{}", "bad_metadata", 0, "{}"),
        ('{"A": 3}', "bad_metadata", 0, "A"),
        ('{"A": {"directory": "x"}}', "bad_metadata", 0, "A.lables"),
        ('{"A": {"directory": "x", "lables": ["../a"]}}', "bad_metadata", 0, "../a"),
        ('{"A": {"lables": ["a"]}}', "bad_metadata", 0, "A.directory"),
        ('{"A": {"directory": "../x", "lables": ["a"]}}', "bad_metadata", 0, "../x"),
        ('{"A": {}, "A": {}}', "bad_metadata", 0, "'A'"),
        (b"\xff\xfe", "bad_metadata", 1, "0xff"),
        ('{"A": {"directory": "x", "lables": []}}', "bad_category", 0, "0 parts"),
        ('{"A": {"directory": "x", "lables": ["a", "a"]}}', "bad_category", 0, "'a'"),
        (
            str({"A": {"directory": "x", "lables": [f"p{i}" for i in range(257)]}}).replace(
                "'", '"'
            ),
            "bad_category",
            0,
            "257 parts",
        ),
    ],
)
def test_bad_metadata(planes, write, refusal, text, code, line, fact):
    write(planes.root / "metadata.json", text)
    error = refusal(planes.root)
    assert (error.code, error.file, error.line) == (code, "metadata.json", line)
    assert fact in error.message


def test_256_parts(part_annotation_folder, tmp_path, load):
    parts = [f"p{i}" for i in range(256)]
    folder = part_annotation_folder(tmp_path / "s", {"A": {"directory": "x", "lables": parts}})
    folder.points("a", "0 0 0\n1 1 1\n", "x")
    folder.part("a", "p255", "0\n1\n", "x")
    assert load(folder.root).labels("a") == [-1, 255]


def test_folder_and_part_in_decomposed_unicode(part_annotation_folder, tmp_path, load):
    metadata = {"St\u00fchle": {"directory": "st\u00fchle", "lables": ["f\u00fc\u00dfe"]}}
    folder = part_annotation_folder(tmp_path / "s", metadata)
    folder.points("a", "0 0 0\n1 1 1\n", "stu\u0308hle")
    folder.part("a", "fu\u0308\u00dfe", "0\n1\n", "stu\u0308hle")
    data = load(folder.root)
    assert data.labels("a") == [-1, 0]
    assert not data.findings


@pytest.mark.parametrize("top", ["", "PartAnnotation/"])
def test_zip_gives_what_the_folder_gives(planes, tmp_path, load, top):
    planes.shape("a", 6)
    planes.shape("b", 9)
    planes.points("c", "0 0\n")
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(planes.root.rglob("*")):
            file.write(path, top + path.relative_to(planes.root).as_posix())
        file.writestr("__MACOSX/._metadata.json", b"\0")
    folder, zipped = load(planes.root), load(archive)
    for data in (folder, zipped):
        error = data.clouds.pop("c")
        # Relative to the data set, also below a folder of the archive.
        assert (error.code, error.file) == ("wrong_columns", "planes/points/c.pts")
    assert folder.clouds.keys() == zipped.clouds.keys() == {"a", "b"}
    for name, cloud in folder.clouds.items():
        np.testing.assert_array_equal(cloud.points, zipped.clouds[name].points)
        np.testing.assert_array_equal(cloud.labels, zipped.clouds[name].labels)


def test_folder_above_the_data_set_is_found(planes, tmp_path, load):
    planes.shape("a")
    shutil.move(planes.root, tmp_path / "above" / "PartAnnotation")
    assert load(tmp_path / "above").clouds.keys() == {"a"}


def test_listing_reads_nothing_and_its_stamp_changes_with_the_files(planes, monkeypatch):
    planes.shape("a")
    reader = open_reader(str(planes.root), DataSettings())
    with monkeypatch.context() as patch:
        patch.setattr("os.open", lambda *_: pytest.fail("read a file"))
        listing = reader.list_shapes(["Airplane"])
        assert reader.list_shapes(["Airplane"]).stamp == listing.stamp
    files = [p for p in Path(planes.root, "planes").rglob("*") if p.is_file()]
    assert listing.shapes[0].size == sum(p.stat().st_size for p in files)
    planes.part("a", "tail", "0\n" * 6)
    assert reader.list_shapes(["Airplane"]).stamp != listing.stamp


def test_real_part_annotation(real_data, load):
    data = load(real_data / "PartAnnotation")
    assert len(data.clouds) == 120
    assert not data.findings
    clouds = data.clouds.values()
    assert all(cloud.labels.shape == (len(cloud.points),) for cloud in clouds)
    assert sum(c.category == "Airplane" and (c.labels == 3).any() for c in clouds) == 3
    first = real_data / "PartAnnotation" / "90000000" / "points" / "airplane_61.pts"
    np.testing.assert_array_equal(data.clouds["airplane_61"].points, np.loadtxt(first))
