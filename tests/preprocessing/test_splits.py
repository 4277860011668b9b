import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.findings import BadInput
from preprocessing.layout import Shape
from preprocessing.settings import SplitFractions
from preprocessing.splits import assign_splits, split_sizes

FRACTIONS = SplitFractions()


def shapes(count, category="A", prefix="s", **more):
    return [Shape(f"{prefix}{i}", category, 1, ("x",), **more) for i in range(count)]


def assigned(shapes, seed=0):
    splits = assign_splits(shapes, FRACTIONS, seed, [])
    return dict(zip(((s.category, s.name) for s in shapes), splits, strict=True))


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(3, (1, 1, 1)), (4, (2, 1, 1)), (10, (7, 1, 2)), (20, (14, 2, 4)), (0, (0, 0, 0))],
)
def test_sizes(count, sizes):
    assert tuple(split_sizes(count, FRACTIONS).values()) == sizes


@given(st.integers(0, 3000), st.floats(0.01, 0.98), st.floats(0.01, 0.98))
def test_sizes_add_up_and_come_close(count, a, b):
    val, test = a / 2, b / 2
    fractions = SplitFractions(train=1 - val - test, val=val, test=test)
    sizes = split_sizes(count, fractions)
    assert sum(sizes.values()) == count
    for split, size in sizes.items():
        assert size >= (count >= 3)
        assert abs(size - getattr(fractions, split) * count) < 1 or size == 1 or count < 300


def test_order_of_files_does_not_matter():
    some = shapes(50) + shapes(30, "B", "t")
    assert assigned(some) == assigned(some[::-1])


def test_another_seed_another_split():
    assert assigned(shapes(50)) != assigned(shapes(50), seed=1)


def test_each_category_is_split_in_proportion():
    splits = assigned(shapes(100) + shapes(10, "B", "t"))
    for category, expected in (("A", 20), ("B", 2)):
        assert sum(1 for (c, _), s in splits.items() if c == category and s == "test") == expected


@given(st.integers(3, 60))
def test_a_shape_more_moves_at_most_two_others(count):
    before, after = assigned(shapes(count)), assigned(shapes(count + 1))
    assert sum(before[key] != after[key] for key in before) <= 2


def test_one_name_in_two_categories_goes_to_one_split():
    splits = assigned(shapes(40) + shapes(40, "B"))
    for i in range(40):
        assert splits["A", f"s{i}"] == splits["B", f"s{i}"]


def test_official_splits_are_kept():
    official = shapes(5, prefix="o", split="val")
    splits = assigned(shapes(10) + official)
    assert {splits["A", f"o{i}"] for i in range(5)} == {"val"}
    assert sum(s == "test" for s in splits.values()) == 2


def test_a_shape_taken_from_its_official_split_is_a_finding():
    findings = []
    given = shapes(6, split="train") + shapes(1, prefix="t", split="test")
    splits = assign_splits(given, FRACTIONS, 0, findings)
    (finding,) = findings
    moved = given[splits.index("val")].name
    assert (finding.code, finding.shape, finding.left_out) == ("split_filled", moved, False)
    assert f"no shape of val in the official lists or in a folder val: {moved}" in finding.sentence
    assert "was taken from train. Add shapes to val" in finding.sentence
    assert splits.count("train") == 5
    # Where nobody gave a split, none is overruled.
    dealt = [shape for i in range(3) for shape in shapes(1, f"C{i}", f"c{i}_")]
    assign_splits(dealt, FRACTIONS, 0, findings)
    assert len(findings) == 1


def test_each_split_gets_a_shape_even_of_one_a_category():
    some = [shape for i in range(3) for shape in shapes(1, f"C{i}", f"c{i}_")]
    assert sorted(assigned(some).values()) == ["test", "train", "val"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_labelled_shapes(count):
    with pytest.raises(BadInput) as error:
        assign_splits(shapes(count), FRACTIONS, 0, [], 4)
    found = "1 labelled shape" if count == 1 else f"{count} labelled shapes"
    assert f"found {found} (4 without labels are there), expected at least 3" in str(error.value)
