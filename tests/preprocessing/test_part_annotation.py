import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from preprocessing.findings import BadInput
from preprocessing.layout import chosen_categories
from preprocessing.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES

LAMP = {"Lamp": {"directory": "03636649", "lables": ["canopy", "lampshade", "base"]}}
PLANE = {"Airplane": {"directory": "02691156", "lables": ["wing", "body", "tail", "engine"]}}


def read_all(source, **settings):
    """Records and findings by shape name, and the listing's findings."""
    reader = open_reader(str(source), DataSettings(category="all", **settings))
    listing = reader.list_shapes(chosen_categories(reader.categories, "all"))
    notes, records = [], {}
    for shape in listing.shapes:
        try:
            records[shape.name] = reader.read(shape, notes)
        except BadInput as error:
            records[shape.name] = error
    return records, [*listing.findings, *notes]


def test_reads_points_and_labels(planes):
    planes.points("a", "0 1 2\n3 4 5\n6 7 8\n9 10 11\n")
    planes.part("a", "body", "1\n0\n0\n0\n")
    planes.part("a", "tail", "0\n1\n0\n1\n")
    records, findings = read_all(planes.root)
    record = records["a"]
    assert (record.shape_id, record.category) == ("a", "Airplane")
    np.testing.assert_array_equal(record.points, np.arange(12, dtype=np.float32).reshape(4, 3))
    # No wing file: the part is absent. The third point is in no part: nobody annotated it.
    assert record.labels.tolist() == [0, 2, -1, 2]
    assert record.labels.dtype == np.int64
    assert not findings


def test_shape_without_label_files_is_unlabelled(planes):
    planes.points("a", "0 0 0\n1 1 1\n")
    reader = open_reader(str(planes.root), DataSettings())
    (shape,) = reader.list_shapes(["Airplane"]).shapes
    assert shape.annotations == ()
    assert reader.read(shape, []).labels is None


def test_metadata_key_may_be_spelt_right(planes):
    planes.write_metadata({"Airplane": {"directory": "planes", "labels": ["body", "wing"]}})
    planes.shape("a")
    records, _ = read_all(planes.root)
    assert records["a"].labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_known_synset_takes_the_parts_tables_order(part_annotation_folder, tmp_path):
    folder = part_annotation_folder(tmp_path / "s", PLANE)
    folder.points("a", "0 0 0\n1 1 1\n", "02691156")
    folder.part("a", "wing", "0\n1\n", "02691156")
    folder.part("a", "body", "1\n0\n", "02691156")
    records, _ = read_all(folder.root)
    assert records["a"].labels.tolist() == [0, 1]
    category = open_reader(str(folder.root), DataSettings()).categories["Airplane"]
    assert category.parts == ("body", "wing", "tail", "engine")


@pytest.mark.parametrize(
    ("unannotated", "parts", "labels"),
    [
        ("auto", ("base", "lampshade", "canopy", "tube"), [0, 3]),
        ("part", ("base", "lampshade", "canopy", "tube"), [0, 3]),
        ("ignore", ("base", "lampshade", "canopy"), [0, -1]),
    ],
)
def test_rest_part_of_lamp(part_annotation_folder, tmp_path, unannotated, parts, labels):
    folder = part_annotation_folder(tmp_path / "s", LAMP)
    folder.points("a", "0 0 0\n1 1 1\n", "03636649")
    folder.part("a", "base", "1\n0\n", "03636649")
    records, _ = read_all(folder.root, unannotated=unannotated)
    reader = open_reader(str(folder.root), DataSettings(unannotated=unannotated))
    assert reader.categories["Lamp"].parts == parts
    assert records["a"].labels.tolist() == labels


def test_part_named_none_where_the_table_has_no_rest(planes):
    planes.points("a", "0 0 0\n1 1 1\n")
    planes.part("a", "wing", "0\n1\n")
    records, _ = read_all(planes.root, unannotated="part")
    category = open_reader(str(planes.root), DataSettings(unannotated="part")).categories
    assert category["Airplane"].parts == ("body", "wing", "tail", "none")
    assert records["a"].labels.tolist() == [3, 1]


def test_verified_labels_are_preferred_and_count_from_1_in_benchmark_order(
    part_annotation_folder, tmp_path
):
    folder = part_annotation_folder(tmp_path / "s", PLANE)
    folder.points("a", "0 0 0\n1 1 1\n2 2 2\n", "02691156")
    folder.part("a", "wing", "1\n1\n1\n", "02691156")
    folder.verified("a", "0\n1\n4\n", "02691156")
    records, _ = read_all(folder.root)
    assert records["a"].labels.tolist() == [-1, 0, 3]
    records, _ = read_all(folder.root, labels="raw")
    assert records["a"].labels.tolist() == [1, 1, 1]


def test_verified_labels_of_the_rest_part(part_annotation_folder, tmp_path):
    folder = part_annotation_folder(tmp_path / "s", LAMP)
    folder.points("a", "0 0 0\n1 1 1\n2 2 2\n", "03636649")
    folder.verified("a", "0\n1\n4\n", "03636649")
    assert read_all(folder.root)[0]["a"].labels.tolist() == [3, 0, 3]
    ignored, _ = read_all(folder.root, unannotated="ignore")
    assert ignored["a"].labels.tolist() == [-1, 0, -1]


