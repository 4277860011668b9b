"""The HDF5 form of the benchmark. All shapes here are made up."""

import io
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import benchmark_hdf5, file_tree
from preprocessing.convert import convert
from preprocessing.findings import BadInput
from preprocessing.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES

AIRPLANE, CAR, LAMP, TABLE = 0, 3, 8, 15
# The number of each of these categories' first part among all 50.
FIRST = {AIRPLANE: 0, CAR: 8, LAMP: 24, TABLE: 47}


def clouds(labels, points=5, seed=0):
    """Datasets of shapes of these categories; point i is of part i modulo 3."""
    rng = np.random.default_rng(seed)
    data = rng.uniform(-1, 1, (len(labels), points, 3)).astype(np.float32)
    first = np.array([FIRST[label] for label in labels])
    pid = (first[:, None] + np.arange(points) % 3).astype(np.uint8)
    return {"data": data, "label": np.array(labels, np.uint8)[:, None], "pid": pid}


def hdf5(datasets, **how):
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        for name, values in datasets.items():
            if isinstance(values, np.ndarray):
                opened.create_dataset(name, data=values, **how)
            else:
                opened[name] = values
    return file.getvalue()


@pytest.fixture
def source(tmp_path):
    """train0 with two shapes, train1, val0 and test0 with one each."""
    folder = tmp_path / "hdf5_data"
    folder.mkdir()
    names = "".join(f"{c.name}\t{c.directory}\n" for c in SHAPENET_CATEGORIES)
    (folder / "all_object_categories.txt").write_text(names)
    for seed, (name, labels) in enumerate(
        {
            "train0": [AIRPLANE, LAMP],
            "train1": [AIRPLANE],
            "val0": [AIRPLANE],
            "test0": [AIRPLANE],
        }.items()
    ):
        content = hdf5(clouds(labels, seed=seed), compression="gzip")
        (folder / f"ply_data_{name}.h5").write_bytes(content)
    return folder


def list_all(source, category="Airplane", **settings):
    reader = open_reader(str(source), DataSettings(**settings))
    return reader, reader.list_shapes([category])


def test_shapes_are_named_after_file_and_row_and_split_by_file(source):
    reader, listing = list_all(source)
    assert reader.layout == "benchmark_hdf5"
    assert [(s.name, s.split) for s in listing.shapes] == [
        ("ply_data_test0-00000", "test"),
        ("ply_data_train0-00000", "train"),
        ("ply_data_train1-00000", "train"),
        ("ply_data_val0-00000", "val"),
    ]
    assert listing.findings == []


def test_records_hold_the_row_and_count_parts_from_the_categorys_first(source):
    reader, listing = list_all(source, "Lamp")
    (shape,) = listing.shapes
    assert shape.name == "ply_data_train0-00001"
    record = reader.read(shape, [])
    assert record.points.dtype == np.float32
    np.testing.assert_array_equal(record.points, clouds([AIRPLANE, LAMP])["data"][1])
    assert record.labels.tolist() == [0, 1, 2, 0, 1]


def test_unannotated_takes_away_or_adds_a_part_as_in_the_other_layouts(source):
    content = clouds([CAR, LAMP])
    content["pid"][0] = [8, 9, 10, 11, 11]
    content["pid"][1] = [24, 25, 26, 27, 27]
    (source / "ply_data_train0.h5").write_bytes(hdf5(content))
    for category, auto, ignore in [
        # The benchmark's part that the metadata lacks is the last one, of both.
        ("Car", [0, 1, 2, 3, 3], [0, 1, 2, -1, -1]),
        ("Lamp", [0, 1, 2, 3, 3], [0, 1, 2, -1, -1]),
    ]:
        for how, expected in [("auto", auto), ("part", auto), ("ignore", ignore)]:
            reader, listing = list_all(source, category, unannotated=how)
            assert reader.read(listing.shapes[0], []).labels.tolist() == expected
    reader, _ = list_all(source, unannotated="part")
    assert reader.categories["Airplane"].rest == "none"


