"""What a survey counts, on sources small enough to count by hand."""

import dataclasses
import shutil
import zipfile

import numpy as np
import pytest

from preprocessing.checks.settings import ValidationSettings
from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import Manifest
from preprocessing.datasets.demo import make_demo_shapes
from preprocessing.settings import DataSettings
from reports.inspection.sources import open_source
from reports.inspection.survey import take_survey
from schema.record import Cloud

TOOLS = DataSettings(category="Tool")
EVERYTHING = DataSettings(category="all")
CHECKS = ValidationSettings()


def surveyed(path, settings=TOOLS, checks=CHECKS, pictures=3, limit=None):
    return take_survey(open_source(str(path), settings), checks, pictures, limit)


def clouds(survey):
    return {split: len(survey.sizes(split)) for split in survey.splits}


def cloud(name, points=8, category="Airplane", seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(points) % 2
    return Cloud(name, category, rng.normal(size=(points, 3)).astype(np.float32), labels)


def test_counts_by_hand(ten_tools):
    survey = surveyed(ten_tools.root)
    (tool,) = survey.categories
    assert survey.form == "raw shapes, layout part_annotation"
    assert clouds(survey) == {"train": 7, "val": 1, "test": 2, "unlabelled": 1}
    assert (survey.total, survey.looked_at, survey.read, survey.refused) == (11, 11, 11, 0)
    # Tools 0 to 7 have 17 to 24 points, tools 8 and 9 have 20 and 21, the unlabelled cloud 30.
    sizes = sorted(size for split in survey.splits for size in survey.sizes(split))
    assert sizes == [17, 18, 19, 20, 20, 21, 21, 22, 23, 24, 30]
    assert tool.points == "17 / 21 / 30"
    # 10 + ... + 19 of the head, 8 times 5 of the handle, 10 times 2 of none.
    head, handle, rest = tool.parts
    assert (head.points, handle.points, rest.points) == (145, 40, 20)
    assert (head.share, rest.share, rest.name) == (145 / 205, 20 / 205, "unannotated")
    assert (sum(head.clouds.values()), sum(handle.clouds.values())) == (10, 8)
    assert survey.findings == {} and survey.stops == []


def test_raw_folder_zip_and_converted_records_give_the_same_survey(ten_tools, tmp_path):
    for i in range(4):
        ten_tools.cup(f"cup{i}", 30 + i)
    ten_tools.file("cups/points/broken.pts", "1 2 3\n1 2\n")
    ten_tools.file("cups/points_label/body/broken.seg", "1\n1\n")
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        for path in sorted(ten_tools.root.rglob("*")):
            archive.write(path, path.relative_to(ten_tools.root))
    convert(str(ten_tools.root), str(tmp_path / "data"), EVERYTHING)
    names = "source", "source.zip", "data"
    raw, packed, converted = (surveyed(tmp_path / name, EVERYTHING) for name in names)
    ((consequence, _),) = raw.findings
    ((text,),) = raw.findings.values()
    assert consequence == "left out" and "cups/points/broken.pts, line 2" in text
    assert packed.findings == raw.findings == converted.findings
    assert (raw.total, raw.read, converted.total) == (16, 15, 15)
    assert [row.unreadable for row in raw.categories] == [0, 1]
    for other in (packed, converted):
        for mine, theirs in zip(raw.categories, other.categories, strict=True):
            assert list(map(repr, mine.drawn)) == list(map(repr, theirs.drawn))
            same = {"drawn": [], "unreadable": 0}
            assert dataclasses.replace(mine, **same) == dataclasses.replace(theirs, **same)


def test_the_box_of_a_centred_cloud_is_in_the_coordinates_of_its_source(shapes, tmp_path):
    for i in range(3):
        shapes.tool(f"tool{i}", 9, 0, seed=i)
    # Surveyed coordinates, which float32 would round to 0.5 m.
    lines = [f"{431000 + i / 8:.3f} {5412000 - i / 4:.3f} {i:.3f}\n" for i in range(9)]
    shapes.file("tools/points/tool0.pts", "".join(lines))
    convert(str(shapes.root), str(tmp_path / "data"), TOOLS)
    for path in (shapes.root, tmp_path / "data"):
        boxes = {d.shape_id: d.box for d in surveyed(path).categories[0].drawn}
        axes = "x 431,000.000 to 431,001.000, y 5,411,998.000 to 5,412,000.000, z 0.000 to 8.000"
        assert boxes["tool0"] == axes


def test_what_would_stop_a_run(ten_tools):
    ten_tools.file("tools/points/broken.pts", "1 2\n")
    ten_tools.file("tools/points/broken2.pts", "x\n")
    (stop,) = surveyed(ten_tools.root).stops
    assert "2 of 13 shapes" in stop and "10%" in stop
    survey = surveyed(ten_tools.root, checks=ValidationSettings(minimum_points=18))
    assert "1 TOO_FEW_POINTS, first tool0" in survey.stops[1]
    assert survey.categories[0].points[:2] == "18"  # refused clouds count nowhere else


def test_a_split_that_unreadable_shapes_leave_empty_is_a_note(ten_tools):
    settings = DataSettings(category="Tool", max_bad_share=0.9)
    source = open_source(str(ten_tools.root), settings)
    held_out = [c.shape_id for place, c in source.clouds() if place.split in ("val", "test")]
    for name in held_out:
        ten_tools.file(f"tools/points/{name}.pts", "x\n")
    survey = surveyed(ten_tools.root, settings)
    assert clouds(survey) == {"train": 7, "val": 0, "test": 0, "unlabelled": 1}
    assert len(source.notes) == 1 and "will change the splits" in survey.notes[1]
    assert [note.split()[-1] for note in survey.notes[2:]] == ["test.", "val."]
    assert len(surveyed(ten_tools.root, settings, limit=4).stops) == 0


def test_too_few_shapes_to_split_are_shown_all_the_same(shapes):
    shapes.tool("a", 5, 5)
    shapes.tool("b", 0, 0, 6)
    survey = surveyed(shapes.root)
    assert clouds(survey) == {"unlabelled": 1, "unsplit": 1}
    assert len(survey.stops) == 1 and "1 labelled shape" in survey.stops[0]


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
    expected = {
        ("left out", "damaged_record_file"): first.name,
        ("warning", "changed_file"): second.name,
        ("left out", "no_file"): third.name,
        ("warning", "unlisted_file"): "mine.tfrecord.gz",
    }
    assert {key for key in survey.findings if key[1].islower()} == set(expected)
    for key, name in expected.items():
        assert survey.findings[key][0].startswith(f"{folder}/{name}: ")
    assert len(survey.sizes("test")) == 2  # what is complete is shown


def test_one_record_file_takes_its_parts_from_the_manifest(converted, tmp_path_factory):
    (file,) = converted.glob("*/val/*.gz")
    survey = surveyed(file)
    assert survey.splits == ("val",)
    assert [part.name for part in survey.categories[0].parts][:2] == ["head", "handle"]
    assert "MISSING_CATEGORY" not in {code for _, code in survey.findings}
    # Elsewhere, its parts are not known.
    alone = tmp_path_factory.mktemp("elsewhere") / "a.tfrecord.gz"
    shutil.copy(file, alone)
    survey = surveyed(alone, EVERYTHING)
    assert next(iter(survey.findings))[1] == "UNKNOWN_CATEGORY" and survey.splits == ("unsplit",)


def test_a_limit_counts_the_clouds_of_the_chosen_category(ten_tools, tmp_path):
    for i in range(30):
        ten_tools.cup(f"cup{i}", 30 + i)
    convert(str(ten_tools.root), str(tmp_path / "data"), EVERYTHING)
    for path in (ten_tools.root, tmp_path / "data"):
        survey = surveyed(path, limit=4)
        assert (survey.total, survey.looked_at, survey.read) == (11, 4, 4)


@pytest.mark.parametrize(("total", "limit"), [(11, 4), (7, 7), (3, 9), (100, 1), (97, 13)])
def test_a_limit_is_evenly_spread(total, limit, tmp_path, write_records):
    records = [cloud(str(number), seed=number) for number in range(total)]
    write_records(tmp_path / "Split-train/a.gz", *records)
    source = open_source(str(tmp_path), EVERYTHING)
    chosen = [int(found.shape_id) for _, found in source.clouds(limit)]
    assert source.form == "a pipeline's Examples" and len(chosen) == min(total, limit)
    gaps = np.diff([*chosen, total])
    assert gaps.max() - gaps.min() <= 1


def test_large_clouds_are_thinned_only_for_the_picture(shapes):
    for i in range(3):
        shapes.tool(f"a{i}", 50_001, 0)
    (tool,) = surveyed(shapes.root, pictures=1).categories
    (found,) = tool.drawn
    assert (found.size, len(found.points)) == (50_001, 16_667)


def test_made_up_shapes(tmp_path):
    make_demo_shapes(tmp_path / "demo", 3, ["Mug"])
    assert [row.made_up for row in surveyed(tmp_path / "demo", EVERYTHING).categories] == [True]