def test_contested_points_are_left_unannotated_with_a_finding(planes):
    planes.points("a", "0 0 0\n1 1 1\n2 2 2\n")
    planes.part("a", "body", "1\n1\n0\n")
    planes.part("a", "wing", "0\n1\n1\n")
    records, (finding,) = read_all(planes.root)
    assert records["a"].labels.tolist() == [0, -1, 1]
    assert (finding.code, finding.shape, finding.line) == ("overlapping_parts", "a", 2)
    assert "1 of 3 points are claimed by more than one part of body, wing" in finding.sentence
    assert not finding.left_out


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("1\n0\n", "line 3: found 2 labels, expected 3"),
        ("1\n0\n0\n0\n", "line 4: found 4 labels, expected 3"),
        ("", "found no line in it"),
        ("1\n0\nx\n", "line 3: found 'x', expected 0 or 1"),
    ],
)
def test_bad_label_file_keeps_the_shape_out(planes, labels, words):
    planes.points("a", "0 0 0\n1 1 1\n2 2 2\n")
    planes.part("a", "body", labels)
    error = read_all(planes.root)[0]["a"]
    assert isinstance(error, BadInput)
    assert "planes/points_label/body/a.seg" in str(error)
    assert words in str(error)


def test_label_beyond_the_parts(part_annotation_folder, tmp_path):
    folder = part_annotation_folder(tmp_path / "s", PLANE)
    folder.points("a", "0 0 0\n1 1 1\n", "02691156")
    folder.verified("a", "1\n5\n", "02691156")
    error = read_all(folder.root)[0]["a"]
    assert "a.seg, line 2: found label 5, expected 0 to 4" in str(error)
    assert "body, wing, tail, engine" in str(error)


def test_unknown_part_folder_and_orphan_labels_are_findings(planes):
    planes.shape("a")
    planes.part("a", "wings", "1\n" * 6)
    planes.part("b", "body", "1\n")
    _, findings = read_all(planes.root)
    assert {f.code for f in findings} == {"unknown_part", "labels_without_points"}
    assert any("'wings' is no part of Airplane in metadata.json" in f.sentence for f in findings)


def test_empty_category_is_a_finding(planes):
    assert [f.code for f in read_all(planes.root)[1]] == ["no_shapes"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "names no category"),
        ('{"A": 3}', "category 'A' holds 3"),
        ('{"A": {"directory": "x"}}', "the key lables"),
        ('{"A": {"directory": "x", "lables": []}}', "the key lables"),
        ('{"A": {"directory": "x", "lables": ["a", "a"]}}', "the key lables"),
        ('{"A": {"directory": "x", "lables": ["../a"]}}', "the key lables"),
        ('{"A": {"lables": ["a"]}}', "the folder that holds it"),
        ('{"A": {"directory": "../x", "lables": ["a"]}}', "the folder that holds it"),
    ],
)
def test_bad_metadata(planes, text, words):
    (planes.root / "metadata.json").write_text(text)
    with pytest.raises(BadInput) as error:
        open_reader(str(planes.root), DataSettings())
    assert "metadata.json" in str(error.value)
    assert words in str(error.value)


def test_unknown_category_names_those_that_are_there(planes):
    categories = open_reader(str(planes.root), DataSettings()).categories
    assert chosen_categories(categories, "airplane") == ["Airplane"]
    # A source's only category is taken whatever is asked for, with a note.
    assert chosen_categories(categories, "Boat") == ["Airplane"]
    categories["Chair"] = next(c for c in SHAPENET_CATEGORIES if c.name == "Chair")
    with pytest.raises(BadInput, match=r"no category 'Boat'.*it has Airplane, Chair"):
        chosen_categories(categories, "Boat")


@pytest.mark.parametrize("top", ["", "PartAnnotation/"])
def test_zip_gives_what_the_folder_gives(planes, tmp_path, top):
    planes.shape("a", 6)
    planes.shape("b", 9)
    planes.points("c", "0 0 0\n")
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(planes.root.rglob("*")):
            file.write(path, top + path.relative_to(planes.root).as_posix())
        file.writestr("__MACOSX/._metadata.json", b"\0")
    folder, zipped = read_all(planes.root)[0], read_all(archive)[0]
    assert folder.keys() == zipped.keys() == {"a", "b", "c"}
    for name, record in folder.items():
        np.testing.assert_array_equal(record.points, zipped[name].points)
        np.testing.assert_array_equal(record.labels, zipped[name].labels)


def test_folder_above_the_data_set_is_found(planes, tmp_path):
    planes.shape("a")
    shutil.move(planes.root, tmp_path / "above" / "PartAnnotation")
    assert read_all(tmp_path / "above")[0].keys() == {"a"}


def test_parts_table_matches_the_published_metadata():
    published = {"Car": {"wheel", "hood", "roof"}, "Laptop": {"keyboard"}, "Mug": {"handle"}}
    for category in SHAPENET_CATEGORIES:
        if category.name in published:
            assert set(category.parts) - {category.rest} == published[category.name]


def test_real_part_annotation(real_data):
    records, findings = read_all(real_data / "PartAnnotation")
    assert len(records) == 120
    assert not findings
    for record in records.values():
        assert not isinstance(record, BadInput)
        assert record.labels.shape == (len(record.points),)
    engines = [r for r in records.values() if r.category == "Airplane" and (r.labels == 3).any()]
    assert len(engines) == 3
    first = real_data / "PartAnnotation" / "90000000" / "points" / "airplane_61.pts"
    np.testing.assert_array_equal(
        records["airplane_61"].points, np.loadtxt(first).astype(np.float32)
    )


def test_listing_parses_nothing(planes, monkeypatch):
    planes.shape("a")
    reader = open_reader(str(planes.root), DataSettings())
    monkeypatch.setattr(type(reader._tree), "read", lambda *_: pytest.fail("read a file"))
    (shape,) = reader.list_shapes(["Airplane"]).shapes
    files = [p for p in Path(planes.root, "planes").rglob("*") if p.is_file()]
    assert shape.size == sum(p.stat().st_size for p in files)
    assert shape.annotations == ("body", "wing")