def test_reads_as_the_text_layout_does(source, tmp_path):
    """The oracle: the same shapes as text with normals, read by another reader."""
    text = tmp_path / "text"
    for index, number in enumerate((AIRPLANE, LAMP)):
        folder = text / SHAPENET_CATEGORIES[number].directory
        folder.mkdir(parents=True)
        datasets = clouds([AIRPLANE, LAMP])
        rows = zip(datasets["data"][index].tolist(), datasets["pid"][index].tolist(), strict=True)
        (folder / "a.txt").write_text("".join(f"{x} {y} {z} 0 0 1 {p}\n" for (x, y, z), p in rows))
    (text / "synsetoffset2category.txt").write_text("")
    for category in ("Airplane", "Lamp"):
        hdf, listing = list_all(source, category)
        shape = next(s for s in listing.shapes if s.name.startswith("ply_data_train0"))
        found = hdf.read(shape, [])
        other, listing = list_all(text, category)
        assert other.layout == "benchmark_normal"
        expected = other.read(listing.shapes[0], [])
        np.testing.assert_array_equal(found.points, expected.points)
        np.testing.assert_array_equal(found.labels, expected.labels)


def test_folder_and_zip_convert_alike(source, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "hdf5_data")
    of_folder = convert(str(source), str(tmp_path / "a"), DataSettings())
    of_zip = convert(archive, str(tmp_path / "b"), DataSettings())
    assert of_folder.shards == of_zip.shards
    assert [of_folder.shapes(split) for split in ("train", "val", "test")] == [2, 1, 1]
    assert of_folder.category("Airplane").parts == ("body", "wing", "tail", "engine")


def test_a_file_is_unpacked_once_while_there_is_room(source, monkeypatch):
    read = file_tree.Folder.read
    unpacked = []
    monkeypatch.setattr(
        file_tree.Folder, "read", lambda tree, name: unpacked.append(name) or read(tree, name)
    )
    # Room for all; then for less than one file, of 5 points each 13 bytes, of which one stays.
    for room, expected in [(2**29, 4), (60, 8)]:
        monkeypatch.setattr(benchmark_hdf5, "_MAX_KEPT_BYTES", room)
        reader, listing = list_all(source)
        unpacked.clear()
        for shape in [*listing.shapes, *listing.shapes]:
            reader.read(shape, [])
            assert room > 60 or len(reader._kept) == 1
        assert len(unpacked) == expected


@pytest.mark.parametrize(
    ("name", "row", "code", "words"),
    [
        ("data", np.nan, "not_finite", "row 1, point 0 of data is [nan, nan, nan]"),
        ("data", np.inf, "not_finite", "expected finite 32-bit numbers"),
        ("pid", 4, "unknown_label", "row 1, point 0 of pid: found label 4, expected 0 to 3"),
    ],
)
def test_one_bad_row_leaves_out_only_that_shape(source, name, row, code, words):
    content = clouds([AIRPLANE, AIRPLANE])
    content[name][1] = row
    (source / "ply_data_train0.h5").write_bytes(hdf5(content))
    reader, listing = list_all(source)
    good, bad = (s for s in listing.shapes if s.name.startswith("ply_data_train0"))
    assert reader.read(good, []).labels.tolist() == [0, 1, 2, 0, 1]
    with pytest.raises(BadInput) as error:
        reader.read(bad, [])
    assert (error.value.code, error.value.file) == (code, "ply_data_train0.h5")
    assert words in str(error.value)


def test_an_unknown_category_leaves_out_only_that_shape(source, tmp_path):
    content = clouds([AIRPLANE, AIRPLANE])
    content["label"][1] = 16
    (source / "ply_data_train0.h5").write_bytes(hdf5(content))
    _, listing = list_all(source)
    assert len(listing.shapes) == 4
    (finding,) = listing.findings
    assert (finding.code, finding.shape) == ("unknown_category", "ply_data_train0-00001")
    assert finding.left_out
    assert "row 1 of label is 16, expected 0 to 15" in str(finding)
    settings = DataSettings(max_bad_share=0.25)
    manifest = convert(str(source), str(tmp_path / "out"), settings)
    assert manifest.findings == (finding,)


def test_a_category_without_shapes_is_noted(source):
    _, listing = list_all(source, "Table")
    assert [finding.code for finding in listing.findings] == ["no_shapes"]


GOOD = clouds([AIRPLANE, LAMP])


