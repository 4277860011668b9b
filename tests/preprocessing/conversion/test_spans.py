"""A window of the newest deliveries becomes one data set, and no shape changes its split."""

import os
from collections import Counter

import pytest

from preprocessing.conversion.manifest import MANIFEST, Manifest
from preprocessing.conversion.spans import add_span, span_name, spans_in, window_folder
from preprocessing.settings import DataSettings
from schema.errors import UserError
from schema.record import SPLITS
from tests.preprocessing.conversion.conftest import clouds_of, contents, listed

SETTINGS = DataSettings(category="Airplane")


@pytest.fixture
def delivery(tmp_path, part_annotation_folder):
    """Makes a PartAnnotation folder of shapes with these names."""

    def make(name, shapes, parts=("body", "wing", "tail")):
        metadata = {"Airplane": {"directory": "planes", "lables": list(parts)}}
        folder = part_annotation_folder(tmp_path / "deliveries" / name, metadata)
        for place, shape in enumerate(shapes):
            folder.shape(shape, points=8 + place)
        return str(folder.root)

    return make


@pytest.fixture
def three(tmp_path, delivery):
    """Three spans of twelve shapes each, window 2; the folder, and the manifest at each span."""
    spans = tmp_path / "spans"
    made = {}
    for span in (1, 2, 3):
        source = delivery(f"d{span}", [f"s{span}_{n}" for n in range(12)])
        made[span] = add_span(source, spans, span, 2, SETTINGS)
    return spans, made


def refused(code, *arguments):
    with pytest.raises(UserError) as error:
        add_span(*arguments)
    assert error.value.code == code
    return error.value


def window_shapes(spans, span):
    """Ids of the window's shapes, by split."""
    folder = window_folder(spans) / span_name(span)
    return {split: sorted(c.shape_id for c in clouds_of(folder, split)) for split in SPLITS}


def test_a_window_has_its_newest_spans_and_one_manifest(three):
    spans, made = three
    assert spans_in(spans) == [1, 2, 3]
    for span, of in ((1, {"s1"}), (2, {"s1", "s2"}), (3, {"s2", "s3"})):
        folder = window_folder(spans) / span_name(span)
        shapes = window_shapes(spans, span)
        ids = [shape for split in SPLITS for shape in shapes[split]]
        assert {shape.partition("_")[0] for shape in ids} == of
        assert len(ids) == len(set(ids)) == 12 * len(of)
        manifest = Manifest.load(folder)
        assert manifest == made[span]
        assert {s: manifest.shapes(s) for s in SPLITS} == {s: len(shapes[s]) for s in SPLITS}
        assert contents(folder) == listed(folder)
        assert sorted(count.split for count in manifest.counts) == sorted(SPLITS)
        codes = Counter(f.code for f in manifest.findings if f.code != "split_filled")
        assert codes == {"part_without_points": 1}
    assert made[3].source.startswith("span 2: ")


def test_a_shape_keeps_its_split_whichever_delivery_brings_it(tmp_path, delivery):
    names = [f"s{n}" for n in range(60)]
    add_span(delivery("d1", names), tmp_path / "one", 1, 1, SETTINGS)
    before = {shape: s for s, ids in window_shapes(tmp_path / "one", 1).items() for shape in ids}
    spans = tmp_path / "two"
    add_span(delivery("d2", names[40:]), spans, 1, 1, SETTINGS)
    manifest = add_span(delivery("d3", names[:40]), spans, 2, 2, SETTINGS)
    assert "split_filled" not in {f.code for f in manifest.findings}
    after = {shape: s for s, ids in window_shapes(spans, 2).items() for shape in ids}
    assert after == before


