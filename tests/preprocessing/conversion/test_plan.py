from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.conversion.plan import assign_splits, make_plan, must_plan_again, split_sizes
from preprocessing.datasets.base import Listing, Shape
from preprocessing.settings import DataSettings, SplitFractions
from schema.errors import Finding, UserError
from schema.record import SPLITS

FRACTIONS = SplitFractions()


def shapes(count, category="A", prefix="s", annotations=("x",), **more):
    return [Shape(f"{prefix}{i}", category, 1, annotations, **more) for i in range(count)]


def assigned(shapes, seed=0, by_id=False):
    return assign_splits(shapes, FRACTIONS, seed, [], by_id)


def planned(shapes, found=(), findings=(), **settings):
    return make_plan(Listing(shapes, list(findings), ""), DataSettings(**settings), found)


def split_of(plan):
    return {(s.category, s.name): shard.split for shard in plan.shards for s in shard.shapes}


@given(st.integers(0, 3000), st.floats(0.01, 0.98), st.floats(0.01, 0.98))
def test_sizes_add_up_and_come_close(count, a, b):
    val, test = a / 2, b / 2
    fractions = SplitFractions(train=1 - val - test, val=val, test=test)
    sizes = split_sizes(count, fractions)
    assert sum(sizes.values()) == count
    for split, size in sizes.items():
        assert size >= (count >= 3)
        assert abs(size - getattr(fractions, split) * count) < 1 or size == 1 or count < 300


@pytest.mark.parametrize("by_id", [False, True])
def test_the_seed_decides_and_the_order_of_files_does_not(by_id):
    some = shapes(50) + shapes(30, "B", "t")
    assert assigned(some, 0, by_id) == assigned(some[::-1], 0, by_id)
    assert assigned(some, 0, by_id) != assigned(some, 1, by_id)


@pytest.mark.parametrize("seed", range(20))
def test_clouds_numbered_per_category_are_split_per_category(seed):
    splits = assigned(shapes(20) + shapes(3, "B"), seed)
    of = {c: Counter(s for (k, _), s in splits.items() if k == c) for c in "AB"}
    assert of == {"A": {"train": 14, "val": 2, "test": 4}, "B": {"train": 1, "val": 1, "test": 1}}


def test_by_id_no_shape_moves_and_the_shares_are_about_right():
    all_shapes = shapes(3000) + shapes(1000, "B")
    splits = assigned(all_shapes, by_id=True)
    for part in (all_shapes[:700], all_shapes[2500:]):
        assert assigned(part, by_id=True).items() <= splits.items()
    for category, count in (("A", 3000), ("B", 1000)):
        sizes = Counter(s for (c, _), s in splits.items() if c == category)
        for split in SPLITS:
            assert abs(sizes[split] / count - getattr(FRACTIONS, split)) < 0.05


def test_by_id_an_empty_split_gets_the_shape_nearest_to_it():
    all_shapes = shapes(3000)
    splits = assigned(all_shapes, by_id=True)
    train = [s for s in all_shapes if splits["A", s.name] == "train"][:200]
    findings = []
    filled = assign_splits(train, FRACTIONS, 0, findings, True)
    moved = {split: key for key, split in filled.items() if split != "train"}
    assert {(f.code, f.shape, f.left_out) for f in findings} == {
        ("split_filled", moved["test"][1], False), ("split_filled", moved["val"][1], False)
    }  # fmt: skip


def test_official_splits_are_kept_and_the_more_held_out_one_counts():
    official = shapes(5, prefix="o", split="val") + shapes(1, prefix="o", split="train")
    splits = assigned(shapes(10) + official)
    assert {splits["A", f"o{i}"] for i in range(5)} == {"val"}
    assert Counter(splits.values())["test"] == 2


def test_a_shape_taken_from_its_official_split_is_a_finding():
    findings = []
    given = shapes(6, split="train") + shapes(1, prefix="t", split="test")
    splits = assign_splits(given, FRACTIONS, 0, findings)
    ((moved, _),) = [item for item in splits.items() if item[1] == "val"]
    (finding,) = findings
    assert (finding.code, finding.category, finding.shape) == ("split_filled", *moved)
    # Without official splits none gives way.
    one_each = [shape for i in range(3) for shape in shapes(1, f"C{i}")]
    assert sorted(assign_splits(one_each, FRACTIONS, 0, findings).values()) == sorted(SPLITS)
    assert len(findings) == 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_labelled_shapes_with_the_reasons(count):
    found = [Finding("not_a_number", "m", f"{i}.csv", 3, "A", f"x{i}", True) for i in range(7)]
    listed = [Finding("unread", "why", "b.txt")]
    some = shapes(count) + shapes(4, prefix="u", annotations=()) + shapes(7, prefix="x")
    with pytest.raises(UserError) as error:
        planned(some, found, listed)
    assert error.value.code == "too_few_shapes"
    for fact in (f"{count} labelled shape", "4 without", "not_a_number 7 times", "0.csv, line 3",
                 "unread 1 time", "b.txt: why"):  # fmt: skip
        assert fact in error.value.message


def test_ids_in_two_categories_get_the_category_in_front():
    plan = planned(shapes(5) + shapes(4, "B", "t") + [Shape("s0", "B", 1, ("x",))])
    assert [f.code for f in plan.findings] == ["duplicate_id"]
    ids = sorted(i for shard in plan.shards for i in shard.shape_ids)
    assert ids == ["A/s0", "B/s0", "s1", "s2", "s3", "s4", "t0", "t1", "t2", "t3"]


def test_what_reading_showed_changes_the_plan():
    some = shapes(10) + shapes(10, "B")
    first = planned(some)
    found = [
        Finding("no_labels", "m", category="A", shape="s1"),
        Finding("not_a_number", "m", category="B", shape="s1", left_out=True),
    ]
    assert must_plan_again(first, found, SPLITS)
    second = planned(some, found)
    assert split_of(first).keys() - split_of(second).keys() == {("B", "s1")}
    assert split_of(second)["A", "s1"] == "unlabelled"
    assert not must_plan_again(second, found, SPLITS)
    # An unreadable shape alone changes nothing as long as each split has a shape.
    assert not must_plan_again(first, found[1:], SPLITS)
    assert must_plan_again(first, found[1:], ("train", "test"))


def test_shards_are_of_about_equal_size():
    some = [Shape(f"s{i}", "A", 100_000 + i, ("x",)) for i in range(100)]
    plan = planned(some, shard_megabytes=1)
    counts = [len(shard.shapes) for shard in plan.shards if shard.split == "train"]
    assert len(counts) == 7
    assert set(counts) <= {9, 10, 11}
    assert plan.shards[0].file == "train/part-00000-of-00007.tfrecord.gz"