def without(name):
    return {key: values for key, values in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "damaged_hdf5", "cannot be read as HDF5"),
        (b"x,y,z\n", "damaged_hdf5", "expected a whole HDF5 file"),
        (hdf5(GOOD)[:-100], "damaged_hdf5", "Download it again"),
        (hdf5({}), "no_dataset", "has no dataset data (found nothing)"),
        (hdf5(without("data")), "no_dataset", "has no dataset data (found label, pid)"),
        (hdf5(without("label")), "no_dataset", "has no dataset label"),
        (hdf5(without("pid")), "no_dataset", "ModelNet40 bear the same names"),
        (hdf5(GOOD | {"pid": GOOD["pid"][:1]}), "wrong_dataset", "pid [1, 5], expected"),
        (hdf5(GOOD | {"pid": GOOD["pid"][:, :4]}), "wrong_dataset", "pid [2, 4], expected"),
        (hdf5(GOOD | {"label": GOOD["label"][:1]}), "wrong_dataset", "label [1, 1]"),
        (hdf5(GOOD | {"label": np.zeros((2, 2), int)}), "wrong_dataset", "label [2, 2]"),
        (hdf5(GOOD | {"data": GOOD["data"][..., :2]}), "wrong_dataset", "data [2, 5, 2]"),
        (hdf5(GOOD | {"data": GOOD["data"][0]}), "wrong_dataset", "data [5, 3]"),
        (hdf5(GOOD | {"data": 1.5}), "wrong_dataset", "data []"),
        (hdf5(GOOD | {"data": np.zeros((2, 5, 3), int)}), "wrong_dataset", "data is of type int64"),
        (hdf5(GOOD | {"pid": GOOD["data"][..., 0]}), "wrong_dataset", "pid is of type float32"),
        (hdf5(GOOD | {"label": ["a", "b"]}), "wrong_dataset", "label is of type object"),
        (hdf5(GOOD | {"label": np.bytes_("a")}), "wrong_dataset", "label is of type |S1"),
        (hdf5(GOOD | {"pid": h5py.Empty("u1")}), "wrong_dataset", "pid is empty"),
        (hdf5(without("pid") | {"pid/x": GOOD["pid"]}), "wrong_dataset", "pid is a group"),
        (hdf5(GOOD | {"pid": h5py.SoftLink("/label")}), "outside_link", "pid is a link"),
        (hdf5(GOOD | {"pid": h5py.SoftLink("/none")}), "outside_link", "pid is a link"),
    ],
)
def test_a_bad_file_is_one_clear_error(source, content, code, words):
    (source / "ply_data_train0.h5").write_bytes(content)
    reader = open_reader(str(source), DataSettings())
    with pytest.raises(BadInput) as error:
        reader.list_shapes(["Airplane"])
    assert (error.value.code, error.value.file) == (code, "ply_data_train0.h5")
    assert words in str(error.value)


def test_numbers_in_another_file_are_not_followed(source, tmp_path):
    secret = tmp_path / "secret.h5"
    secret.write_bytes(hdf5(GOOD))
    raw = tmp_path / "secret.bin"
    raw.write_bytes(bytes(10))
    layout = h5py.VirtualLayout((2, 5), "u1")
    layout[:] = h5py.VirtualSource(str(secret), "pid", (2, 5))
    for kind in ("link", "external", "virtual"):
        file = source / "ply_data_train0.h5"
        file.write_bytes(hdf5(without("pid")))
        with h5py.File(file, "a") as opened:
            if kind == "link":
                opened["pid"] = h5py.ExternalLink(str(secret), "/pid")
            elif kind == "external":
                opened.create_dataset("pid", (2, 5), "u1", external=[(str(raw), 0, 10)])
            else:
                opened.create_virtual_dataset("pid", layout)
        with pytest.raises(BadInput, match="pid is a link or stands in another file"):
            list_all(source)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2**40, 2048, 3), "data would take 2.52e+07 GiB"),
        ((2**18, 1, 3), "holds 262,144 shapes, expected at most 131,072"),
    ],
)
def test_a_small_file_cannot_claim_a_huge_size(source, shape, words):
    file = source / "ply_data_train0.h5"
    with h5py.File(file, "w") as opened:
        opened.create_dataset("data", shape, "f4", chunks=(1, 1, 3))
        opened.create_dataset("label", (shape[0], 1), "u1", chunks=(1, 1))
        opened.create_dataset("pid", shape[:2], "u1", chunks=(1, 1))
    assert file.stat().st_size < 10_000
    with pytest.raises(BadInput) as error:
        list_all(source)
    assert error.value.code == "too_large"
    assert words in str(error.value)


