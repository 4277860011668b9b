"""What a survey counts, on sources small enough to count by hand."""

import dataclasses
import os
import shutil
import zipfile

import numpy as np
import pytest

from components.cloud_validator.checks import Place, RawCloud, examine
from components.data_inspection.sources import open_source
from components.data_inspection.survey import evenly_spread, take_survey
from components.settings import ValidationSettings
from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import Manifest
from preprocessing.datasets.demo import make_demo_shapes
from preprocessing.settings import DataSettings
from schema.errors import UserError
from schema.record import Cloud

TOOLS = DataSettings(category="Tool")
CHECKS = ValidationSettings()


def surveyed(path, settings=TOOLS, checks=CHECKS, pictures=3, limit=None):
    return take_survey(open_source(str(path), settings), checks, pictures, limit)


def codes(survey):
    return [(f.consequence, f.code, f.shape_id) for f in survey.findings]


def pictured(category):
    return [(k.shape_id, k.split, k.points.tobytes(), k.labels.tobytes()) for k in category.kept]


def cloud(name, points=8, category="Airplane", seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(points) % 2
    return Cloud(name, category, rng.normal(size=(points, 3)).astype(np.float32), labels)


def test_counts_by_hand(ten_tools):
    survey = surveyed(ten_tools.root)
    (tool,) = survey.categories
    assert survey.form == "raw shapes, layout part_annotation"
    assert survey.splits == ("train", "val", "test", "unlabelled")
    assert tool.clouds == {"train": 7, "val": 1, "test": 2, "unlabelled": 1}
    assert (survey.total, survey.read, survey.refused) == (11, 11, 0)
    # Tools 0 to 7 have 17 to 24 points, tools 8 and 9 have 20 and 21, the unlabelled cloud 30.
    assert (tool.fewest, tool.median, tool.most) == (17, 21, 30)
    # 10 + ... + 19 of the head, 8 times 5 of the handle, 10 times 2 of none.
    head, handle = tool.parts
    assert (head.points, handle.points, tool.unannotated, tool.points) == (145, 40, 20, 205)
    assert head.share == 145 / 205
    assert tool.unannotated_share == 20 / 205
    assert sum(head.clouds.values()) == 10
    assert sum(handle.clouds.values()) == 8
    assert head.clouds["unlabelled"] == 0
    sizes = [size for split in survey.splits for size in survey.sizes[split]]
    assert sorted(sizes) == [17, 18, 19, 20, 20, 21, 21, 22, 23, 24, 30]
    assert survey.findings == () and survey.stops == ()


def test_raw_folder_zip_and_converted_records_give_the_same_table(ten_tools, tmp_path):
    for i in range(4):
        ten_tools.cup(f"cup{i}", 30 + i)
    ten_tools.file("cups/points/broken.pts", "1 2 3\n1 2\n")
    ten_tools.file("cups/points_label/body/broken.seg", "1\n1\n")
    everything = DataSettings(category="all")
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        for path in sorted(ten_tools.root.rglob("*")):
            archive.write(path, path.relative_to(ten_tools.root))
    convert(str(ten_tools.root), str(tmp_path / "data"), everything)

    raw, packed, converted = (
        surveyed(tmp_path / name, everything) for name in ("source", "source.zip", "data")
    )
    (broken,) = (f for f in raw.findings if f.consequence == "left out")
    assert (broken.shape_id, broken.place) == ("broken", "cups/points/broken.pts, line 2")
    assert packed.findings == raw.findings == converted.findings
    assert (raw.total, raw.read) == (16, 15)
    assert converted.total == 15
    assert converted.form.startswith("TFRecords converted from ")
    assert converted.notes == (
        "4 of 4 record files match manifest.json (size, SHA-256, number of records).",
    )
    for other in (packed, converted):
        assert other.sizes == raw.sizes
        for mine, theirs in zip(raw.categories, other.categories, strict=True):
            assert pictured(mine) == pictured(theirs)
            assert dataclasses.replace(mine, kept=()) == dataclasses.replace(theirs, kept=())


def test_findings_are_those_of_the_checks(ten_tools):
    ten_tools.file("tools/points/dot.pts", "1 1 1\n" * 5)
    ten_tools.file("tools/points_label/head/dot.seg", "1\n" * 5)
    ten_tools.tool("small", 2, 1)
    survey = surveyed(ten_tools.root, checks=ValidationSettings(quarantine_share=0.5))
    refused = {f.shape_id: f for f in survey.findings if f.consequence == "refused"}
    assert {name: f.code for name, f in refused.items()} == {
        "dot": "ZERO_RADIUS",
        "small": "TOO_FEW_POINTS",
    }
    points = np.ones(15, np.float32)
    known = {c.category.name: c.category for c in survey.categories}
    place = Place(refused["dot"].split, 0, 0)
    (expected,) = examine(
        RawCloud("dot", "Tool", points, np.zeros(5, np.int64)), place, CHECKS, known
    ).findings
    assert refused["dot"].sentence == expected.sentence
    assert (survey.read, survey.refused) == (13, 2)
    assert survey.categories[0].refused == 2
    assert survey.categories[0].fewest == 17  # refused clouds count nowhere else


def test_leaks_between_splits_are_found_in_records(tmp_path, write_records):
    one, other = cloud("one", seed=1), cloud("other", seed=2)
    renamed = dataclasses.replace(one, shape_id="renamed", points=one.points[::-1])
    write_records(tmp_path / "Split-train/a.gz", other, other, renamed, b"\xff\xff")
    write_records(tmp_path / "Split-test/a.gz", one)
    survey = surveyed(
        tmp_path, DataSettings(category="all"), ValidationSettings(quarantine_share=1)
    )
    assert survey.form == "a pipeline's Examples"
    assert [finding[:2] for finding in codes(survey) if finding[0] == "refused"] == [
        ("refused", "GEOMETRY_IN_TWO_SPLITS"),
        ("refused", "SHAPE_TWICE"),
        ("refused", "UNREADABLE"),
    ]
    # Of ShapeNet's table, which stands in for a manifest, only what was seen.
    assert [found.category.name for found in survey.categories] == ["Airplane"]
    assert survey.categories[0].clouds == {"train": 1, "test": 1}
    assert survey.refused == 3


def test_what_would_stop_a_run_is_said(ten_tools):
    ten_tools.file("tools/points/broken.pts", "1 2\n")
    ten_tools.file("tools/points/broken2.pts", "x\n")
    survey = surveyed(ten_tools.root)
    (stop,) = survey.stops
    assert "2 of 13 shapes" in stop and "10%" in stop
    (stop,) = surveyed(ten_tools.root, checks=ValidationSettings(minimum_points=18)).stops[1:]
    assert "more than the 10% of a split that quarantine_share allows (1 TOO_FEW_POINTS" in stop


def own_clouds(root, names, unreadable):
    """Clouds of one's own; those named in `unreadable` have a word for a number."""
    (root / "Chair").mkdir(parents=True)
    (root / "clouds.yaml").write_text("categories:\n  Chair: [back, seat]\n")
    for number, name in enumerate(names):
        rows = [f"{i} {number} {i * i % 7} {i % 2}\n" for i in range(20)]
        if name in unreadable:
            rows[3] = "x 1 2 0\n"
        (root / "Chair" / f"{name}.txt").write_text("x y z label\n" + "".join(rows))


def test_splits_are_those_of_a_conversion_that_had_to_plan_again(tmp_path):
    settings = DataSettings(category="Chair", max_bad_share=0.9)
    names = [f"chair{i:02}" for i in range(12)]
    own_clouds(tmp_path / "sound", names, ())
    at_first = open_source(str(tmp_path / "sound"), settings)
    held_out = [
        s.cloud.shape_id for s in at_first.clouds(lambda _: True) if s.place.split != "train"
    ]
    unreadable = [*held_out, *(name for name in names if name not in held_out)][:5]
    assert len(held_out) <= 5  # so that val and test are empty at first
    own_clouds(tmp_path / "source", names, unreadable)

    survey = surveyed(tmp_path / "source", settings)
    manifest = convert(str(tmp_path / "source"), str(tmp_path / "data"), settings)
    (chair,) = survey.categories
    assert chair.clouds == {split: manifest.shapes(split) for split in ("train", "val", "test")}
    assert sum(chair.clouds.values()) == survey.read == 7
    assert (survey.total, survey.unreadable) == (12, {"Chair": 5})
    assert [f.shape_id for f in survey.findings if f.consequence == "left out"] == sorted(
        unreadable
    )
    assert pictured(chair) == pictured(surveyed(tmp_path / "data", settings).categories[0])
    assert len(survey.notes) == 2


def test_a_split_that_is_left_empty_is_said(tmp_path, write_records):
    write_records(tmp_path / "Split-train/a.gz", cloud("a"))
    write_records(tmp_path / "Split-val/a.gz", cloud("b", points=1))
    assert surveyed(tmp_path, DataSettings(category="all")).notes[1:] == (
        "No cloud is left in val.",
    )


def test_too_few_shapes_to_split_are_shown_all_the_same(shapes):
    shapes.tool("a", 5, 5)
    shapes.unlabelled("b", 6)
    survey = surveyed(shapes.root)
    assert survey.categories[0].clouds == {"unlabelled": 1, "unsplit": 1}
    assert [stop[:22] for stop in survey.stops] == ["found 1 labelled shape"]


def test_unlabelled_shapes_alone(shapes):
    for i in range(4):
        shapes.unlabelled(f"shape{i}", 6 + i)
    survey = surveyed(shapes.root)
    (tool,) = survey.categories
    assert (tool.points, tool.unannotated, tool.unannotated_share) == (0, 0, 0.0)
    assert tool.clouds == {"unlabelled": 4}
    assert all((kept.labels == -1).all() for kept in tool.kept)


def test_a_source_without_shapes(shapes):
    with pytest.raises(UserError) as raised:
        surveyed(shapes.root)
    assert raised.value.code == "no_shapes"


@pytest.fixture
def converted(ten_tools, tmp_path):
    settings = DataSettings(category="Tool", shard_megabytes=0.001)
    convert(str(ten_tools.root), str(tmp_path / "data"), settings)
    return tmp_path / "data"


def test_damaged_and_changed_record_files(converted, write_records):
    first, second, third, *_ = sorted(converted.glob("*/train/*.gz"))
    folder = f"{Manifest.load(converted).version}/train"
    content = first.read_bytes()
    first.write_bytes(content[: len(content) // 2])
    write_records(second, cloud("other", category="Tool"))
    third.unlink()
    write_records(converted / folder / "mine.tfrecord.gz", cloud("stray", category="Tool", seed=3))
    survey = surveyed(converted)
    found = {f.code: f for f in survey.findings if f.code.islower()}
    assert {code: (f.consequence, f.place) for code, f in found.items()} == {
        "damaged_record_file": ("left out", f"{folder}/{first.name}"),
        "changed_file": ("warning", f"{folder}/{second.name}"),
        "no_file": ("left out", f"{folder}/{third.name}"),
        "unlisted_file": ("warning", f"{folder}/mine.tfrecord.gz"),
    }
    assert survey.categories[0].clouds["test"] == 2  # what is whole is shown
    files = len(list(converted.glob("*/*/part-*"))) + 1
    assert survey.notes[0].startswith(f"{files - 3} of {files} record files match")


def test_one_record_file_takes_its_parts_from_the_manifest(converted, tmp_path_factory):
    (file,) = converted.glob("*/val/*.gz")
    survey = surveyed(file)
    assert survey.splits == ("val",)
    assert [part.name for part in survey.categories[0].parts] == ["head", "handle"]
    assert survey.notes[1].startswith("1 of 1 record file matches")
    # Elsewhere nobody says what its parts are.
    alone = tmp_path_factory.mktemp("elsewhere") / "a.tfrecord.gz"
    shutil.copy(file, alone)
    survey = surveyed(alone, DataSettings(category="all"))
    assert [f.code for f in survey.findings] == ["UNKNOWN_CATEGORY"]
    assert survey.splits == ("unsplit",)


def test_one_record_file_has_no_categories_but_its_own(ten_tools, tmp_path):
    ten_tools.cup("cup", 30)
    settings = DataSettings(category="all", shard_megabytes=0.0001)
    convert(str(ten_tools.root), str(tmp_path / "data"), settings)
    file = min((tmp_path / "data").glob("*/train/*.gz"))
    survey = surveyed(file, settings)
    assert len(survey.categories) == 1
    assert "MISSING_CATEGORY" not in {f.code for f in survey.findings}


def test_a_category_of_records(tmp_path, write_records):
    write_records(tmp_path / "Split-train/a.gz", cloud("a"), cloud("b", category="Mug", seed=1))
    survey = surveyed(tmp_path, DataSettings(category="mug"))
    assert survey.sizes == {"train": [8]}
    with pytest.raises(UserError, match="Bird"):
        surveyed(tmp_path, DataSettings(category="Bird"))


def test_a_limit_looks_at_evenly_spread_shapes(ten_tools):
    survey = surveyed(ten_tools.root, limit=4)
    assert (survey.total, survey.looked_at, survey.read) == (11, 4, 4)
    assert sum(survey.clouds(split) for split in survey.splits) == 4


@pytest.mark.parametrize(("total", "limit"), [(11, 4), (7, 7), (3, 9), (100, 1), (97, 13)])
def test_evenly_spread(total, limit):
    wanted = evenly_spread(total, limit)
    chosen = [number for number in range(total) if wanted(number)]
    assert len(chosen) == min(total, limit)
    gaps = np.diff([*chosen, total])
    assert gaps.max() - gaps.min() <= 1


def test_made_up_shapes_are_told(tmp_path):
    make_demo_shapes(tmp_path / "demo", 3, ["Mug"])
    assert surveyed(tmp_path / "demo", DataSettings(category="all")).made_up == ("Mug",)


def test_large_clouds_are_thinned_only_for_the_picture(shapes):
    for i in range(3):
        shapes.tool(f"a{i}", 50_001, 0)
    (tool,) = surveyed(shapes.root, pictures=1).categories
    (kept,) = tool.kept
    assert (tool.most, kept.size, len(kept.points)) == (50_001, 50_001, 16_667)


def test_the_real_clouds():
    folder = os.environ.get("POINTNET_REAL_DATA")
    if not folder:
        pytest.skip("POINTNET_REAL_DATA is not set: no real point clouds to test on")
    survey = surveyed(f"{folder}/PartAnnotation", DataSettings(category="Airplane"))
    (airplane,) = survey.categories
    assert sum(airplane.clouds.values()) == 20
    # Three of the twenty have an engine.
    assert {p.name: sum(p.clouds.values()) for p in airplane.parts}["engine"] == 3
    assert not airplane.made_up
