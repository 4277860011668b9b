"""A window of the newest deliveries becomes one data set, and no shape ever changes its split."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from preprocessing.examples import from_example
from preprocessing.findings import BadInput
from preprocessing.manifest import MANIFEST, Manifest
from preprocessing.settings import DataSettings
from preprocessing.spans import add_span, span_name, spans_in, window_folder
from preprocessing.tfrecord import read_records
from schema.record import SPLITS

SETTINGS = DataSettings(category="Airplane")


@pytest.fixture
def delivery(tmp_path, part_annotation_folder):
    """Makes a PartAnnotation folder of some shapes of one name each."""

    def make(name, shapes, parts=("body", "wing", "tail")):
        metadata = {"Airplane": {"directory": "planes", "lables": list(parts)}}
        folder = part_annotation_folder(tmp_path / "deliveries" / name, metadata)
        for place, shape in enumerate(shapes):
            folder.shape(shape, points=8 + place)
        return str(folder.root)

    return make


@pytest.fixture
def three(tmp_path, delivery):
    """Three spans of six shapes each, window 2; the folder, and the manifest at each span."""
    spans = tmp_path / "spans"
    made = {}
    for span in (1, 2, 3):
        source = delivery(f"d{span}", [f"s{span}_{n}" for n in range(6)])
        made[span] = add_span(source, spans, span, 2, SETTINGS)
    return spans, made


def window_shapes(spans, span):
    """Ids of the window's shapes, by split."""
    folder = window_folder(spans) / span_name(span)
    found = {split: [] for split in SPLITS}
    for split, ids in found.items():
        for path in sorted((folder / split).iterdir()):
            with path.open("rb") as file:
                ids += [from_example(record).shape_id for record in read_records(file, path.name)]
    return found


def test_a_window_holds_its_newest_spans_and_one_manifest(three):
    spans, made = three
    assert spans_in(spans) == [1, 2, 3]
    for span, of in ((1, {"s1"}), (2, {"s1", "s2"}), (3, {"s2", "s3"})):
        found = window_shapes(spans, span)
        ids = [shape for split in SPLITS for shape in found[split]]
        assert {shape.partition("_")[0] for shape in ids} == of
        assert len(ids) == len(set(ids)) == 6 * len(of)
        manifest = Manifest.load(window_folder(spans) / span_name(span))
        assert manifest == made[span]
        assert {split: manifest.shapes(split) for split in SPLITS} == {
            split: len(found[split]) for split in SPLITS
        }
        (folder,) = [window_folder(spans) / span_name(span)]
        assert {shard.file for shard in manifest.shards} == {
            f"{path.parent.name}/{path.name}" for path in folder.glob("*/*.gz")
        }
        assert Counter(count.split for count in manifest.counts) == dict.fromkeys(SPLITS, 1)
    assert made[3].source.startswith("span 2: ")


def test_a_shape_keeps_its_split_as_the_window_moves(three):
    spans, _ = three
    splits = {}
    for span in (1, 2, 3):
        for split, ids in window_shapes(spans, span).items():
            for shape in ids:
                assert splits.setdefault(shape, split) == split


def test_the_same_command_again_changes_no_file(three, delivery):
    spans, made = three
    before = {path: path.stat().st_mtime_ns for path in spans.rglob("*") if path.is_file()}
    for source in (str(spans.parent / "deliveries" / "d3"), ""):
        assert add_span(source, spans, 3, 2, SETTINGS) == made[3]
    after = {path: path.stat().st_mtime_ns for path in spans.rglob("*") if path.is_file()}
    assert after == before


def test_another_window_of_the_same_span_is_put_together_anew(three):
    spans, _ = three
    wide = add_span("", spans, 3, 3, SETTINGS)
    assert sum(wide.shapes(split) for split in SPLITS) == 18
    # The window of an older span is what it was, and can be had again.
    assert {s.partition("_")[0] for s in window_shapes(spans, 2)["train"]} == {"s1", "s2"}
    assert not [path for path in window_folder(spans).iterdir() if "." in path.name]


def test_a_shape_of_an_older_span_is_refused_and_the_span_can_be_given_again(three, delivery):
    spans, _ = three
    # Outside of the window, too: what was tested on is never learnt from.
    source = delivery("d4", [f"s4_{n}" for n in range(6)] + ["s1_0"])
    with pytest.raises(BadInput, match=r"1 of the span's shapes are in span 1 already .*s1_0,"):
        add_span(source, spans, 4, 2, SETTINGS)
    assert spans_in(spans) == [1, 2, 3]
    shutil.rmtree(source)
    add_span(delivery("d4", [f"s4_{n}" for n in range(6)]), spans, 4, 2, SETTINGS)
    assert spans_in(spans) == [1, 2, 3, 4]


