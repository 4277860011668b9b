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

from preprocessing.datasets.files import Files
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES
from schema.errors import UserError

AIRPLANE, LAMP = 0, 8
# The number of each of these categories' first part among all 50.
FIRST = {AIRPLANE: 0, LAMP: 24}
FILE = "ply_data_train0.h5"


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
            opened.create_dataset(name, data=values, **how)
    return file.getvalue()


@pytest.fixture
def source(tmp_path, write):
    """train0 with two shapes, train1, val0 and test0 with one each."""
    folder = tmp_path / "hdf5_data"
    names = "".join(f"{c.name}\t{c.directory}\n" for c in SHAPENET_CATEGORIES)
    write(folder / "all_object_categories.txt", names)
    files = {"train0": [AIRPLANE, LAMP], "train1": [AIRPLANE], "val0": [AIRPLANE], "test0": [0]}
    for seed, (name, labels) in enumerate(files.items()):
        content = hdf5(clouds(labels, seed=seed), compression="gzip")
        write(folder / f"ply_data_{name}.h5", content)
    return folder


def test_shapes_are_rows_split_by_file(source, load):
    data = load(source, "Airplane")
    assert data.reader.layout == "benchmark_hdf5"
    splits = {"test0": "test", "train0": "train", "train1": "train", "val0": "val"}
    expected = [(f"ply_data_{file}-00000", split) for file, split in splits.items()]
    assert [(s.name, s.split) for s in data.listing.shapes] == expected
    assert data.listing.shapes[1].size == (source / FILE).stat().st_size // 2
    assert data.findings == []
    assert [f.code for f in load(source).findings] == ["no_shapes"] * 14
    (cloud,) = load(source, "Lamp").clouds.values()
    assert cloud.shape_id == "ply_data_train0-00001"
    np.testing.assert_array_equal(cloud.points, clouds([AIRPLANE, LAMP])["data"][1])
    assert cloud.labels.tolist() == [0, 1, 2, 0, 1]


def test_a_file_is_unpacked_once_unless_it_is_damaged(source, monkeypatch):
    datasets = clouds([AIRPLANE, AIRPLANE], points=500)
    content = bytearray(hdf5(datasets, compression="gzip", fletcher32=True, chunks=True))
    place = len(content) // 2
    content[place : place + 64] = bytes(64)
    (source / FILE).write_bytes(content)
    reader = open_reader(str(source), DataSettings())
    shapes = reader.list_shapes(["Airplane"]).shapes
    reads, errors = [], []
    read = Files.read
    monkeypatch.setattr(Files, "read", lambda files, name: reads.append(name) or read(files, name))
    for shape in [*shapes, *shapes]:
        try:
            reader.read(shape, [])
        except UserError as error:
            errors.append((error.code, error.file))
    assert errors == [("damaged_hdf5", FILE)] * 4
    assert len(set(reads)) == 4
    assert len(reads) - reads.count(FILE) == 3


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
    ("name", "value", "code"),
    [("data", np.nan, "not_finite"), ("data", np.inf, "not_finite"), ("pid", 4, "unknown_label")],
)
def test_one_bad_row_leaves_out_only_that_shape(source, load, name, value, code):
    content = clouds([AIRPLANE, AIRPLANE])
    content[name][1, 2] = value
    (source / FILE).write_bytes(hdf5(content))
    data = load(source, "Airplane")
    assert data.labels("ply_data_train0-00000") == [0, 1, 2, 0, 1]
    error = data.clouds["ply_data_train0-00001"]
    assert (error.code, error.file) == (code, FILE)
    assert "row 1, point 2 (from 0)" in error.message


GOOD = clouds([AIRPLANE, LAMP])
NO_PID = {key: values for key, values in GOOD.items() if key != "pid"}


@pytest.mark.parametrize(
    ("content", "code", "fact"),
    [
        (b"", "damaged_hdf5", ""),
        (hdf5(NO_PID | {"normal": GOOD["data"]}), "wrong_dataset", "normal"),
        (hdf5(GOOD | {"pid": GOOD["pid"][:, :4]}), "wrong_dataset", "(2, 4)"),
        (hdf5(GOOD | {"label": GOOD["label"][:1]}), "wrong_dataset", "(1, 1)"),
        (hdf5(GOOD | {"data": GOOD["data"][..., :2]}), "wrong_dataset", "(2, 5, 2)"),
        (hdf5(GOOD | {"data": GOOD["data"][0], "pid": np.zeros(5, int)}), "wrong_dataset", "(5,)"),
        (hdf5(clouds([AIRPLANE], points=0)), "wrong_dataset", "(1, 0, 3)"),
        (hdf5(GOOD | {"pid": GOOD["data"][..., 0]}), "wrong_dataset", "<f4"),
        (hdf5(GOOD | {"pid": h5py.Empty("u1")}), "damaged_hdf5", ""),
        (hdf5(GOOD | {"label": GOOD["label"] + 8}), "unknown_category", "row 1 of label (from 0)"),
    ],
)
def test_a_bad_file_is_one_clear_error(source, refusal, content, code, fact):
    (source / FILE).write_bytes(content)
    error = refusal(source)
    assert (error.code, error.file) == (code, FILE)
    assert fact in error.message


@pytest.mark.parametrize(("end", "line"), [(1, 2), (16, 17)])
def test_another_order_of_categories_is_refused(source, refusal, end, line):
    file = "all_object_categories.txt"
    lines = [f"{c.name}\t{c.directory}" for c in SHAPENET_CATEGORIES]
    (source / file).write_text("\n".join([*lines[:end], "Face 9"]))
    error = refusal(source)
    assert (error.code, error.file, error.line) == ("other_categories", file, line)


FUZZED = hdf5(GOOD, compression="gzip")
CHANGE = st.tuples(st.integers(0, len(FUZZED) - 1), st.binary(min_size=1, max_size=4))


@given(st.lists(CHANGE, max_size=4), st.integers(0, len(FUZZED)))
@settings(max_examples=100)
def test_a_damaged_file_is_read_or_refused(changes, end):
    content = bytearray(FUZZED)
    for place, new in changes:
        content[place : place + len(new)] = new
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, FILE).write_bytes(content[:end] if end % 4 == 0 else content)
        reader = open_reader(folder, DataSettings())
        try:
            for shape in reader.list_shapes(["Airplane", "Lamp"]).shapes:
                cloud = reader.read(shape, [])
                assert np.isfinite(cloud.points).all()
                assert set(cloud.labels.tolist()) <= set(range(4))
        except UserError as error:
            assert error.code == "no_shapes" or error.file == FILE
