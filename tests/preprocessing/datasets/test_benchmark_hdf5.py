"""The HDF5 form of the benchmark. All shapes here are made up."""

import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.datasets.benchmark_hdf5 import BenchmarkHdf5
from preprocessing.datasets.files import Files
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES
from schema.errors import UserError

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
    train = {"train0": [AIRPLANE, LAMP], "train1": [AIRPLANE]}
    for seed, (name, labels) in enumerate({**train, "val0": [AIRPLANE], "test0": [0]}.items()):
        content = hdf5(clouds(labels, seed=seed), compression="gzip")
        (folder / f"ply_data_{name}.h5").write_bytes(content)
    return folder


def test_shapes_are_named_after_file_and_row_and_split_by_file(source, load):
    data = load(source, "Airplane")
    assert data.reader.layout == "benchmark_hdf5"
    assert [(s.name, s.split, s.size) for s in data.listing.shapes] == [
        ("ply_data_test0-00000", "test", 65),
        ("ply_data_train0-00000", "train", 65),
        ("ply_data_train1-00000", "train", 65),
        ("ply_data_val0-00000", "val", 65),
    ]
    assert data.findings == []


def test_clouds_are_rows_with_parts_counted_from_the_categorys_first(source, load):
    data = load(source, "Lamp")
    (cloud,) = data.clouds.values()
    assert cloud.shape_id == "ply_data_train0-00001"
    np.testing.assert_array_equal(cloud.points, clouds([AIRPLANE, LAMP])["data"][1])
    assert cloud.labels.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("how", "labels"),
    [("auto", [0, 1, 2, 3, 3]), ("part", [0, 1, 2, 3, 3]), ("ignore", [0, 1, 2, -1, -1])],
)
def test_unannotated_as_in_the_other_layouts(source, load, how, labels):
    content = clouds([CAR, LAMP])
    content["pid"][0] = [8, 9, 10, 11, 11]
    content["pid"][1] = [24, 25, 26, 27, 27]
    (source / "ply_data_train0.h5").write_bytes(hdf5(content))
    for category, row in (("Car", 0), ("Lamp", 1)):
        assert load(source, category, unannotated=how).labels(f"ply_data_train0-{row:05}") == labels


def test_reads_as_the_text_layout_does(source, tmp_path, write, load):
    """The oracle: the same shapes as text with normals, read by another reader."""
    text = tmp_path / "text"
    datasets = clouds([AIRPLANE, LAMP])
    for index, number in enumerate((AIRPLANE, LAMP)):
        rows = zip(datasets["data"][index].tolist(), datasets["pid"][index].tolist(), strict=True)
        lines = "".join(f"{x} {y} {z} 0 0 1 {p}\n" for (x, y, z), p in rows)
        write(text / SHAPENET_CATEGORIES[number].directory / f"{index}.txt", lines)
    (text / "synsetoffset2category.txt").write_text("")
    expected = load(text)
    assert expected.reader.layout == "benchmark_normal"
    found = load(source)
    for index in range(2):
        cloud = found.clouds[f"ply_data_train0-{index:05}"]
        np.testing.assert_array_equal(cloud.points, expected.clouds[str(index)].points)
        np.testing.assert_array_equal(cloud.labels, expected.clouds[str(index)].labels)


def test_a_file_is_unpacked_once_also_if_it_is_damaged(source, monkeypatch):
    file = source / "ply_data_train1.h5"
    datasets = clouds([AIRPLANE, AIRPLANE], points=500)
    content = bytearray(hdf5(datasets, compression="gzip", fletcher32=True, chunks=True))
    place = len(content) // 2
    content[place : place + 64] = bytes(64)
    file.write_bytes(content)
    reader = open_reader(str(source), DataSettings())
    shapes = reader.list_shapes(["Airplane"]).shapes
    reads = []
    read = Files.read
    monkeypatch.setattr(Files, "read", lambda files, name: reads.append(name) or read(files, name))
    errors = []
    for shape in [*shapes, *shapes]:
        try:
            reader.read(shape, [])
        except UserError as error:
            errors.append((error.code, error.file))
    assert errors == [("damaged_hdf5", "ply_data_train1.h5")] * 4
    assert len(reads) == 4


def test_threads_share_the_unpacked_files(tmp_path, load):
    for number in range(16):
        content = hdf5(clouds([AIRPLANE] * 4, seed=number))
        (tmp_path / f"ply_data_train{number}.h5").write_bytes(content)
    data = load(tmp_path, "Airplane")
    shapes = data.listing.shapes * 8
    reader = open_reader(str(tmp_path), DataSettings())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda shape: reader.read(shape, []), shapes))
    for shape, cloud in zip(shapes, found, strict=True):
        np.testing.assert_array_equal(cloud.points, data.clouds[shape.name].points)


