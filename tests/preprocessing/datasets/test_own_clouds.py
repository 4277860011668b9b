"""One's own clouds: every format the same cloud, every mistake one clear error."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from preprocessing.datasets.clouds_yaml import CLOUDS, parse_clouds
from preprocessing.datasets.files import Files
from schema.errors import UserError

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "own_clouds.md"
POINTS = np.array([[0.25, -1.5, 3.0], [0.1, 0.2, 0.3], [7, 8, 9.5]], np.float32)
CHAIR = "categories:\n  Chair: [back, seat]\n"
TWO = "categories:\n  Chair: [back, seat]\n  Table: [top, leg]\n"


def rows(*labels):
    """A table without a header of points with these labels."""
    return "".join(f"0.5 {i} 1.5 {label}\n" for i, label in enumerate(labels))


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture
def source(tmp_path, write):
    """Writes a data set, file by file; its root is `source.root`."""

    class Source:
        root = tmp_path / "source"

        def write(self, place, content):
            write(self.root / place, content)

    source = Source()
    source.write(CLOUDS, CHAIR)
    return source


def test_every_format_gives_the_same_cloud(source, cloud_forms, load):
    for name, content in cloud_forms.items():
        stem, ending = name.replace(".", "_"), name.split(".")[-1]
        source.write(f"Chair/{stem}.{ending}", content(POINTS, np.array([1, -1, 0])))
        source.write(f"Chair/{stem}_beside.{ending}", content(POINTS, None))
        source.write(f"Chair/{stem}_beside.labels", "1\n-1\n0\n")
    data = load(source.root)
    assert len(data.clouds) == 2 * len(cloud_forms)
    for name, cloud in data.clouds.items():
        assert cloud.category == "Chair"
        np.testing.assert_array_equal(cloud.points, POINTS, err_msg=name)
        assert cloud.labels.tolist() == [1, -1, 0], name
        assert cloud.labels.dtype == np.int64


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
    assert load(source.root).labels("a") == expected


@pytest.mark.parametrize(
    ("how", "parts", "labels"),
    [
        ("auto", ("back", "seat"), [1, -1]),
        ("ignore", ("back", "seat"), [1, -1]),
        ("part", ("back", "seat", "none"), [1, 2]),
    ],
)
def test_unannotated_points_may_be_a_part(source, load, how, parts, labels):
    source.write("Chair/a.pts", rows(1, -1))
    data = load(source.root, unannotated=how)
    assert data.reader.categories["Chair"].parts == parts
    assert data.labels("a") == labels


def test_files_of_a_single_category_need_no_folder(source, load):
    source.write("a.pts", rows(0))
    source.write("Chair/b.pts", rows(1))
    source.write("README.txt", "These are chairs.\n")
    data = load(source.root)
    assert sorted(data.clouds) == ["a", "b"]
    assert data.findings == []


def test_split_folders_are_the_official_split(source, load, refusal):
    source.write(CLOUDS, TWO)
    source.write("train/Chair/a.pts", rows(0))
    source.write("val/Chair/b.pts", rows(0))
    source.write("test/Table/a.pts", rows(0))
    shapes = load(source.root).listing.shapes
    # An id is unique within its category.
    assert [(s.category, s.name, s.split) for s in shapes] == [
        ("Chair", "a", "train"),
        ("Chair", "b", "val"),
        ("Table", "a", "test"),
    ]
    source.write("Chair/d.pts", rows(0))
    error = refusal(source.root)
    assert (error.code, error.file) == ("mixed_splits", "Chair/d.pts")


def test_what_is_not_read_is_reported(source, load):
    source.write(CLOUDS, TWO)
    for place in ("Chair/a.pts", "Chair/lost.seg", "stray.ply", "tables/b.pts"):
        source.write(place, rows(0))
    for place in ("Chair/a.jpg", "Chair/a.label", "LICENSE"):
        source.write(place, "")
    data = load(source.root)
    assert [(f.code, f.file, f.left_out) for f in data.findings] == [
        ("unknown_ending", "Chair/a.jpg", False),
        ("no_category_folder", "stray.ply", False),
        ("unknown_folder", "tables", False),
        ("labels_without_points", "Chair/lost.seg", False),
        ("no_shapes", "Table", False),
    ]
    assert "2 files" in data.findings[0].message
    assert "Chair, Table" in data.findings[2].message


def test_unknown_names_of_labels_are_reported(source, load):
    source.write("Chair/a.csv", "x,y,z,nx,segment_id\n0,0,0,1,0\n")
    source.write("Chair/b.csv", "x,y,z,other\n0,0,0,1\n")
    source.write("Chair/c.pts", "0 0 0\n")
    source.write("Chair/d.txt", "x y z nx ny nz\n0 0 0 1 0 0\n")
    data = load(source.root)
    found = {f.file: f.message for f in data.findings}
    assert data.codes == ["no_labels"] * 3
    assert "2 clouds" in found["Chair/a.csv"]
    assert "x, y, z, nx, segment_id" in found["Chair/a.csv"]
    assert "1 cloud" in found["Chair/c.pts"]
    assert "nx, ny, nz" in found["Chair/d.txt"]


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


def test_what_cannot_be_listed_is_not_without_labels(source, load):
    source.write("Chair/a.npy", npy(np.zeros((5, 7))))
    source.write("Chair/b.pts", "0 0 0 1 1 1 1\n")
    source.write("Chair/c.pts", rows(0))
    data = load(source.root)
    for name in "ab":
        assert isinstance(data.clouds[name], UserError)
        assert data.clouds[name].code != "no_labels"
    assert "no_labels" not in data.codes


@pytest.mark.parametrize(
    ("yaml", "labels", "code", "line"),
    [
        ("", (1, 2, -1), "label_past_last", 2),
        ("", (2, 2), "label_past_last", 1),
        ("first_label: 1\n", (2, 3, 0, -1), "unknown_label", 2),
        ("first_label: 1\n", (2, 3, -1), "label_past_last", 2),
        ("", (1, 3, 2), "unknown_label", 2),
        ("", (0, 1, 2), "unknown_label", 3),
        ("unlabelled: 2\n", (1, 2, 3), "unknown_label", 3),
        ("unlabelled: 0\nfirst_label: 1\n", (1, 2, "nan"), "unknown_label", 3),
        ("", ("seat", "back", "sea"), "unknown_label", 3),
    ],
)
def test_labels_outside_the_parts(source, load, yaml, labels, code, line):
    source.write(CLOUDS, CHAIR + yaml)
    source.write("a.csv", "x y z label\n" + rows(*labels))
    error = load(source.root).clouds["a"]
    assert (error.code, error.file, error.line) == (code, "a.csv", line + 1)
    assert ("first_label: " in error.message) is (code == "label_past_last")
    assert (".nan" in error.message) is ("nan" in labels)


@pytest.mark.parametrize("size", [2, 256])
def test_parts_up_to_the_limit(source, load, size):
    source.write(CLOUDS, f"categories:\n  Chair: [{', '.join(f'p{i}' for i in range(size))}]\n")
    source.write("a.pts", rows(size - 1, 0))
    assert load(source.root).labels("a") == [size - 1, 0]


@pytest.mark.parametrize(
    ("files", "code", "place", "line"),
    [
        ({"Chair/a.ply": "", "Chair/a.csv": ""}, "duplicate_id", "Chair/a.ply", 0),
        ({"train/a.csv": "", "test/a.csv": ""}, "duplicate_id", "test/a.csv", 0),
        ({"Chair/a.PLY": "", "a.ply": ""}, "duplicate_id", "a.ply", 0),
        ({"Chair/new/a.ply": ""}, "too_deep", "Chair/new", 0),
        ({"Chair/train/a.ply": ""}, "too_deep", "Chair/train", 0),
        ({"a.pts": "0 0 0\n", "a.seg": "0\n", "a.labels": "0\n"}, "two_labels", "a.pts", 0),
        ({"chair/a.pts": "0 0 0\n"}, "no_shapes", "", 0),
        ({"Train/a.pts": "0 0 0\n"}, "no_shapes", "", 0),
        ({}, "no_shapes", "", 0),
    ],
)
def test_what_stops_the_listing(source, refusal, files, code, place, line):
    for name, content in files.items():
        source.write(name, content)
    error = refusal(source.root)
    assert (error.code, error.file, error.line) == (code, place, line)
    for name in [name.split("/")[0] for name in files if code == "no_shapes"]:
        assert f"{name}: 1 folder" in error.message


@pytest.mark.parametrize(
    ("files", "code", "place", "line"),
    [
        ({"a.pts": rows(1), "a.seg": "0\n"}, "two_labels", "a.pts", 0),
        ({"a.pts": "0 0 0\n", "a.seg": "0\n1\n"}, "count_mismatch", "a.seg", 2),
        ({"a.pts": "0 0 0\n", "a.seg": "x\n"}, "not_a_label", "a.seg", 1),
        ({"a.pts": "0 0 0\n", "a.seg": "5\n"}, "unknown_label", "a.seg", 1),
        ({"a.csv": "x,y,z,part\n0,0,0,seat\n0,0,0,back\n0,0,0,1\n"}, "unknown_label", "a.csv", 4),
        ({"a.pts": "0 0 0.5 0\n0 0 nan 0\n"}, "not_finite", "a.pts", 2),
        ({"a.npy": "x"}, "not_npy", "a.npy", 0),
    ],
)
def test_what_leaves_out_one_cloud(source, load, files, code, place, line):
    for name, content in files.items():
        source.write(name, content)
    source.write("good.pts", rows(0, 1))
    data = load(source.root)
    error = data.clouds["a"]
    assert (error.code, error.file, error.line) == (code, place, line)
    assert data.labels("good") == [0, 1]


def test_a_folder_in_decomposed_unicode_is_its_category(source, load):
    source.write(CLOUDS, "categories:\n  St\u00fchle: [back]\n  T: [top]\n")
    source.write("Stu\u0308hle/a.pts", rows(0))
    source.write("Stu\u0308hle/b.pts", "0 0 0\n")
    source.write("Stu\u0308hle/b.labels", "0\n")
    data = load(source.root, "ST\u00dcHLE")
    assert (data.labels("a"), data.labels("b"), data.findings) == ([0], [0], [])
    # The same where clouds.yaml is decomposed.
    source.write(CLOUDS, "categories:\n  Stu\u0308hle: [back]\n  T: [top]\n")
    assert list(load(source.root).reader.categories) == ["St\u00fchle", "T"]


@pytest.mark.parametrize(
    ("yaml", "line", "fact"),
    [
        ("", 0, "None"),
        ("categories: [", 1, ""),
        ("- Chair\n", 0, "Chair"),
        ("parts: [a]\n", 0, "unknown key parts"),
        ("categories: {}\n", 0, "{}"),
        ("categories:\n  Chair: back\n", 0, "'back'"),
        ("categories:\n  Chair: [on, off]\n", 0, "True"),
        ("categories:\n  Chair: [a]\n  Chair: [b]\n", 3, "'Chair'"),
        (CHAIR + "unlabelled: 1\n" + CHAIR, 4, "'categories'"),
        ("categories:\n  Chair: ['1']\n", 0, "'1'"),
        ("categories:\n  Chair: [nan]\n", 0, "'nan'"),
        ("categories:\n  ../x: [a]\n", 0, "../x"),
        ("categories:\n  train: [a]\n", 0, "train"),
        (CHAIR + "unlabelled: [1]\n", 0, "seat"),
        (CHAIR + "unlabelled: ['1']\n", 0, "seat"),
        (CHAIR + "unlabelled: [seat]\n", 0, "seat"),
        (CHAIR + "unlabelled: [0.5]\n", 0, "0.5"),
        (CHAIR + "unlabelled: [.inf]\n", 0, "inf"),
        (CHAIR + "first_label: one\n", 0, "'one'"),
        (CHAIR + "first_label: 99999999999\n", 0, "99999999999"),
        (CHAIR + "lables: x\n", 0, "unknown key lables"),
        ("a: 2001-99-99\n", 0, ""),
        ("[" * 2000, 0, ""),
        (b"\xff\xfe", 1, "0xff"),
    ],
)
def test_a_wrong_clouds_yaml_is_one_clear_error(source, refusal, yaml, line, fact):
    source.write(CLOUDS, yaml)
    error = refusal(source.root)
    assert (error.code, error.file, error.line) == ("bad_clouds_yaml", CLOUDS, line)
    assert fact in error.message


@pytest.mark.parametrize(
    ("parts", "fact"),
    [
        ("", "0 parts"),
        ("back, back", "'back'"),
        (", ".join(f"p{i}" for i in range(257)), "257 parts"),
    ],
)
def test_wrong_parts(source, refusal, parts, fact):
    source.write(CLOUDS, f"categories:\n  Chair: [{parts}]\n")
    error = refusal(source.root)
    assert (error.code, error.file) == ("bad_category", CLOUDS)
    assert fact in error.message


YAML_WORDS = """
categories Chair unlabelled - [ ] { } , a *x &x !!python/object:os.system !!set 1 2001-01-01 " ? <<
0x 1e400 .nan .inf é | > --- %TAG
"""
YAML_LIKE = st.lists(
    st.sampled_from([*YAML_WORDS.split(), ": ", "\n", "  ", "\t", "\0"]), max_size=25
).map("".join)


@given(YAML_LIKE | st.binary(max_size=30).map(lambda b: b.decode("latin-1")))
@hypothesis_settings(max_examples=200)
def test_any_text_is_read_or_refused(text):
    for content in (text, CHAIR + text):
        try:
            clouds = parse_clouds(content.encode())
        except UserError as error:
            assert (error.code, error.file) == ("bad_clouds_yaml", CLOUDS)
        else:
            assert clouds.categories


def test_zip_gives_what_the_folder_gives(source, cloud_forms, tmp_path, load):
    forms = ["little.ply", "packed.npz", "blanks.pts", "quoted.csv", "float64.npy"]
    for split, form in zip(["train", "train", "train", "val", "test"], forms, strict=True):
        source.write(f"{split}/Chair/{form}", cloud_forms[form](POINTS, np.array([1, -1, 0])))
    source.write("train/Chair/bare.pts", "0 0 0\n")
    # A folder within the archive, as most programs pack.
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "source")
    folder, zipped = load(source.root), load(archive)
    assert folder.listing.shapes == zipped.listing.shapes
    assert folder.findings == zipped.findings
    assert folder.clouds.keys() == zipped.clouds.keys()
    for name, cloud in folder.clouds.items():
        np.testing.assert_array_equal(cloud.points, zipped.clouds[name].points)
        np.testing.assert_array_equal(cloud.labels, zipped.clouds[name].labels)


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
