import hashlib
from pathlib import Path

import numpy as np
import pytest

from preprocessing.datasets import demo
from preprocessing.datasets.demo import is_made_up, make_demo_shapes
from preprocessing.datasets.demo_categories import DEMO_CATEGORIES, demo_cloud
from schema.categories import SHAPENET_CATEGORIES
from schema.errors import UserError

OTHER_SETTINGS = {"categories": ["Mug", "Chair"], "seed": 3, "points": (50, 80)}


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def refusal(*arguments):
    with pytest.raises(UserError) as error:
        make_demo_shapes(*arguments)
    return error.value


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "b64fdd9c62a465563832a5e2c40e54fcb05b152baee3184de8f90003e9c8eeee"),
        (OTHER_SETTINGS, "f9bf40491b4599dffc0fa5316f7d5a233dc463aa7d5b997295ef23332fe7b4df"),
    ],
)
def test_the_same_bytes_in_every_release(tmp_path, settings, expected):
    files = contents(make_demo_shapes(tmp_path / "demo", 2, **settings))
    del files[demo.STAMP]
    digest = hashlib.sha256()
    for name in sorted(files, key=lambda name: name.split("/")):
        digest.update(f"{name}\n".encode() + files[name])
    assert digest.hexdigest() == expected


def test_reads_as_part_annotation(tmp_path, load):
    data = load(make_demo_shapes(tmp_path / "demo", 3))
    assert list(data.reader.categories) == list(DEMO_CATEGORIES)
    assert len(data.clouds) == 15
    for name, cloud in data.clouds.items():
        points, labels = demo_cloud(cloud.category, int(name.rsplit("_", 1)[1]))
        np.testing.assert_allclose(cloud.points, points, atol=6e-6)
        np.testing.assert_array_equal(cloud.labels, labels)
    assert not data.findings
    assert all(is_made_up(category) for category in data.reader.categories.values())
    assert not any(is_made_up(category) for category in SHAPENET_CATEGORIES)


def test_same_request_is_left_and_another_replaced(tmp_path):
    folder = make_demo_shapes(tmp_path / "demo", 2, ["Mug", "Lamp"])
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    make_demo_shapes(folder, 2, ["Mug", "Lamp"])
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    points = folder / "made_up_mug" / "points" / "mug_00000.pts"
    content = points.read_bytes()
    points.unlink()
    make_demo_shapes(folder, 2, ["Mug", "Lamp"])
    assert points.read_bytes() == content
    make_demo_shapes(folder, 1, ["Mug"])
    assert contents(folder) == contents(make_demo_shapes(tmp_path / "fresh", 1, ["Mug"]))
    # Another seed gives other ids.
    assert "made_up_mug/points/mug_3_00000.pts" in contents(make_demo_shapes(folder, 1, seed=3))


FOREIGN = ["letter.txt", "made_up.json", "made_up_mug/points/mug_00001.pts", ".hidden"]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_files_are_kept(tmp_path, foreign):
    for folder in (tmp_path / "mine", make_demo_shapes(tmp_path / "demo", 1, ["Mug"])):
        file = folder / foreign
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"audio": []}')
        before = contents(folder)
        if folder.name == "mine" or foreign in FOREIGN[1:3]:
            # Not even the second time.
            for _ in range(2):
                error = refusal(folder, 2, ["Mug"])
                assert error.code == "not_ours"
                assert str(folder) in error.message
                assert contents(folder) == before
        else:
            make_demo_shapes(folder, 2, ["Mug"])
            assert file.read_text() == '{"audio": []}'


@pytest.mark.parametrize("written", range(9))
def test_an_interrupted_run_can_be_repeated(tmp_path, monkeypatch, written):
    expected = contents(make_demo_shapes(tmp_path / "expected", 2, ["Mug"]))
    folder = make_demo_shapes(tmp_path / "demo", 1, ["Lamp"])
    write, left = Path.write_bytes, [written]

    def interrupted(path, content):
        left[0] -= 1
        if left[0] < 0:
            write(path, content[: len(content) // 2])
            raise KeyboardInterrupt
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    try:
        make_demo_shapes(folder, 2, ["Mug"])
    except KeyboardInterrupt:
        monkeypatch.undo()
        make_demo_shapes(folder, 2, ["Mug"])
    assert contents(folder) == expected


def test_other_refusals(tmp_path):
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file", 1).code == "not_ours"
    assert refusal(tmp_path / "file" / "demo", 1).code == "cannot_write"
    assert refusal(tmp_path / "other", 1, ["Boat"]).code == "unknown_category"
    assert not (tmp_path / "other").exists()
