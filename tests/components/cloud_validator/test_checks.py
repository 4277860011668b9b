"""Each code of the checks, by hand."""

import dataclasses

import numpy as np
import pytest

from components.cloud_validator.checks import (
    Examination,
    Finding,
    Place,
    RawCloud,
    SplitCount,
    check_training_parts,
    examine,
    geometry_hash,
    repeated_points,
    resolve_geometry,
    resolve_shape_id,
    sorted_points,
    too_many_refused,
)
from components.settings import ValidationSettings
from schema.categories import Category

TOOL = Category("Tool", "01", ("head", "handle"))
CUP = Category("Cup", "02", ("body",))
CATEGORIES = {"Tool": TOOL, "Cup": CUP}
SETTINGS = ValidationSettings()

# Five points, of which none repeats another.
POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)
SOUND = RawCloud("a1", "Tool", POINTS.ravel(), np.array([0, 1, 1, -1, 0]))


def examined(split="train", settings=SETTINGS, **changes):
    cloud = dataclasses.replace(SOUND, **changes)
    return examine(cloud, Place(split, 0, 7), settings, CATEGORIES)


def codes(examination):
    return [finding.code for finding in examination.findings]


def with_points(points):
    points = np.asarray(points, np.float32)
    return {"coordinates": points.ravel(), "labels": np.zeros(len(points), np.int64)}


def test_a_sound_cloud_has_no_findings():
    examination = examined()
    assert examination.findings == ()
    assert not examination.refused
    assert examination.part_points == (2, 2)  # the unannotated point counts nowhere
    assert len(examination.geometry) == 32


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        (
            {"shape_id": ""},
            "NO_SHAPE_ID",
            "record 7 of file 0 in train has no shape_id; every cloud needs a name of its own: "
            "give it one and convert the data again",
        ),
        (
            {"category": "Bird"},
            "UNKNOWN_CATEGORY",
            "shape a1 in train is of category 'Bird'; known are Tool, Cup: correct its category, "
            "or add it to the data set's categories",
        ),
        (
            {"coordinates": POINTS.ravel()[:14]},
            "COORDINATE_COUNT",
            "shape a1 in train has 14 coordinates, which three does not divide; each point needs "
            "x, y and z: its file may be cut short, so fetch and convert it again",
        ),
        (
            with_points(POINTS[:3]),
            "TOO_FEW_POINTS",
            "shape a1 in train has 3 points; minimum_points is 4: leave it out of the data, or "
            "lower minimum_points",
        ),
        (
            with_points(POINTS[:0]),
            "TOO_FEW_POINTS",
            "shape a1 in train has 0 points; minimum_points is 4: leave it out of the data, or "
            "lower minimum_points",
        ),
        (
            {"labels": np.array([0, 1, 1, 0])},
            "LABEL_COUNT",
            "shape a1 in train has 4 labels for 5 points; each point needs one label: correct its "
            "labels and convert the data again",
        ),
        (
            {"labels": None},
            "LABEL_COUNT",
            "shape a1 in train has 0 labels for 5 points; each point needs one label: correct its "
            "labels and convert the data again",
        ),
        (
            {"labels": np.array([0, 2, 1, 0, 3])},
            "LABEL_RANGE",
            "shape a1 in train has label 2 at point 1 (2 such points); Tool has the parts 0 to 1, "
            "and -1 for no part: correct its labels, or its category",
        ),
        (
            {"labels": np.array([0, 1, -2, 0, 1])},
            "LABEL_RANGE",
            "shape a1 in train has label -2 at point 2 (1 such points); Tool has the parts 0 to 1, "
            "and -1 for no part: correct its labels, or its category",
        ),
        (
            with_points([[0, 0, 0], [1, np.nan, 0], [0, 1, 0], [-np.inf, 0, 1]]),
            "NON_FINITE",
            "shape a1 in train has point 1 at (1, nan, 0) (2 such points); coordinates must be "
            "finite: correct its file and convert the data again",
        ),
        (
            with_points([[0.5, 0, -2]] * 6),
            "ZERO_RADIUS",
            "shape a1 in train has all its 6 points at (0.5, 0, -2); a shape needs a radius above "
            "zero: correct its file and convert the data again",
        ),
    ],
)
def test_one_thing_wrong_refuses_a_cloud_for_that_alone(changes, code, sentence):
    examination = examined(**changes)
    assert examination.findings == (
        Finding(code, "quarantine", "train", changes.get("shape_id", "a1"), sentence),
    )
    assert examination.refused
    assert (examination.geometry, examination.part_points) == ("", ())


