"""One's own clouds: every mistake is one clear error."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from preprocessing.datasets.clouds_yaml import CLOUDS, parse_clouds
from preprocessing.datasets.files import Files

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "own_clouds.md"
CHAIR = "categories:\n  Chair: [back, seat]\n"
TWO = "categories:\n  Chair: [back, seat]\n  Table: [top, leg]\n"


def rows(*labels):
    """A table without a header of points with these labels."""
    return "".join(f"0.5 {i} 1.5 {label}\n" for i, label in enumerate(labels))


@pytest.fixture
def source(tmp_path, write):
    """Writes a data set, file by file; its root is `source.root`."""
    root = tmp_path / "source"
    write(root / CLOUDS, CHAIR)
    return SimpleNamespace(root=root, write=lambda place, content: write(root / place, content))


@pytest.mark.parametrize(
    ("yaml", "content", "expected"),
    [
        ("first_label: 1\nunlabelled: 0\n", rows(1, 2, 0), [0, 1, -1]),
        ("unlabelled: [-1, 255]\n", rows(255, -1, 1), [-1, -1, 1]),
        ('unlabelled: "255"\n', rows(255, 1, 0), [-1, 1, 0]),
        ("unlabelled: 255.0\n", rows(255, 1, 0), [-1, 1, 0]),
        ("first_label: -5\n", rows(-5, -4, -1), [0, 1, -1]),
        ("unlabelled: [.nan]\n", rows("nan", 1, 0, 0), [-1, 1, 0, 0]),
        ("unlabelled: [.nan]\n", "x,y,z,label\n1,2,3,\n0,0,0.5,1.0\n0,0,1,0.0\n", [-1, 1, 0]),
        ("", "x y z label\n0 0 0 seat\n0 0 0 back\n0 0 0 -1\n", [1, 0, -1]),
        ('unlabelled: ["", none]\n', "x,y,z,part\n0,0,0,\n0,0,0,none\n0,0,0,seat\n", [-1, -1, 1]),
        ("label: mine\n", "x,y,z,label,mine\n0,0,0,9,1\n", [1]),
    ],
)
def test_labels_are_counted_as_clouds_yaml_states(source, load, yaml, content, expected):
    source.write(CLOUDS, CHAIR + yaml)
    source.write("Chair/a.csv", content)
    data = load(source.root)
    assert data.reader.categories["Chair"].parts == ("back", "seat")
    assert data.labels("a") == expected
    # Unannotated points as a part of their own.
    data = load(source.root, unannotated="part")
    assert data.reader.categories["Chair"].parts == ("back", "seat", "none")
    assert data.labels("a") == [label if label >= 0 else 2 for label in expected]


def test_files_of_a_single_category_need_no_folder(source, load):
    source.write("a.pts", rows(0))
    source.write("Chair/b.pts", rows(1))
    for name in ("README.txt", "LICENSE", "a.jpg", "b.label", "lost.seg"):
        source.write(name, "These are chairs.\n")
    data = load(source.root)
    assert sorted(data.clouds) == ["a", "b"]
    assert [(f.code, f.file, f.message[:7]) for f in data.findings] == [
        ("unknown_ending", "a.jpg", "2 files"),
        ("labels_without_points", "lost.seg", "1 file "),
    ]


def test_split_folders_are_the_official_split(source, load):
    source.write(CLOUDS, TWO)
    for place in ("train/Chair/a.pts", "val/Chair/b.pts", "test/Table/a.pts"):
        source.write(place, rows(0))
    shapes = load(source.root).listing.shapes
    # An id is unique within its category.
    found = {(s.category, s.name): s.split for s in shapes}
    assert found == {("Chair", "a"): "train", ("Chair", "b"): "val", ("Table", "a"): "test"}


def test_unknown_names_of_labels_are_reported(source, load):
    source.write("Chair/c.pts", "0 0 0\n")
    source.write("Chair/d.csv", "x,y,z,nx,segment_id\n0,0,0,1,0\n")
    (finding,) = load(source.root).findings
    assert (finding.code, finding.file) == ("no_labels", "Chair/d.csv")
    assert "2 clouds" in finding.message
    assert "x, y, z, nx, segment_id" in finding.message


def test_a_file_without_the_label_that_clouds_yaml_names_is_left_out(source, load):
    source.write(CLOUDS, CHAIR + "label: segmnt\n")
    source.write("Chair/a.csv", "x,y,z,segment\n0,0,0,0\n")
    error = load(source.root).clouds["a"]
    assert (error.code, error.file) == ("no_labels", "Chair/a.csv")
    assert "segmnt" in error.message
    assert "x, y, z, segment" in error.message
    # With labels beside it; and a cloud without other columns has no labels of any name.
    source.write("Chair/a.labels", "1\n")
    source.write("Chair/b.pts", "0 0 0\n")
    data = load(source.root)
    assert data.labels("a") == [1]
    assert data.clouds["b"].labels is None


@pytest.mark.parametrize(
    ("yaml", "labels", "code", "line"),
    [
        ("first_label: 1\n", (2, 3, 0, -1), "unknown_label", 2),
        ("first_label: 1\n", (2, 3, -1), "label_past_last", 2),
        ("unlabelled: 2\n", (1, 2, 3), "unknown_label", 3),
        ("unlabelled: 0\nfirst_label: 1\n", (1, 2, "nan"), "unknown_label", 3),
    ],
)
def test_labels_outside_the_parts(source, load, yaml, labels, code, line):
    source.write(CLOUDS, CHAIR + yaml)
    source.write("a.csv", "x y z label\n" + rows(*labels))
    error = load(source.root).clouds["a"]
    assert (error.code, error.file, error.line) == (code, "a.csv", line + 1)
    assert ("first_label: " in error.message) is (code == "label_past_last")
    assert (".nan" in error.message) is ("nan" in labels)


@pytest.mark.parametrize(
    ("files", "code", "place"),
    [
        ({"train/a.csv": "", "test/a.csv": ""}, "duplicate_id", "test/a.csv"),
        ({"chair/a.pts": "0 0 0\n"}, "no_shapes", ""),
        ({}, "no_shapes", ""),
    ],
)
def test_what_stops_the_listing(source, refusal, files, code, place):
    for name, content in files.items():
        source.write(name, content)
    error = refusal(source.root)
    assert (error.code, error.file) == (code, place)
    for name in [name.split("/")[0] for name in files if code == "no_shapes"]:
        assert f"{name}: 1 folder" in error.message


def test_labels_beside_a_cloud(source, load, refusal):
    source.write("a.pts", "0 0 0\n0 0 0\n")
    source.write("a.seg", "0\n5\n")
    source.write("good.pts", rows(0, 1))
    data = load(source.root)
    error = data.clouds["a"]
    assert (error.code, error.file, error.line) == ("unknown_label", "a.seg", 2)
    assert data.labels("good") == [0, 1]
    source.write("a.labels", "0\n1\n")
    error = refusal(source.root)
    assert (error.code, error.file) == ("two_labels", "a.pts")


def test_a_category_in_decomposed_unicode_is_its_folders(source, load):
    source.write(CLOUDS, "categories:\n  Stu\u0308hle: [back]\n  T: [top]\n")
    source.write("Stu\u0308hle/b.pts", "0 0 0\n")
    source.write("Stu\u0308hle/b.labels", "0\n")
    data = load(source.root, "ST\u00dcHLE")
    assert list(data.reader.categories) == ["St\u00fchle", "T"]
    assert (data.labels("b"), data.findings) == ([0], [])


@pytest.mark.parametrize(
    ("yaml", "fact"),
    [
        ("", "None"),
        ("- Chair\n", "Chair"),
        ("categories: {}\n", "{}"),
        ("categories:\n  Chair: [on, off]\n", "True"),
        ("categories:\n  Chair: ['1']\n", "'1'"),
        ("categories:\n  Chair: [nan]\n", "'nan'"),
        ("categories:\n  ../x: [a]\n", "../x"),
        ("categories:\n  train: [a]\n", "train"),
        ("categories:\n  St\u00fchle: [a]\n  Stu\u0308hle: [b]\n", "same"),
        (CHAIR + "unlabelled: [1]\n", "seat"),
        (CHAIR + "unlabelled: [seat]\n", "seat"),
        (CHAIR + "first_label: one\n", "'one'"),
        (CHAIR + "first_label: 99999999999\n", "99999999999"),
    ],
)
def test_a_wrong_clouds_yaml_is_one_clear_error(source, refusal, yaml, fact):
    source.write(CLOUDS, yaml)
    error = refusal(source.root)
    assert (error.code, error.file, error.line) == ("bad_clouds_yaml", CLOUDS, 0)
    assert fact in error.message


def test_listing_reads_the_beginnings_only(source, monkeypatch, load):
    source.write("Chair/a.pts", rows(1) * 20_000)
    read = Files.read
    sizes = []

    def counted(files, name, limit=None):
        content = read(files, name, limit)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(Files, "read", counted)
    reader = load(source.root).reader
    sizes.clear()
    (shape,) = reader.list_shapes(["Chair"]).shapes
    assert shape.annotations
    assert max(sizes) <= 2**16 < shape.size


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)


def test_the_documented_example_is_read(tmp_path, monkeypatch, load):
    (program,) = blocks("python")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, str(DOCUMENT), "exec"), {})
    data = load("my_shapes")
    assert data.findings == []
    assert data.reader.categories["Chair"].parts == ("seat", "leg")
    assert [set(cloud.labels.tolist()) for cloud in data.clouds.values()] == [{0, 1}] * 3


def test_the_documented_yaml_is_read():
    first, second = (parse_clouds(text.encode()) for text in blocks("yaml"))
    assert first.categories == {"Chair": ["back", "seat", "leg", "arm"]}
    assert -1 in second.unlabelled
    assert (second.first_label, second.label) == (1, "segment_id")
