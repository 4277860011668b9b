"""Each check of one cloud, and parsing records of any content."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.checks.cloud_checks import Place, RawCloud, compare_points, examine, parse
from preprocessing.checks.settings import ValidationSettings
from schema.categories import Category

LIMITS = ValidationSettings()
CATEGORIES = {c.name: c for c in (Category("Tool", "01", ("head", "handle")),)}
# Five points, of which none repeats another.
POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)
SOUND = RawCloud("a1", "Tool", POINTS.ravel(), np.array([0, 1, 1, -1, 0]))


def examined(split="train", settings=LIMITS, **changes):
    cloud = dataclasses.replace(SOUND, **changes)
    return examine(cloud, Place(split, 3, 7), settings, CATEGORIES)


def codes(verdict):
    return [finding.code for finding in verdict.findings]


def with_points(points):
    points = np.asarray(points, np.float32)
    return {"coordinates": points.ravel(), "labels": np.zeros(len(points), np.int64)}


def test_a_sound_cloud_has_no_findings():
    verdict = examined()
    assert (verdict.findings, verdict.refused, verdict.points) == ((), False, 5)
    assert verdict.part_points == (2, 2)  # the unannotated point is not counted
    assert len(verdict.geometry) == 32


@pytest.mark.parametrize(
    ("changes", "code", "facts"),
    [
        ({"shape_id": ""}, "NO_SHAPE_ID", ["record 7 of file 3"]),
        ({"category": "Bird"}, "UNKNOWN_CATEGORY", ["'Bird'", "Tool"]),
        ({"coordinates": POINTS.ravel()[:14]}, "COORDINATE_COUNT", ["14"]),
        (with_points(POINTS[:3]), "TOO_FEW_POINTS", ["3 points", "4"]),
        (with_points(POINTS[:0]), "TOO_FEW_POINTS", ["0 points"]),
        ({"labels": np.array([0, 1, 1, 0])}, "LABEL_COUNT", ["4 labels", "5 points"]),
        ({"labels": None}, "LABEL_COUNT", ["0 labels", "5 points"]),
        ({"labels": np.array([0, 2, 1, 0, 3])}, "LABEL_RANGE", ["label 2 at point 1", "(2 such"]),
        ({"labels": np.array([0, 1, -2, 0, 1])}, "LABEL_RANGE", ["label -2 at point 2", "(1 such"]),
        (
            with_points([[0, 0, 0], [1, np.nan, 0], [0, 1, 0], [-np.inf, 0, 1]]),
            "NON_FINITE",
            ["point 1 at [1.0, nan, 0.0]", "(2 such"],
        ),
        (with_points([[0.5, 0, -2]] * 6), "ZERO_RADIUS", ["6 points", "[0.5, 0.0, -2.0]"]),
    ],
)
def test_one_problem_refuses_a_cloud_for_that_alone(changes, code, facts):
    verdict = examined(**changes)
    (finding,) = verdict.findings
    assert (finding.code, finding.severity, finding.split) == (code, "quarantine", "train")
    assert finding.shape_id == changes.get("shape_id", "a1")
    assert all(fact in finding.sentence for fact in ["in train", *facts])
    assert verdict.refused
    assert (verdict.geometry, verdict.part_points) == ("", ())


def test_all_problems_are_reported_at_once():
    verdict = examined(labels=np.array([0, 7]), shape_id="", coordinates=POINTS.ravel()[:9])
    assert codes(verdict) == ["NO_SHAPE_ID", "TOO_FEW_POINTS", "LABEL_COUNT", "LABEL_RANGE"]


def test_bytes_that_are_not_an_example_are_refused():
    assert parse(b"\xff\xff") is None
    verdict = examine(None, Place("val", 3, 7), LIMITS, CATEGORIES)
    (finding,) = verdict.findings
    assert (finding.code, finding.shape_id) == ("UNREADABLE", "")
    assert "record 7 of file 3 in val" in finding.sentence
    # An Example without features.
    verdict = examine(parse(b""), Place("val", 0, 0), LIMITS, CATEGORIES)
    assert codes(verdict) == ["NO_SHAPE_ID", "UNKNOWN_CATEGORY", "TOO_FEW_POINTS"]


def test_only_the_unlabelled_split_goes_without_labels():
    verdict = examined("unlabelled", labels=None)
    assert (verdict.findings, verdict.part_points) == ((), (0, 0))


def test_repeated_points_are_a_warning():
    assert codes(examined(**with_points([*POINTS[:3], *POINTS[:3]]))) == []  # up to the limit
    repeated = with_points([POINTS[1], *[POINTS[0]] * 3, POINTS[1]])
    verdict = examined(**repeated)
    (finding,) = verdict.findings
    assert (finding.code, finding.severity) == ("DUPLICATE_POINTS", "warning")
    assert "3 of 5 points" in finding.sentence
    assert not verdict.refused
    assert codes(examined(settings=ValidationSettings(duplicate_share=0.6), **repeated)) == []


def test_points_are_compared_in_any_order():
    geometry, repeated = compare_points(POINTS)
    assert (compare_points(POINTS[::-1]), repeated) == ((geometry, 0), 0)
    assert compare_points(-POINTS) == compare_points(0 - POINTS)  # minus zero is zero
    assert compare_points(POINTS[[0, 1, 0, 2, 0]])[1] == 2
    others = [POINTS[:4], POINTS[:, ::-1] + [0, 0, 1e-6], [[0, 1, 2], [3, 4, 5]]]
    hashes = {compare_points(other)[0] for other in [*others, [[0, 4, 2], [3, 1, 5]]]}
    assert len(hashes | {geometry}) == 5


def test_any_feature_is_parsed_without_being_checked():
    feature = {
        "shape_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"caf\xc3\xa9 \xff"])),
        "category": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
        "points": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, np.nan])),
        "labels": tf.train.Feature(),
    }
    features = tf.train.Features(feature=feature)
    cloud = parse(tf.train.Example(features=features).SerializeToString())
    assert (cloud.shape_id, cloud.category) == ("café \\xff", "")
    assert (cloud.coordinates.dtype, cloud.labels.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(cloud.coordinates, np.array([0.5, np.nan], np.float32))
    assert cloud.labels.shape == (0,)
