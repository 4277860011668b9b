import json

import numpy as np
import pytest

from preprocessing.convert import convert
from preprocessing.findings import BadInput
from preprocessing.layouts import open_reader
from preprocessing.settings import DataSettings

AIRPLANE, LAMP = "02691156", "03636649"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "synsetoffset2category.txt").write_text(f"Airplane\t{AIRPLANE}\nLamp\t{LAMP}\n")
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read_one(root, category, **settings):
    reader = open_reader(str(root), DataSettings(**settings))
    (shape,) = reader.list_shapes([category]).shapes
    return reader.read(shape, [])


def test_v0_counts_from_1(root):
    write(root / AIRPLANE / "points" / "a.pts", "0 0 0\n1 1 1\n2 2 2\n")
    write(root / AIRPLANE / "points_label" / "a.seg", "1\n4\n0\n")
    assert open_reader(str(root), DataSettings()).layout == "benchmark_v0"
    assert read_one(root, "Airplane").labels.tolist() == [0, 3, -1]
    assert read_one(root, "Airplane", unannotated="part").labels.tolist() == [0, 3, 4]


def test_v0_without_labels_is_unlabelled(root):
    write(root / AIRPLANE / "points" / "a.pts", "0 0 0\n")
    assert read_one(root, "Airplane").labels is None


def test_normal_counts_over_all_parts(root):
    # Lamp's four parts are 24 to 27 of the 50; 27 is the one that the metadata lacks.
    write(root / LAMP / "a.txt", "1 2 3 0 0 1 24.000\n4 5 6 0 1 0 27.000\n")
    record = read_one(root, "Lamp")
    np.testing.assert_array_equal(record.points, [[1, 2, 3], [4, 5, 6]])
    assert record.labels.tolist() == [0, 3]
    assert read_one(root, "Lamp", unannotated="ignore").labels.tolist() == [0, -1]


@pytest.mark.parametrize(
    ("points", "labels", "words"),
    [
        ("0 0 0\n1 1 1\n", "1\n", "found 1 labels, expected 2"),
        ("0 0 0\n1 1 1\n", "1\n5\n", "line 2: found label 5, expected 0 to 4"),
        ("0 0 0\n1 1\n", "1\n1\n", "line 2: found 2 numbers"),
    ],
)
def test_v0_errors(root, points, labels, words):
    write(root / AIRPLANE / "points" / "a.pts", points)
    write(root / AIRPLANE / "points_label" / "a.seg", labels)
    with pytest.raises(BadInput) as error:
        read_one(root, "Airplane")
    assert words in str(error.value)


@pytest.mark.parametrize("label", ["23.000", "28.000", "24.500"])
def test_normal_errors(root, label):
    write(root / LAMP / "a.txt", f"1 2 3 0 0 1 {label}\n")
    with pytest.raises(BadInput, match=r"a\.txt, line 1: found label"):
        read_one(root, "Lamp")


def test_id_in_two_lists_is_kept_in_the_more_held_out_split(root):
    for name in "abcd":
        write(root / AIRPLANE / "points" / f"{name}.pts", "0 0 0\n")
        write(root / AIRPLANE / "points_label" / f"{name}.seg", "1\n")
    # e is in the lists alone.
    for split, names in {"train": "abce", "val": "bde", "test": "c"}.items():
        names = [f"shape_data/{AIRPLANE}/{name}" for name in names]
        file = root / "train_test_split" / f"shuffled_{split}_file_list.json"
        write(file, json.dumps(names))
    listing = open_reader(str(root), DataSettings()).list_shapes(["Airplane"])
    assert {s.name: s.split for s in listing.shapes} == {
        "a": "train",
        "b": "val",
        "c": "test",
        "d": "val",
    }
    (finding,) = listing.findings
    assert (finding.code, finding.shape) == ("in_two_splits", "")
    assert finding.sentence.startswith(
        f"{AIRPLANE}/b stands in the official lists of train and val and is kept in val"
    )
    assert "so do 1 more" in finding.sentence


def test_categories_are_those_whose_folders_are_there(root):
    (root / "synsetoffset2category.txt").write_text("Boat 123\n")
    (root / AIRPLANE / "points").mkdir(parents=True)
    assert list(open_reader(str(root), DataSettings()).categories) == ["Airplane"]


def test_real_v0(real_data, tmp_path):
    source = real_data / "shapenetcore_partanno_segmentation_benchmark_v0"
    manifest = convert(str(source), str(tmp_path / "out"), DataSettings(category="all"))
    assert sum(manifest.shapes(split) for split in ("train", "val", "test")) == 16
    assert len(manifest.categories) == 16


def test_real_normal_lists(real_data):
    source = real_data / "shapenetcore_partanno_segmentation_benchmark_v0_normal"
    reader = open_reader(str(source), DataSettings(category="all"))
    listing = reader.list_shapes(["Skateboard", "Table"])
    # The lists are whole; the few shapes that are here stand in one each.
    assert listing.findings == []
    for shape in listing.shapes:
        record = reader.read(shape, [])
        assert set(record.labels.tolist()) <= {0, 1, 2}
        assert len(record.labels) == len(record.points)