def test_the_same_command_again_changes_no_file_and_another_window_replaces_it(three):
    spans, made = three
    before = {path: path.stat().st_mtime_ns for path in spans.rglob("*")}
    for source in (str(spans.parent / "deliveries" / "d3"), ""):
        assert add_span(source, spans, 3, 2, SETTINGS) == made[3]
    assert {path: path.stat().st_mtime_ns for path in spans.rglob("*")} == before
    wide = add_span("", spans, 3, 3, SETTINGS)
    assert sum(wide.shapes(split) for split in SPLITS) == 36
    folder = window_folder(spans) / span_name(3)
    assert contents(folder) == listed(folder)
    for span in (1, 2, 3):
        assert contents(spans / span_name(span)) == listed(spans / span_name(span))


def test_shapes_in_two_spans_remove_nothing(three, delivery):
    spans, _ = three
    source = delivery("d4", [*(f"s4_{n}" for n in range(6)), "s3_0", "s3_1"])
    manifest = add_span(source, spans, 4, 2, SETTINGS)
    assert spans_in(spans) == [1, 2, 3, 4]
    alone = add_span("", spans, 4, 1, SETTINGS)
    # CloudValidator keeps one of each two and reports the other.
    older = Manifest.load(spans / span_name(3))
    assert [sum(map(m.shapes, SPLITS)) for m in (alone, older, manifest)] == [8, 12, 20]


def test_a_foreign_window_folder_is_refused(tmp_path, delivery):
    mine = window_folder(tmp_path) / "span-1" / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    source = delivery("d1", [f"s_{n}" for n in range(6)])
    assert refused("not_ours", source, tmp_path, 1, 2, SETTINGS).file == str(mine)
    assert contents(mine.parent).keys() == {"mine"}


def test_a_span_is_not_replaced_by_other_data_and_spans_come_in_order(three, delivery):
    spans, _ = three
    before = contents(spans)
    source = delivery("other", [f"x_{n}" for n in range(6)])
    refused("other_data", source, spans, 3, 2, SETTINGS)
    refused("no_span", "", spans, 7, 2, SETTINGS)
    refused("bad_address", "", "gs://bucket/spans", 1, 2, SETTINGS)
    assert contents(spans) == before
    add_span(source, spans, 20261125, 2, SETTINGS)
    assert "20261126" in refused("span_order", source, spans, 5, 2, SETTINGS).message
    assert spans_in(spans) == [1, 2, 3, 20261125]


@pytest.mark.parametrize(
    ("code", "parts", "seed"),
    [("other_parts", ["wing", "body", "tail"], 0), ("other_split", ["body", "wing", "tail"], 1)],
)
def test_spans_that_differ_do_not_mix(three, delivery, code, parts, seed):
    spans, _ = three
    source = delivery("d4", [f"s4_{n}" for n in range(6)], parts)
    refused(code, source, spans, 4, 2, DataSettings(category="Airplane", seed=seed))
    alone = add_span("", spans, 4, 1, SETTINGS)
    assert (alone.categories[0].parts, alone.settings["seed"]) == (tuple(parts), seed)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_file_that_a_span_lost_is_named(three, damage):
    spans, _ = three
    shard = spans / "span-2" / Manifest.load(spans / "span-2").shards[0].file
    content = shard.read_bytes()
    # Not in place: the window's file is the same one.
    shard.unlink()
    if damage == "cut":
        shard.write_bytes(content[:-1])
    assert refused("span_file", "", spans, 3, 3, SETTINGS).file == str(shard)


def test_where_files_cannot_be_linked_they_are_copied(tmp_path, delivery, monkeypatch):
    def no_links(source, target):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    spans = tmp_path / "spans"
    add_span(delivery("d1", [f"s_{n}" for n in range(6)]), spans, 1, 2, SETTINGS)
    assert sum(map(len, window_shapes(spans, 1).values())) == 6


def test_a_window_that_was_killed_while_it_was_assembled(three):
    spans, made = three
    folder = window_folder(spans) / span_name(3)
    before = contents(folder)
    (folder / MANIFEST).rename(folder / f".{'0' * 32}.tmp")
    (folder / "unfinished.json").write_text(f'{{"versions": ["{made[3].version}"]}}')
    (folder / made[3].shards[0].file).unlink()
    assert add_span("", spans, 3, 2, SETTINGS) == made[3]
    assert contents(folder) == before