def test_the_shapes_of_a_span_that_was_removed_stay_out_of_newer_ones(three, delivery):
    spans, _ = three
    shutil.rmtree(spans / "span-1")
    source = delivery("d4", [f"s4_{n}" for n in range(6)] + ["s1_0"])
    with pytest.raises(BadInput, match="are in span 1 already"):
        add_span(source, spans, 4, 2, SETTINGS)


def test_a_corrected_span_keeps_its_splits_and_may_not_learn_from_what_it_held_out(three, delivery):
    spans, _ = three
    shutil.rmtree(spans / "span-3")
    shapes = [f"s3_{n}" for n in range(6)]
    before = window_shapes(spans, 3)
    # Other points, the same shapes.
    corrected = delivery("d3_corrected", shapes[::-1])
    add_span(corrected, spans, 3, 2, SETTINGS)
    after = window_shapes(spans, 3)
    assert {s: sorted(ids) for s, ids in after.items()} == {s: sorted(before[s]) for s in before}
    shutil.rmtree(spans / "span-3")
    other_seed = SETTINGS.model_copy(update={"seed": 1})
    with pytest.raises(BadInput, match=r"shapes that span 3 held out before would now be learnt"):
        add_span(corrected, spans, 3, 2, other_seed)
    add_span(corrected, spans, 3, 2, SETTINGS)


def test_a_span_is_not_replaced_by_other_data(three, delivery):
    spans, _ = three
    source = delivery("other", [f"x_{n}" for n in range(6)])
    with pytest.raises(BadInput, match=r"span-3 holds what was made from .*d3.*next number"):
        add_span(source, spans, 3, 2, SETTINGS)
    listed = json.loads((spans / "span-3.shapes.json").read_text())["shapes"]
    assert sorted(shape for shapes in listed.values() for shape in shapes) == [
        f"s3_{n}" for n in range(6)
    ]


def test_spans_come_in_order(three, delivery):
    spans, _ = three
    source = delivery("late", [f"x_{n}" for n in range(6)])
    add_span(source, spans, 20261125, 2, SETTINGS)
    late = delivery("later", [f"y_{n}" for n in range(6)])
    with pytest.raises(BadInput, match=r"has span 20261125 already.*Give 20261126"):
        add_span(late, spans, 5, 2, SETTINGS)
    assert spans_in(spans) == [1, 2, 3, 20261125]


def test_a_span_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"has no span 7 \(there are: none\)"):
        add_span("", tmp_path / "spans", 7, 2, SETTINGS)


def test_spans_with_other_parts_do_not_mix(three, delivery):
    spans, _ = three
    source = delivery("d4", [f"s4_{n}" for n in range(6)], parts=("wing", "body", "tail"))
    with pytest.raises(BadInput, match="parts wing, body, tail in span 4 and body, wing, tail"):
        add_span(source, spans, 4, 2, SETTINGS)
    # Alone in its window it will do.
    assert add_span("", spans, 4, 1, SETTINGS).categories[0].parts == ("wing", "body", "tail")


@pytest.mark.parametrize(
    ("damage", "words"), [("gone", "No such file"), ("cut", "bytes, expected")]
)
def test_a_file_that_a_span_lost_is_named(three, damage, words):
    spans, _ = three
    shard = next((spans / "span-2" / "train").iterdir())
    if damage == "gone":
        shard.unlink()
    else:
        # Not in place: the window's file is the same one.
        content = shard.read_bytes()[:-1]
        shard.unlink()
        shard.write_bytes(content)
    with pytest.raises(BadInput, match=words) as error:
        add_span("", spans, 3, 3, SETTINGS)
    assert str(shard) in str(error.value)


def test_where_files_cannot_be_linked_they_are_copied(tmp_path, delivery, monkeypatch):
    def no_links(source, target):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    spans = tmp_path / "spans"
    add_span(delivery("d1", [f"s_{n}" for n in range(6)]), spans, 1, 2, SETTINGS)
    assert sum(map(len, window_shapes(spans, 1).values())) == 6
    assert (window_folder(spans) / span_name(1) / MANIFEST).exists()


def test_object_storage_is_refused_in_a_sentence():
    with pytest.raises(BadInput, match=r"gs://bucket/spans: spans are put together on a disk"):
        add_span("", "gs://bucket/spans", 1, 2, SETTINGS)


def test_a_run_that_was_killed_while_it_put_a_window_together_leaves_nothing_in_the_way(three):
    spans, made = three
    target = window_folder(spans) / span_name(3)
    shutil.copytree(target, Path(f"{target}.partial"))
    target.rename(f"{target}.replaced")
    assert add_span("", spans, 3, 2, SETTINGS) == made[3]
    assert sorted(path.name for path in window_folder(spans).iterdir()) == [
        "span-1",
        "span-2",
        "span-3",
    ]
