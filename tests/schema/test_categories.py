import pytest

from schema.categories import (
    MAX_PARTS,
    NONE_PART,
    SHAPENET_CATEGORIES,
    Category,
    class_ranges,
    part_names,
)
from schema.errors import UserError

CAR = next(category for category in SHAPENET_CATEGORIES if category.name == "Car")
PLANE = SHAPENET_CATEGORIES[0]


def test_the_table_has_the_benchmarks_16_categories_and_50_parts():
    assert len(SHAPENET_CATEGORIES) == 16
    assert sum(len(category.parts) for category in SHAPENET_CATEGORIES) == 50
    # Eight categories of PartAnnotation's metadata lack one part each: 42 names.
    assert sum(category.rest is None for category in SHAPENET_CATEGORIES) == 8
    assert len({category.directory for category in SHAPENET_CATEGORIES}) == 16


@pytest.mark.parametrize(
    ("parts", "rest", "fact"),
    [
        ((), None, "0 parts"),
        (tuple(map(str, range(MAX_PARTS + 1))), None, "257 parts"),
        (("a", "b", "a"), None, "'a'"),
        (("a",), "b", "'b'"),
    ],
)
def test_an_impossible_category_is_refused(parts, rest, fact):
    with pytest.raises(UserError) as raised:
        Category("Chair", "x", parts, rest)
    assert raised.value.code == "bad_category"
    assert fact in str(raised.value) and "Chair" in str(raised.value)


def test_a_category_may_have_as_many_parts_as_a_label_can_tell_apart():
    assert len(Category("Chair", "x", tuple(map(str, range(MAX_PARTS)))).colours) == MAX_PARTS


@pytest.mark.parametrize(
    ("category", "mode", "parts", "rest_label"),
    [
        (CAR, "auto", CAR.parts, 3),
        (CAR, "part", CAR.parts, 3),
        (CAR, "ignore", ("roof", "hood", "wheel"), -1),
        (PLANE, "auto", PLANE.parts, -1),
        (PLANE, "ignore", PLANE.parts, -1),
        (PLANE, "part", (*PLANE.parts, NONE_PART), 4),
        (Category("X", "x", ("a", NONE_PART)), "part", ("a", NONE_PART), 1),
    ],
)
def test_what_points_without_a_named_part_are(category, mode, parts, rest_label):
    changed = category.with_unannotated(mode)
    assert (changed.parts, changed.rest_label) == (parts, rest_label)


def test_a_label_is_the_place_of_its_part():
    assert [CAR.label_of(part) for part in (*CAR.parts, "door")] == [0, 1, 2, 3, -1]


def test_classes_are_the_parts_of_one_category_after_the_other():
    both = (PLANE, CAR)
    assert class_ranges(both) == ((0, 4), (4, 8))
    assert part_names(both)[3:5] == ("Airplane engine", "Car roof")
    assert part_names((CAR,)) == CAR.parts


def test_a_category_survives_its_json():
    assert Category.from_json(CAR.to_json()) == CAR
