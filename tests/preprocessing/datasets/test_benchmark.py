import json

import numpy as np
import pytest

AIRPLANE, LAMP, NUT = "02691156", "03636649", "99999999"
LIST = "synsetoffset2category.txt"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / LIST).write_text(f"Airplane\t{AIRPLANE}\nLamp\t{LAMP}\n")
    return folder


@pytest.fixture
def v0(root, write):
    """Writes a shape of benchmark_v0."""

    def write_shape(folder=AIRPLANE, name="a", labels=None):
        write(root / folder / "points" / f"{name}.pts", "0 0 0\n1 1 1\n2 2 2\n")
        if labels is not None:
            write(root / folder / "points_label" / f"{name}.seg", labels)

    return write_shape


def test_normal_counts_over_all_parts_or_those_of_an_own_category(root, write, load):
    (root / LIST).write_text(f"Nut {NUT} shell thread\n")
    # Lamp's four parts are 24 to 27 of the 50; the metadata of PartAnnotation lacks the last.
    write(root / LAMP / "a.txt", "1 2 3 0 0 1 24.000\n4 5 6 0 1 0 27.000\n")
    write(root / NUT / "b.txt", "1 2 3 0 0 1 0\n1 2 3 0 0 1 1\n")
    data = load(root)
    assert data.reader.layout == "benchmark_normal"
    np.testing.assert_array_equal(data.clouds["a"].points, [[1, 2, 3], [4, 5, 6]])
    assert (data.labels("a"), data.labels("b")) == ([0, 3], [0, 1])
    assert load(root, unannotated="ignore").labels("a") == [0, -1]


def test_id_in_two_lists_is_kept_in_the_split_further_from_training(root, v0, write, load):
    for name in "abcd":
        v0(name=name, labels="1\n1\n1\n")
        v0(LAMP, name, labels="1\n1\n1\n")
    # e is in the lists alone; an id belongs to its category.
    for split, names in {"train": "abce", "val": "bde", "test": "c"}.items():
        names = [f"shape_data/{AIRPLANE}/{name}" for name in names]
        names += [f"shape_data/{LAMP}/a"] * (split == "test")
        write(root / "train_test_split" / f"shuffled_{split}_file_list.json", json.dumps(names))
    data = load(root)
    assert (data.reader.layout, data.listing.shapes[0].size) == ("benchmark_v0", 24)
    planes = zip("abcd", ("train", "val", "test", "val"), strict=True)
    expected = {("Airplane", name): split for name, split in planes} | {("Lamp", "a"): "test"}
    assert {(s.category, s.name): s.split for s in data.listing.shapes if s.split} == expected
    findings = [(f.code, f.file, f.category) for f in data.findings]
    assert findings == [("in_two_splits", "train_test_split", "Airplane")] * 2


@pytest.mark.parametrize(("text", "line"), [("[", 1), ('{"a": 1}', 0), ("[1]", 0)])
def test_bad_split_list(root, v0, write, refusal, text, line):
    v0()
    file = "train_test_split/shuffled_val_file_list.json"
    write(root / file, text)
    error = refusal(root)
    assert (error.code, error.file, error.line) == ("bad_split_list", file, line)


def test_folders_of_the_table_need_no_line(root, v0, load):
    v0(labels="1\n2\n3\n")
    (root / LIST).write_text("Boat 123\n")
    assert list(load(root).reader.categories) == ["Airplane"]
    # Unless another folder has its name.
    (root / LIST).write_text(f"Airplane {NUT} shell\n")
    v0(NUT, labels="1\n1\n1\n")
    assert load(root).labels("a") == [0, 0, 0]
    assert load(root).findings[0].code == "unknown_folder"


@pytest.mark.parametrize("line", [f"Nut {NUT}", f"Plane {AIRPLANE}"])
def test_own_category_without_parts_is_refused_when_chosen(root, v0, refusal, load, line):
    name, folder = line.split()
    (root / LIST).write_text(f"Lamp {LAMP}\n{line}\n")
    v0(folder, labels="1\n2\n0\n")
    for category in (name.upper(), "all"):
        error = refusal(root, category)
        assert (error.code, error.file, error.line) == ("unnamed_parts", LIST, 2)
        assert line in error.message
    v0(LAMP, "b", labels="1\n2\n0\n")
    assert [f.code for f in load(root).findings] == ["unnamed_parts"]
    assert load(root, "Lamp").findings == []
    # It counts where no category is chosen.
    assert refusal(root, None).code == "choose_category"
    v0(AIRPLANE, "c", labels="1\n2\n0\n")
    if folder != AIRPLANE:
        assert load(root, None).findings == []


@pytest.mark.parametrize(
    ("content", "line", "code"),
    [
        (f"Lamp {LAMP}\nNut\n", 2, "bad_category_list"),
        (f"Nut {NUT} a\n\nBolt {NUT} b\n", 3, "bad_category_list"),
        (f"Nut {NUT} a\nNut {LAMP} b\n", 2, "bad_category_list"),
        (f"N\xfct {NUT} a\n".encode("latin-1"), 1, "bad_category_list"),
        (f"Lamp {LAMP}\nNut {NUT} a b a\n", 2, "bad_category"),
    ],
)
def test_bad_category_list(root, v0, write, refusal, content, line, code):
    v0(LAMP)
    v0(NUT)
    write(root / LIST, content)
    error = refusal(root)
    assert (error.code, error.file, error.line) == (code, LIST, line)


def test_real_benchmark(real_data, load):
    data = load(real_data / "shapenetcore_partanno_segmentation_benchmark_v0")
    assert len(data.clouds) == len(data.reader.categories) == 16
    assert all((cloud.labels >= 0).any() for cloud in data.clouds.values())
    data = load(real_data / "shapenetcore_partanno_segmentation_benchmark_v0_normal")
    assert (len(data.clouds), data.findings) == (4, [])
    # The lists are complete; each of the few shapes here is in one of them.
    assert all(shape.split for shape in data.listing.shapes)
    for cloud in data.clouds.values():
        assert set(cloud.labels.tolist()) <= {0, 1, 2}
