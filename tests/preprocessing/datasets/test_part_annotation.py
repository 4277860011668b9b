import json
from pathlib import Path

import numpy as np
import pytest

from preprocessing.datasets.files import Files
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings

LAMP = {"Lamp": {"directory": "03636649", "lables": ["canopy", "lampshade", "base"]}}
PLANE = {"Airplane": {"directory": "02691156", "lables": ["wing", "body", "tail", "engine"]}}


def test_reads_points_and_labels(planes, load):
    planes.points("a", "0 1 2\n3 4 5\n6 7 8\n9 10 11\n")
    planes.part("a", "body", "1\n0\n0\n0\n")
    planes.part("a", "tail", "0\n1\n0\n1\n")
    # The key may be spelled so, too.
    metadata = (planes.root / "metadata.json").read_text()
    planes.write("metadata.json", metadata.replace("lables", "labels"))
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


def test_verified_labels_are_preferred(part_annotation_folder, tmp_path, load):
    folder = part_annotation_folder(tmp_path / "s", PLANE)
    folder.points("a", "0 0 0\n1 1 1\n2 2 2\n", "02691156")
    folder.part("a", "wing", "1\n0\n1\n", "02691156")
    folder.verified("a", "0\n1\n4\n", "02691156")
    # Counted from 1 in the benchmark's order, which is the table's.
    data = load(folder.root)
    assert data.reader.categories["Airplane"].parts == ("body", "wing", "tail", "engine")
    assert data.labels("a") == [-1, 0, 3]
    assert load(folder.root, labels="raw").labels("a") == [1, -1, 1]
    assert load(folder.root, labels="raw", unannotated="part").labels("a") == [1, 4, 1]


def metadata(*parts):
    return json.dumps({"A": {"directory": "x", "lables": parts}})


STUHLE = '{"St\u00fchle": {"directory": "x", "lables": ["a"]}, '


@pytest.mark.parametrize(
    ("text", "code", "fact"),
    [
        ("{}", "bad_metadata", "{}"),
        ('{"A": {"directory": "x"}}', "bad_metadata", "A.lables"),
        ('{"A": {"lables": ["a"]}}', "bad_metadata", "A.directory"),
        (metadata("a/b"), "bad_metadata", "a/b"),
        (STUHLE + STUHLE[1:].replace("\u00fc", "u\\u0308")[:-2] + "}", "bad_metadata", "same"),
        (metadata(), "bad_category", "0 parts"),
        (metadata("\u00fc", "u\u0308"), "bad_category", "\u00fc"),
    ],
)
def test_bad_metadata(planes, write, refusal, text, code, fact):
    write(planes.root / "metadata.json", text)
    error = refusal(planes.root)
    assert (error.code, error.file, error.line) == (code, "metadata.json", 0)
    assert fact in error.message


def test_folder_and_part_in_decomposed_unicode(part_annotation_folder, tmp_path, load):
    metadata = {"St\u00fchle": {"directory": "st\u00fchle", "lables": ["f\u00fc\u00dfe"]}}
    folder = part_annotation_folder(tmp_path / "s", metadata)
    folder.points("a", "0 0 0\n1 1 1\n", "stu\u0308hle")
    folder.part("a", "fu\u0308\u00dfe", "0\n1\n", "stu\u0308hle")
    data = load(folder.root)
    assert data.labels("a") == [-1, 0]
    assert not data.findings


def test_listing_reads_nothing_and_its_stamp_changes_with_the_files(planes, monkeypatch):
    planes.shape("a")
    reader = open_reader(str(planes.root), DataSettings())
    monkeypatch.setattr(Files, "read", lambda *_: pytest.fail("read a file"))
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