def test_everything_wrong_is_reported_at_once():
    found = examined(category="Cup", labels=np.array([0, 1]), shape_id="")
    assert codes(found) == ["NO_SHAPE_ID", "LABEL_COUNT", "LABEL_RANGE"]


def test_limits_are_inclusive():
    assert codes(examined(**with_points(POINTS[:4]))) == []
    three_of_six = with_points([POINTS[0], POINTS[1], POINTS[2], *POINTS[:3]])
    assert codes(examined(**three_of_six)) == []


def test_only_the_unlabelled_split_goes_without_labels():
    examination = examined("unlabelled", labels=None)
    assert examination.findings == ()
    assert examination.part_points == (0, 0)


def test_repeated_points_are_a_warning():
    repeated = with_points([POINTS[1], *[POINTS[0]] * 3, POINTS[1]])
    examination = examined(**repeated)
    (finding,) = examination.findings
    assert (finding.code, finding.severity) == ("DUPLICATE_POINTS", "warning")
    assert finding.sentence == (
        "shape a1 in train has 3 of 5 points that repeat another one; expected is a share of at "
        "most 0.5: see whether it was padded when it was made, and remove the copies"
    )
    assert not examination.refused
    assert codes(examined(settings=ValidationSettings(duplicate_share=0.6), **repeated)) == []


def test_points_are_counted_as_repeated_whatever_their_order():
    assert repeated_points(sorted_points(POINTS)) == 0
    assert repeated_points(sorted_points(POINTS[[0, 1, 0, 2, 0]])) == 2


def test_geometry_is_the_points_in_any_order():
    def hashed(points):
        return geometry_hash(sorted_points(np.asarray(points, np.float32)))

    assert hashed(POINTS) == hashed(POINTS[::-1]) == hashed(POINTS * np.float32(1))
    assert hashed(-POINTS) == hashed(0 - POINTS)  # minus zero is zero
    assert hashed(POINTS) != hashed(POINTS[:, ::-1] + [0, 0, 1e-6])
    assert hashed(POINTS) != hashed(POINTS[:4])
    # The same numbers in other points.
    assert hashed([[0, 1, 2], [3, 4, 5]]) != hashed([[0, 4, 2], [3, 1, 5]])


def cloud(split, shape_id="a1", geometry="g", position=0, shard=0):
    return Examination(Place(split, shard, position), shape_id, "Tool", geometry, (1, 1), ())


def verdicts(resolved):
    return {
        (e.place.split, e.shape_id, e.place.position): e.findings[0].code if e.findings else None
        for e in resolved
    }


@pytest.mark.parametrize(
    ("splits", "kept"),
    [
        (("train", "val", "test"), "test"),
        (("val", "train"), "val"),
        (("test", "train"), "test"),
        (("unlabelled", "train"), "train"),
    ],
)
def test_a_shape_in_two_splits_stays_in_the_more_held_out_one(splits, kept):
    expected = {
        (split, "a1", 0): None if split == kept else "SHAPE_IN_TWO_SPLITS" for split in splits
    }
    assert verdicts(resolve_shape_id(cloud(split) for split in splits)) == expected
    assert verdicts(resolve_shape_id(cloud(split) for split in reversed(splits))) == expected


def test_sentence_of_a_shape_in_two_splits():
    _, refused = resolve_shape_id([cloud("train"), cloud("test")])
    assert refused.refused
    assert refused.findings[0].sentence == (
        "shape a1 in train stands in test too; a shape belongs to one split: the one in test was "
        "kept, so remove this one from the data"
    )


def test_a_shape_twice_in_a_split_stays_once_whatever_the_order():
    low, high = cloud("val", geometry="0", position=9), cloud("val", geometry="1", position=2)
    expected = {("val", "a1", 9): None, ("val", "a1", 2): "SHAPE_TWICE"}
    assert verdicts(resolve_shape_id([low, high])) == expected
    assert verdicts(resolve_shape_id([high, low])) == expected


