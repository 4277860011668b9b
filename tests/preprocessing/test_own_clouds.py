"""The user's own clouds: every form the same record, every mistake one clear error."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from preprocessing import file_tree
from preprocessing.clouds_yaml import CLOUDS, parse_clouds
from preprocessing.convert import convert
from preprocessing.findings import BadInput
from preprocessing.layouts import open_reader
from preprocessing.settings import DataSettings

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "own_clouds.md"
POINTS = np.array([[0.25, -1.5, 3.0], [0.1, 0.2, 0.3], [7, 8, 9]], np.float32)
LABELS = np.array([1, -1, 0])
CHAIR = "categories:\n  Chair: [back, seat]\n"
TWO = "categories:\n  Chair: [back, seat]\n  Table: [top, leg]\n"


class Clouds:
    """Writes a source, file by file."""

    def __init__(self, root):
        self.root = root
        self.write(CLOUDS, CHAIR)

    def write(self, place, content):
        file = self.root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def reader(self, **settings):
        return open_reader(str(self.root), DataSettings(**settings))

    def records(self, category="Chair", **settings):
        reader = self.reader(**settings)
        shapes = reader.list_shapes([category]).shapes
        return {shape.name: reader.read(shape, []) for shape in shapes}

    def refusal(self, *categories, **settings):
        with pytest.raises(BadInput) as error:
            reader = self.reader(**settings)
            for shape in reader.list_shapes(categories or ["Chair"]).shapes:
                reader.read(shape, [])
        return error.value


@pytest.fixture
def source(tmp_path):
    return Clouds(tmp_path / "source")


def test_every_form_gives_the_same_record(source, cloud_forms):
    for name, write in cloud_forms.items():
        source.write(f"Chair/{name.replace('.', '_')}.{name.split('.')[-1]}", write(POINTS, LABELS))
        beside = f"Chair/{name.replace('.', '_')}_beside"
        source.write(f"{beside}.{name.split('.')[-1]}", write(POINTS, None))
        source.write(f"{beside}.labels", "1\n-1\n0\n")
    records = source.records()
    assert len(records) == 2 * len(cloud_forms)
    for name, record in records.items():
        assert record.category == "Chair"
        np.testing.assert_array_equal(record.points, POINTS, err_msg=name)
        assert record.labels.tolist() == [1, -1, 0], name
        assert record.labels.dtype == np.int64


def test_clouds_without_labels_are_unlabelled(source, cloud_forms):
    for name, write in cloud_forms.items():
        source.write(f"Chair/{name.replace('.', '_')}.{name.split('.')[-1]}", write(POINTS, None))
    listing = source.reader().list_shapes(["Chair"])
    assert all(not shape.annotations for shape in listing.shapes)
    plain = next(f for f in listing.findings if "clouds without labels" in f.sentence)
    assert (plain.code, plain.left_out) == ("no_labels", False)
    assert all(record.labels is None for record in source.records().values())


@pytest.mark.parametrize(
    ("yaml", "content", "expected"),
    [
        (CHAIR + "first_label: 1\nunlabelled: 0\n", "0 0 0 1\n0 0 0 2\n0 0 0 0\n", [0, 1, -1]),
        (CHAIR + "unlabelled: [-1, 255]\n", "0 0 0 255\n0 0 0 -1\n0 0 0 1\n", [-1, -1, 1]),
        (CHAIR + "first_label: -5\n", "0 0 0 -5\n0 0 0 -4\n0 0 0 -1\n", [0, 1, -1]),
        (CHAIR, "x y z label\n0 0 0 seat\n0 0 0 back\n0 0 0 -1\n", [1, 0, -1]),
        (
            CHAIR + 'unlabelled: ["", none]\n',
            "x,y,z,part\n0,0,0,\n0,0,0,none\n0,0,0,seat\n",
            [-1, -1, 1],
        ),
        (CHAIR + "label: mine\n", "x,y,z,label,mine\n0,0,0,9,1\n", [1]),
    ],
)
def test_labels_are_counted_as_clouds_yaml_says(source, yaml, content, expected):
    source.write(CLOUDS, yaml)
    source.write("Chair/a.csv", content)
    assert source.records()["a"].labels.tolist() == expected


def test_parts_are_in_the_order_of_clouds_yaml_even_where_shapenet_has_another(source):
    source.write(CLOUDS, "categories:\n  Airplane: [wing, tail, engine, body]\n")
    source.write("Airplane/a.pts", "0 0 0 0\n0 0 0 3\n")
    assert source.reader().categories["Airplane"].parts == ("wing", "tail", "engine", "body")
    assert source.records("Airplane")["a"].labels.tolist() == [0, 3]


def test_unannotated_points_may_be_a_part(source):
    source.write("Chair/a.pts", "0 0 0 1\n0 0 0 -1\n")
    for how, parts, labels in [
        ("auto", ("back", "seat"), [1, -1]),
        ("ignore", ("back", "seat"), [1, -1]),
        ("part", ("back", "seat", "none"), [1, 2]),
    ]:
        assert source.reader(unannotated=how).categories["Chair"].parts == parts
        assert source.records(unannotated=how)["a"].labels.tolist() == labels
    source.write(CLOUDS, "categories:\n  Chair: [none, back]\n")
    assert source.records(unannotated="part")["a"].labels.tolist() == [1, 0]


def test_files_of_a_single_category_need_no_folder(source):
    source.write("a.pts", "0 0 0 0\n")
    source.write("Chair/b.pts", "0 0 0 1\n")
    source.write("README.txt", "These are chairs.\n")
    assert sorted(source.records()) == ["a", "b"]
    assert source.reader().list_shapes(["Chair"]).findings == []


def test_split_folders_are_the_official_split(source):
    source.write(CLOUDS, TWO)
    source.write("train/Chair/a.pts", "0 0 0 0\n")
    source.write("val/Chair/b.pts", "0 0 0 0\n")
    source.write("test/Table/c.pts", "0 0 0 0\n")
    listing = source.reader().list_shapes(["Chair", "Table"])
    assert {s.name: s.split for s in listing.shapes} == {"a": "train", "b": "val", "c": "test"}
    source.write("Chair/d.pts", "0 0 0 0\n")
    error = source.refusal()
    assert (error.code, error.file) == ("mixed_splits", "Chair/d.pts")


def test_what_is_not_read_is_said(source):
    source.write(CLOUDS, TWO)
    source.write("Chair/a.pts", "0 0 0 0\n")
    source.write("Chair/a.jpg", "")
    source.write("Chair/a.obj", "")
    source.write("Chair/lost.seg", "0\n")
    source.write("stray.ply", "")
    source.write("tables/b.pts", "0 0 0 0\n")
    source.write("LICENSE", "")
    listing = source.reader().list_shapes(["Chair", "Table"])
    assert [(f.code, f.file, f.left_out) for f in listing.findings] == [
        ("unknown_ending", "Chair/a.jpg", False),
        ("no_category_folder", "stray.ply", False),
        ("unknown_folder", "tables", False),
        ("labels_without_points", "Chair/lost.seg", False),
        ("no_shapes", CLOUDS, False),
    ]
    sentences = [finding.sentence for finding in listing.findings]
    assert sentences[0].startswith("2 files with none of the endings")
    assert "labels beside" not in sentences[0]
    assert "is tables meant to be Table?" in sentences[2]


def test_a_label_of_another_name_is_not_passed_over_in_silence(source):
    source.write("Chair/a.csv", "x,y,z,nx,segment_id\n0,0,0,1,0\n")
    source.write("Chair/b.csv", "x,y,z,other\n0,0,0,1\n")
    source.write("Chair/c.pts", "0 0 0\n")
    source.write("Chair/d.txt", "x y z nx ny nz\n0 0 0 1 0 0\n")
    found = {f.file: f for f in source.reader().list_shapes(["Chair"]).findings}
    assert {(f.code, f.left_out) for f in found.values()} == {("no_labels", False)}
    assert found["Chair/a.csv"].sentence == (
        "has no labels (columns x, y, z, nx, segment_id), as 1 more such; kept as unlabelled. If "
        "segment_id is the label, write `label: segment_id` into clouds.yaml."
    )
    assert found["Chair/c.pts"].sentence.startswith("1 cloud without labels")
    assert "If one of these is the label" in found["Chair/d.txt"].sentence
    assert len(found) == 3


def test_a_file_without_the_label_that_clouds_yaml_names_is_left_out(source):
    source.write(CLOUDS, CHAIR + "label: segmnt\n")
    source.write("Chair/a.csv", "x,y,z,segment\n0,0,0,0\n")
    error = source.refusal()
    assert (error.code, error.file) == ("no_labels", "Chair/a.csv")
    assert "no labels named segmnt" in str(error)
    assert "columns x, y, z, segment" in str(error)
    # Beside it there are labels; and a cloud with no other column has none by any name.
    source.write("Chair/a.labels", "1\n")
    source.write("Chair/b.pts", "0 0 0\n")
    records = source.records()
    assert records["a"].labels.tolist() == [1]
    assert records["b"].labels is None


@pytest.mark.parametrize("ending", ["label", "lbl", "label.txt"])
def test_a_file_of_labels_by_another_ending_gets_a_hint(source, ending):
    source.write("Chair/a.pts", "0 0 0\n")
    source.write(f"Chair/a.{ending}", "1\n")
    listing = source.reader().list_shapes(["Chair"])
    assert [shape.name for shape in listing.shapes] == ["a"]
    finding = next(f for f in listing.findings if f.code == "unknown_ending")
    assert finding.file == f"Chair/a.{ending}"
    assert "labels beside a cloud end in .labels or .seg, rename them" in finding.sentence


@pytest.mark.parametrize(
    ("labels", "hinted"), [("1 2 -1", True), ("1 3 2", False), ("0 1 2", False), ("2 2", False)]
)
def test_labels_counted_from_one_get_a_hint(source, labels, hinted):
    source.write("Chair/a.pts", "".join(f"0 0 0 {label}\n" for label in labels.split()))
    error = source.refusal()
    assert error.code == "unknown_label"
    assert ("first_label: 1" in str(error)) is hinted


@pytest.mark.parametrize(
    ("files", "code", "place", "words"),
    [
        (
            {"Chair/a.ply": "", "Chair/a.csv": ""},
            "duplicate_id",
            "Chair/a.ply",
            "Chair/a.csv and this file are both the cloud a of Chair",
        ),
        ({"train/a.csv": "", "test/a.csv": ""}, "duplicate_id", "train/a.csv", "test/a.csv and"),
        ({"train/a.csv": "", "Valid/b.csv": ""}, "nearly_a_split", "Valid", "meant to be val?"),
        ({"Chair/a.PLY": "", "a.ply": ""}, "duplicate_id", "a.ply", "Rename or remove"),
        ({"Chair/new/a.ply": ""}, "too_deep", "Chair/new", "Move its files to Chair/"),
        ({"Chair/train/a.ply": ""}, "too_deep", "Chair/train", "a folder in a category's folder"),
        (
            {"a.pts": "0 0 0\n", "a.seg": "0\n", "a.labels": "0\n"},
            "two_labels",
            "a.pts",
            "two files of labels",
        ),
        ({"a.pts": "0 0 0 1\n", "a.seg": "0\n"}, "two_labels", "a.pts", "so does a.seg"),
        ({"a.pts": "0 0 0\n", "a.seg": "0\n1\n"}, "count_mismatch", "a.seg", "expected 1, one for"),
        ({"a.pts": "0 0 0\n", "a.seg": "x\n"}, "not_a_label", "a.seg", "line 1: found 'x'"),
        ({"a.pts": "0 0 0\n", "a.seg": "2\n"}, "unknown_label", "a.seg", "line 1: found label '2'"),
        (
            {"a.pts": "0 0 0 0\n0 0 0 2\n"},
            "unknown_label",
            "a.pts",
            "line 2: found label '2', expected 0 (back), 1 (seat) or what `unlabelled` names (-1)",
        ),
        (
            {"a.csv": "x,y,z,part\n0,0,0,seat\n0,0,0,sea\n"},
            "unknown_label",
            "a.csv",
            "line 3: found label 'sea', expected back, seat or",
        ),
        ({"a.csv": "x,y,z,part\n0,0,0,seat\n0,0,0,1\n"}, "unknown_label", "a.csv", "line 3: "),
        ({"a.pts": "0 0 0 0.5\n"}, "unknown_label", "a.pts", "found label '0.5'"),
        ({"a.pts": "0 0 0 0\n0 0 nan 0\n"}, "not_finite", "a.pts", "line 2"),
        ({"a.npy": "x"}, "not_npy", "a.npy", "no NumPy array"),
        ({"chair/a.pts": "0 0 0\n"}, "no_shapes", "", "is chair meant to be Chair? Rename it"),
        ({"Train/a.pts": "0 0 0\n"}, "no_shapes", "", "is Train meant to be train? Rename it"),
        ({}, "no_shapes", "", "expected files such as Chair/1.ply"),
    ],
)
def test_says_what_is_wrong(source, files, code, place, words):
    for name, content in files.items():
        source.write(name, content)
    error = source.refusal()
    assert (error.code, error.file) == (code, place)
    assert words in str(error)


@pytest.mark.parametrize(
    ("yaml", "line", "words"),
    [
        ("", 0, "holds 'None', expected categories"),
        ("categories: [", 1, "is not YAML"),
        ("- Chair\n", 0, "holds \"['Chair']\""),
        ("parts: [a]\n", 0, "has no categories; unknown key parts; known here: categories"),
        ("categories: {}\n", 0, "categories: found '{}'"),
        ("categories:\n  Chair: back\n", 0, "categories.Chair: found 'back'"),
        ("categories:\n  Chair: []\n", 0, "at least one"),
        ("categories:\n  Chair: [on, off]\n", 0, "categories.Chair.0: found 'True'"),
        ("categories:\n  Chair: [back, back]\n", 0, "name each once"),
        ("categories:\n  Chair: [a]\n  Chair: [b]\n", 3, "names 'Chair' twice"),
        ("categories:\n  Chair: &x [a]\n  Table: *x\n", 3, "has an alias (*x)"),
        ("categories:\n  Chair: ['1']\n", 0, "give it a word that is no number"),
        ("categories:\n  ../x: [a]\n", 0, "cannot be the name of its folder"),
        ("categories:\n  train: [a]\n", 0, "none of train, val, test"),
        (CHAIR + "unlabelled: [1]\n", 0, "also the label of Chair's part seat"),
        (CHAIR + "unlabelled: [seat]\n", 0, "seat is a part of Chair"),
        (CHAIR + "unlabelled: [0.5]\n", 0, "found '0.5'"),
        (CHAIR + "first_label: one\n", 0, "first_label: found 'one'"),
        (CHAIR + "first_label: 99999999999\n", 0, "first_label: found '99999999999'"),
        (CHAIR + "lables: x\n", 0, "unknown key lables"),
        ("a: 2001-99-99\n", 0, "cannot be read"),
        ("[" * 30, 0, "is nested more than 10 deep"),
        (b"\xff\xfe", 0, "no text in UTF-8"),
        (b"#" * 2**21, 0, "expected a few lines"),
    ],
)
def test_a_wrong_clouds_yaml_is_one_clear_error(source, yaml, line, words):
    source.write(CLOUDS, yaml)
    error = source.refusal()
    assert (error.code, error.file, error.line) == ("bad_clouds_yaml", CLOUDS, line)
    assert words in str(error)


YAML_WORDS = """
categories Chair unlabelled - [ ] { } , a *x &x !!python/object:os.system !!set 1 2001-01-01 " ? <<
0x 1e400 é | > --- %TAG
"""
YAML_LIKE = st.lists(
    st.sampled_from([*YAML_WORDS.split(), ": ", "\n", "  ", "\t", "\0"]), max_size=25
).map("".join)


@given(YAML_LIKE | st.binary(max_size=30).map(lambda b: b.decode("latin-1")))
@hypothesis_settings(max_examples=300)
def test_no_text_breaks_the_yaml(text):
    for content in (text, CHAIR + text):
        try:
            clouds = parse_clouds(content.encode(), CLOUDS)
        except BadInput as error:
            assert (error.code, error.file) == ("bad_clouds_yaml", CLOUDS)
        else:
            assert all(parts for parts in clouds.categories.values())


def test_a_bad_file_leaves_out_only_that_cloud(source, tmp_path):
    for name in "abcd":
        source.write(f"Chair/{name}.pts", "0 0 0 0\n1 1 1 1\n")
    source.write("Chair/e.ply", "ply\n")
    settings = DataSettings(category="Chair", max_bad_share=0.2)
    manifest = convert(str(source.root), str(tmp_path / "out"), settings)
    assert [(f.code, f.shape, f.left_out) for f in manifest.findings] == [("not_ply", "e", True)]
    assert sum(manifest.shapes(split) for split in ("train", "val", "test")) == 4


def test_folder_and_zip_convert_alike(source, cloud_forms, tmp_path):
    forms = ["little.ply", "packed.npz", "blanks.pts", "quoted.csv", "float64.npy"]
    for split, form in zip(["train", "train", "train", "val", "test"], forms, strict=True):
        source.write(f"{split}/Chair/{form}", cloud_forms[form](POINTS, LABELS))
    source.write("train/Chair/bare.pts", "0 0 0\n")
    # A folder within the archive, as most programs pack.
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "source")
    settings = DataSettings(category="chair")
    of_folder = convert(str(source.root), str(tmp_path / "a"), settings)
    of_zip = convert(archive, str(tmp_path / "b"), settings)
    assert of_folder.layout == of_zip.layout == "own_clouds"
    assert of_folder.shards == of_zip.shards
    counts = {count.split: (count.shapes, count.unannotated) for count in of_folder.counts}
    assert counts == {"train": (3, 3), "val": (1, 1), "test": (1, 1), "unlabelled": (1, 1)}
    # Another meaning of the same numbers is another data set.
    source.write(CLOUDS, "categories:\n  Chair: [seat, back]\n")
    assert convert(str(source.root), str(tmp_path / "a"), settings).shards == of_folder.shards
    source.write(CLOUDS, CHAIR + "first_label: -1\nunlabelled: 1\n")
    assert convert(str(source.root), str(tmp_path / "a"), settings).shards != of_folder.shards


@pytest.mark.parametrize("name", [b"Chair/\xff.pts", b"\xff.pts", b"\xff/a.pts"])
def test_a_name_that_is_no_text_is_refused(source, name):
    source.write(name.decode("utf-8", "surrogateescape"), "0 0 0 0\n")
    error = source.refusal()
    assert error.code == "bad_name"
    assert str(error).encode()


def test_listing_reads_the_beginnings_alone(source, monkeypatch):
    source.write("Chair/a.pts", "0 0 0 1\n" * 20_000)
    read = file_tree.Folder.read
    sizes = []

    def counted(tree, name, limit=None):
        content = read(tree, name, limit)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(file_tree.Folder, "read", counted)
    (shape,) = source.reader().list_shapes(["Chair"]).shapes
    assert shape.annotations
    assert max(sizes) <= 2**16 < shape.size


def test_a_source_in_no_layout_hears_of_clouds_yaml(tmp_path):
    (tmp_path / "a.ply").write_text("ply\n")
    with pytest.raises(BadInput, match=r"ply_data_train0\.h5 and the like, or clouds\.yaml"):
        open_reader(str(tmp_path), DataSettings())


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)


def test_the_documented_example_runs(tmp_path, monkeypatch):
    (program,) = blocks("python")
    (command,) = blocks("sh")
    name, verb, folder, output, option, category = command.split()
    assert (name, verb, option) == ("pointnet-parts", "convert", "--category")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, str(DOCUMENT), "exec"), {})
    records = tmp_path / output
    manifest = convert(folder, str(records), DataSettings(category=category))
    assert manifest.findings == ()
    assert [manifest.shapes(split) for split in ("train", "val", "test")] == [1, 1, 1]
    assert manifest.category("Chair").parts == ("seat", "leg")
    assert all(0 < points < 500 for count in manifest.counts for points in count.parts.values())


def test_the_documented_yaml_is_read():
    first, second = (parse_clouds(text.encode(), CLOUDS) for text in blocks("yaml"))
    assert first.categories == {"Chair": ["back", "seat", "leg", "arm"]}
    assert second.unlabelled == [-1, 255]
    assert (second.first_label, second.label) == (1, "segment_id")