@pytest.mark.parametrize(
    ("name", "row", "code"),
    [
        ("data", np.nan, "not_finite"),
        ("data", np.inf, "not_finite"),
        ("pid", 4, "unknown_label"),
    ],
)
def test_one_bad_row_leaves_out_only_that_shape(source, load, name, row, code):
    content = clouds([AIRPLANE, AIRPLANE])
    content[name][1, 2] = row
    (source / "ply_data_train0.h5").write_bytes(hdf5(content))
    data = load(source, "Airplane")
    assert data.labels("ply_data_train0-00000") == [0, 1, 2, 0, 1]
    error = data.clouds["ply_data_train0-00001"]
    assert (error.code, error.file) == (code, "ply_data_train0.h5")
    assert "row 1" in error.message
    assert "point 3" in error.message


def test_an_unknown_category_leaves_out_only_that_shape(source, load):
    content = clouds([AIRPLANE, AIRPLANE])
    content["label"][1] = 16
    (source / "ply_data_train0.h5").write_bytes(hdf5(content))
    data = load(source, "Airplane")
    assert len(data.clouds) == 4
    (finding,) = data.findings
    assert (finding.code, finding.shape) == ("unknown_category", "ply_data_train0-00001")
    assert finding.left_out
    assert "label is 16, expected 0 to 15" in finding.message


def test_categories_without_shapes(source, load, refusal):
    missing = [f.category for f in load(source).findings if f.code == "no_shapes"]
    assert len(missing) == 14
    assert refusal(source, "Table").code == "no_shapes"


GOOD = clouds([AIRPLANE, LAMP])


def without(name):
    return {key: values for key, values in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("content", "code", "fact"),
    [
        (b"", "damaged_hdf5", ""),
        (hdf5({}), "no_dataset", "data missing"),
        (hdf5(without("pid")), "no_dataset", "pid missing"),
        (hdf5(GOOD | {"pid": GOOD["pid"][:, :4]}), "wrong_dataset", "pid integer [2, 4]"),
        (hdf5(GOOD | {"label": GOOD["label"][:1]}), "wrong_dataset", "label integer [1, 1]"),
        (hdf5(GOOD | {"data": GOOD["data"][..., :2]}), "wrong_dataset", "data float [2, 5, 2]"),
        (hdf5(GOOD | {"data": 1.5}), "wrong_dataset", "data float []"),
        (hdf5(GOOD | {"pid": GOOD["data"][..., 0]}), "wrong_dataset", "pid float"),
        (hdf5(GOOD | {"label": ["a", "b"]}), "wrong_dataset", "label object"),
        (hdf5(GOOD | {"pid": h5py.Empty("u1")}), "wrong_dataset", "pid integer []"),
        (hdf5(without("pid") | {"pid/x": GOOD["pid"]}), "wrong_dataset", "pid group"),
        (hdf5(without("pid") | {"pid": h5py.SoftLink("/none")}), "damaged_hdf5", ""),
    ],
)
def test_a_bad_file_is_one_clear_error(source, refusal, content, code, fact):
    (source / "ply_data_train0.h5").write_bytes(content)
    error = refusal(source)
    assert (error.code, error.file) == (code, "ply_data_train0.h5")
    assert fact in error.message


def test_a_file_shorter_than_its_numbers(source, refusal):
    with h5py.File(source / "ply_data_train0.h5", "w") as opened:
        opened.create_dataset("data", (2**30, 2048, 3), "f4", chunks=(1, 1, 3))
        opened.create_dataset("label", (2**30, 1), "u1", chunks=(1, 1))
        opened.create_dataset("pid", (2**30, 2048), "u1", chunks=(1, 1))
    assert refusal(source).code == "damaged_hdf5"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["face\t0"], 1),
        (["Airplane\t02691156"], 2),
        ([f"{c.name}\t{c.directory}" for c in SHAPENET_CATEGORIES] + ["Face 9"], 17),
    ],
)
def test_another_order_of_categories_is_refused(source, refusal, lines, line):
    file = "all_object_categories.txt"
    (source / file).write_text("\n".join(lines))
    error = refusal(source)
    assert (error.code, error.file, error.line) == ("other_categories", file, line)


FUZZED = hdf5(GOOD, compression="gzip")


@given(
    st.lists(
        st.tuples(st.integers(0, len(FUZZED) - 1), st.binary(min_size=1, max_size=4)), max_size=4
    ),
    st.integers(0, len(FUZZED)),
)
@settings(max_examples=100)
def test_a_damaged_file_is_read_or_refused(changes, end):
    content = bytearray(FUZZED)
    for place, new in changes:
        content[place : place + len(new)] = new
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ply_data_train0.h5").write_bytes(content[:end] if end % 4 == 0 else content)
        reader = BenchmarkHdf5(Files(folder), DataSettings())
        try:
            for shape in reader.list_shapes(["Airplane", "Lamp"]).shapes:
                cloud = reader.read(shape, [])
                assert np.isfinite(cloud.points).all()
                assert set(cloud.labels.tolist()) <= set(range(4))
        except UserError as error:
            assert error.code == "no_shapes" or error.file == "ply_data_train0.h5"