def test_a_shape_of_its_own_stays_as_it_is():
    alone = cloud("train")
    assert resolve_shape_id([alone]) == [alone]
    assert resolve_geometry([alone]) == [alone]


def test_a_geometry_in_two_splits_stays_in_the_more_held_out_one():
    group = [cloud("train", "a"), cloud("val", "b"), cloud("train", "c"), cloud("test", "d")]
    expected = {
        ("test", "d", 0): None,
        ("val", "b", 0): "GEOMETRY_IN_TWO_SPLITS",
        ("train", "a", 0): "GEOMETRY_IN_TWO_SPLITS",
        ("train", "c", 0): "GEOMETRY_IN_TWO_SPLITS",
    }
    assert verdicts(resolve_geometry(group)) == expected
    resolved = resolve_geometry(reversed(group))
    assert verdicts(resolved) == expected
    assert resolved[1].findings[0].sentence == (
        "shape b in val has the very points of d in test; a shape belongs to one split: the one "
        "in test was kept, so remove this one from the data"
    )


def test_a_geometry_twice_in_a_split_is_a_warning():
    first, second = resolve_geometry([cloud("test", "b"), cloud("test", "a")])
    assert (first.shape_id, first.findings) == ("a", ())
    assert codes(second) == ["GEOMETRY_TWICE"]
    assert not second.refused


def training(part_points, clouds, **settings):
    findings = check_training_parts(
        part_points, clouds, (TOOL, CUP), ValidationSettings(**settings)
    )
    assert all((f.severity, f.split) == ("warning", "train") for f in findings)
    return [(f.code, f.sentence) for f in findings]


def test_balanced_training_clouds_have_no_findings():
    assert training({"Tool": (100, 5), "Cup": (1,)}, {"Tool": 20, "Cup": 1}) == []


def test_a_part_that_nobody_has():
    ((code, sentence),) = training({"Tool": (100, 0), "Cup": (9,)}, {"Tool": 3, "Cup": 2})
    assert code == "MISSING_PART"
    assert sentence == (
        "none of the 3 training clouds of Tool has a point of handle; the model cannot learn a "
        "part that it never sees: add shapes that have it, or leave the part out"
    )


def test_a_category_that_nobody_is_of():
    ((code, sentence),) = training({"Tool": (9, 9)}, {"Tool": 3})
    assert code == "MISSING_CATEGORY"
    assert sentence.startswith("no training cloud is of category Cup;")


def test_imbalance_of_parts_and_of_categories():
    parts, categories = training({"Tool": (101, 5), "Cup": (9,)}, {"Tool": 2, "Cup": 41})
    assert parts == (
        "PART_IMBALANCE",
        "Tool has 5 training points of handle and 101 of head; expected is at most 20 times as "
        "many: add shapes with handle, and watch its own accuracy rather than the mean",
    )
    assert categories == (
        "CATEGORY_IMBALANCE",
        "Tool has 2 training clouds and Cup has 41; expected is at most 20 times as many: add "
        "shapes of Tool, and watch its own accuracy rather than the mean",
    )


def test_too_many_refused_clouds_are_said_in_one_sentence():
    counts = {"train": SplitCount(20, 3), "val": SplitCount(10, 1), "test": SplitCount(0, 0)}
    findings = [
        Finding("LABEL_COUNT", "quarantine", "train", "a", ""),
        Finding("LABEL_RANGE", "quarantine", "train", "a", ""),
        Finding("LABEL_COUNT", "quarantine", "train", "b", ""),
        Finding("NO_SHAPE_ID", "quarantine", "train", "", ""),
        Finding("DUPLICATE_POINTS", "warning", "train", "c", ""),
        Finding("ZERO_RADIUS", "quarantine", "val", "d", ""),
    ]
    assert too_many_refused(counts, findings, SETTINGS, "out/findings.jsonl") == (
        "CloudValidator refused 3 of 20 clouds of train, more than the 10% of a split that "
        "quarantine_share allows (2 LABEL_COUNT, 1 LABEL_RANGE, 1 NO_SHAPE_ID; shapes a, b, "
        "(no id)): correct the data, each finding being in out/findings.jsonl, or raise "
        "quarantine_share"
    )
    allowed = ValidationSettings(quarantine_share=0.15)
    assert too_many_refused(counts, findings, allowed, "out/findings.jsonl") is None