def test_damage_inside_the_numbers_leaves_out_the_files_shapes(source, monkeypatch):
    file = source / "ply_data_train1.h5"
    datasets = clouds([AIRPLANE, AIRPLANE], points=500)
    content = bytearray(hdf5(datasets, compression="gzip", fletcher32=True, chunks=True))
    place = len(content) // 2
    content[place : place + 64] = bytes(64)
    file.write_bytes(content)
    reader, listing = list_all(source)
    bad = [s for s in listing.shapes if s.name.startswith("ply_data_train1")]
    reads = []
    read = reader._tree.read
    monkeypatch.setattr(reader._tree, "read", lambda name: reads.append(name) or read(name))
    for shape in bad:
        with pytest.raises(BadInput, match=r"ply_data_train1\.h5: cannot be read as HDF5"):
            reader.read(shape, [])
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["face\t0"], "line 1: names 0 as category 0, expected 02691156 (Airplane)"),
        (["Airplane\t02691156"], "line 2: names nothing as category 1"),
        ([f"{c.name}\t{c.directory}" for c in SHAPENET_CATEGORIES] + ["Face 9"], "17 categories"),
    ],
)
def test_another_order_of_categories_is_refused(source, lines, words):
    (source / "all_object_categories.txt").write_text("\n".join(lines))
    with pytest.raises(BadInput) as error:
        open_reader(str(source), DataSettings())
    assert error.value.code == "other_categories"
    assert words in str(error.value)


def test_the_categories_file_may_be_missing(source):
    (source / "all_object_categories.txt").unlink()
    assert len(list_all(source)[1].shapes) == 4


def test_a_changed_file_changes_the_stamp(source):
    before = list_all(source)[1].stamp
    (source / "ply_data_val0.h5").write_bytes(hdf5(clouds([AIRPLANE, AIRPLANE])))
    assert list_all(source)[1].stamp != before


class OneFile:
    """A source with a single HDF5 file, in memory."""

    source = "made up"

    def __init__(self, content):
        self.content = content

    def entries(self, folder):
        return [file_tree.Entry("ply_data_train0.h5", False, len(self.content), 0)]

    def read(self, name, limit=None):
        return self.content


@given(
    st.integers(1, 4).flatmap(
        lambda shapes: st.tuples(
            st.lists(st.sampled_from(sorted(FIRST)), min_size=shapes, max_size=shapes),
            st.integers(1, 4),
            st.integers(0, 99),
        )
    ),
    st.sampled_from(["f2", "f4", ">f8"]),
    st.sampled_from(["u1", "i2", ">i8"]),
)
@settings(max_examples=25)
def test_any_shapes_come_back(how, floats, integers):
    labels, points, seed = how
    datasets = clouds(labels, points, seed)
    datasets["data"] = datasets["data"].astype(floats)
    datasets["pid"] = datasets["pid"].astype(integers)
    reader = benchmark_hdf5.BenchmarkHdf5(OneFile(hdf5(datasets)), "", DataSettings())
    listing = reader.list_shapes(reader.categories)
    assert sorted(int(s.name[-5:]) for s in listing.shapes) == list(range(len(labels)))
    for shape in listing.shapes:
        row = int(shape.name[-5:])
        assert shape.category == SHAPENET_CATEGORIES[labels[row]].name
        record = reader.read(shape, [])
        np.testing.assert_array_equal(record.points, datasets["data"][row].astype(np.float32))
        assert record.labels.tolist() == [i % 3 for i in range(points)]


FUZZED = hdf5(GOOD, compression="gzip")


@given(
    st.lists(
        st.tuples(st.integers(0, len(FUZZED) - 1), st.binary(min_size=1, max_size=4)), max_size=4
    ),
    st.integers(0, len(FUZZED)),
)
@settings(max_examples=150)
def test_a_damaged_file_is_read_or_refused(changes, end):
    content = bytearray(FUZZED)
    for place, new in changes:
        content[place : place + len(new)] = new
    tree = OneFile(bytes(content[:end] if end % 4 == 0 else content))
    reader = benchmark_hdf5.BenchmarkHdf5(tree, "", DataSettings())
    try:
        shapes = reader.list_shapes(["Airplane", "Lamp"]).shapes
    except BadInput as error:
        assert error.file == "ply_data_train0.h5"
        return
    for shape in shapes:
        try:
            record = reader.read(shape, [])
        except BadInput as error:
            assert error.file == "ply_data_train0.h5"
            continue
        assert np.isfinite(record.points).all()
        assert set(record.labels.tolist()) <= set(range(4))
