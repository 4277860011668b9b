import numpy as np
import pytest

from preprocessing.demo_shapes import DEMO_CATEGORIES, demo_cloud, make_demo_shapes
from preprocessing.findings import BadInput
from preprocessing.layout import chosen_categories
from preprocessing.layouts import open_reader
from preprocessing.settings import DataSettings


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_reads_as_part_annotation(tmp_path):
    folder = make_demo_shapes(tmp_path / "demo", 3)
    reader = open_reader(str(folder), DataSettings(category="all"))
    assert list(reader.categories) == list(DEMO_CATEGORIES)
    listing = reader.list_shapes(chosen_categories(reader.categories, "all"))
    assert len(listing.shapes) == 15
    findings = list(listing.findings)
    for shape in listing.shapes:
        record = reader.read(shape, findings)
        index = int(shape.name.rsplit("_", 1)[1])
        points, labels = demo_cloud(shape.category, index)
        np.testing.assert_allclose(record.points, points, atol=6e-6)
        np.testing.assert_array_equal(record.labels, labels)
    assert not findings


def test_same_seed_same_files_and_another_seed_other_files(tmp_path):
    first = files(make_demo_shapes(tmp_path / "a", 2, ["Lamp"], seed=3))
    assert files(make_demo_shapes(tmp_path / "b", 2, ["Lamp"], seed=3)) == first
    other = files(make_demo_shapes(tmp_path / "c", 2, ["Lamp"], seed=4))
    clouds = {content for path, content in first.items() if str(path).endswith(".pts")}
    assert clouds
    assert clouds.isdisjoint(other.values())
    # No id stands in two of them, so that they can be deliveries of one data set.
    assert {p for p in first if str(p).endswith(".pts")}.isdisjoint(other)


def test_a_shape_does_not_depend_on_how_many_are_made():
    np.testing.assert_array_equal(demo_cloud("Chair", 7)[0], demo_cloud("Chair", 7)[0])
    assert demo_cloud("Chair", 7)[0].shape != demo_cloud("Chair", 8)[0].shape


@pytest.mark.parametrize("category", DEMO_CATEGORIES)
def test_what_is_promised(category):
    parts = DEMO_CATEGORIES[category].parts
    having = np.zeros(len(parts))
    for index in range(30):
        points, labels = demo_cloud(category, index)
        assert 1200 <= len(points) <= 3200
        assert np.isfinite(points).all()
        assert labels.shape == (len(points),)
        assert set(labels.tolist()) <= {-1, *range(len(parts))}
        assert 0 < (labels == -1).mean() <= 0.03
        having += [(labels == part).any() for part in range(len(parts))]
    assert (having > 0).all()
    if "engine" in parts:
        assert having[parts.index("engine")] < 30


@pytest.mark.parametrize("category", DEMO_CATEGORIES)
def test_no_single_coordinate_tells_the_parts(category):
    """The best threshold tree on one coordinate (20 bins, majority part) stays below 97 %."""
    clouds = [demo_cloud(category, index) for index in range(20)]
    labels = np.concatenate([labels for _, labels in clouds])
    for axis in range(3):
        values = np.concatenate(
            [(p[:, axis] - p[:, axis].mean()) / np.ptp(p[:, axis]) for p, _ in clouds]
        )
        bins = np.digitize(values, np.quantile(values, np.linspace(0, 1, 21)[1:-1]))
        right = sum(np.bincount(labels[bins == b] + 1)[1:].max(initial=0) for b in range(20))
        assert right / (labels >= 0).sum() < 0.97


def test_made_up_is_said_in_the_folder(tmp_path):
    folder = make_demo_shapes(tmp_path / "demo", 1, ["Mug"])
    assert "made up" in (folder / "README.txt").read_text()
    assert "made up" in (folder / "metadata.json").read_text()


def test_existing_folder(tmp_path):
    folder = make_demo_shapes(tmp_path / "demo", 1, ["Mug"])
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    make_demo_shapes(folder, 1, ["Mug"])
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    make_demo_shapes(folder, 2, ["Mug"])
    assert len(list((folder / "made_up_mug" / "points").iterdir())) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="not replaced"):
        make_demo_shapes(tmp_path / "mine", 1)
    with pytest.raises(BadInput, match="no made-up category 'Boat'; there are Airplane"):
        make_demo_shapes(tmp_path / "other", 1, ["Boat"])


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="demo cannot be written") as error:
        make_demo_shapes(tmp_path / "file" / "demo", 1)
    assert error.value.code == "cannot_write"


def test_the_number_of_points_can_be_chosen():
    assert demo_cloud("Mug", 0, points=(50, 50))[0].shape == (50, 3)
    with_own_size = demo_cloud("Mug", 0, points=(10, 20))[0]
    assert 10 <= len(with_own_size) <= 20
