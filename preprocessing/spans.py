"""Data that grows: each delivery is a span, and a run takes a window of the newest.

    SPANS/span-1/, SPANS/span-2/, ...       each the conversion of one delivery, by itself
    SPANS/span-2.shapes.json                the labelled shapes of span 2, by split
    SPANS/window/span-3/                    the data set of the spans that span 3's window holds

A shape stands in one span for good, and there in one split: one that was tested on is never
learnt from later. The window's record files are the spans' own, linked, with one manifest over
them; TFX's pattern for it is `span-{SPAN}/train/*.gz`, so that ML Metadata knows a model's span.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from preprocessing.convert import convert
from preprocessing.destination import staging_lock
from preprocessing.examples import from_example
from preprocessing.findings import BadInput
from preprocessing.manifest import MANIFEST, Manifest
from preprocessing.settings import DataSettings
from preprocessing.shard_writer import add_counts
from preprocessing.tfrecord import read_records
from schema.categories import Category
from schema.record import SPLITS

WINDOW = "window"
_SPAN = re.compile(r"span-(\d+)")
_SHAPES_SUFFIX = ".shapes.json"


def add_span(
    source: str,
    folder: str | Path,
    span: int,
    window: int,
    settings: DataSettings,
    beam_args: Sequence[str] = (),
) -> Manifest:
    """Converts a delivery as a span, and puts the data set of its window together.

    Args:
      source: the delivery, a folder or zip of raw shapes; "" takes the span that is there.
      folder: SPANS.
      span: its number; later deliveries have larger ones, with gaps where you like (20261125).
      window: how many spans a run takes: this one and the newest before it.
      settings: as in `convert`.
      beam_args: as in `convert`.

    Returns:
      The manifest of the window, which stands in `window_folder(folder) / span_name(span)`.

    Raises:
      BadInput: the delivery cannot be converted; the span is there, made from something else; a
        shape is in another span already, or was held out in this one; the spans' parts differ; a
        file of a span is missing.
    """
    if "://" in str(folder):
        raise BadInput(
            "bad_address",
            f"{folder}: spans are put together on a disk. Give a folder of this machine, and copy "
            f"its {WINDOW}/{span_name(span)} to object storage.",
        )
    root = Path(folder).expanduser()
    here = root / span_name(span)
    with staging_lock(str(root)):
        if source:
            _refuse_disorder(root, span)
            convert(source, str(here), settings, beam_args, replace_other=False)
        elif not (here / MANIFEST).exists():
            there = ", ".join(map(str, spans_in(root))) or "none"
            raise BadInput(
                "no_span",
                f"{root} has no span {span} (there are: {there}). Give the data that it is made "
                "from.",
            )
        _check_shapes(root, span, source)
        return _assemble(root, span, window)


def span_name(span: int) -> str:
    """The name of a span's folder."""
    return f"span-{span}"


def window_folder(folder: str | Path) -> Path:
    """Where the windows' data sets stand, each under its newest span's name."""
    return Path(folder).expanduser() / WINDOW


def spans_in(folder: str | Path) -> list[int]:
    """The numbers of the spans that are finished, in order."""
    found = (_SPAN.fullmatch(path.parent.name) for path in Path(folder).glob(f"*/{MANIFEST}"))
    return sorted(int(name.group(1)) for name in found if name)


def _refuse_disorder(root: Path, span: int) -> None:
    there = spans_in(root)
    if there and span < there[-1] and span not in there:
        raise BadInput(
            "span_order",
            f"{root} has span {there[-1]} already, and a new one must have a larger number than "
            f"all before it; {span} is smaller. Give {there[-1] + 1}.",
        )


def _check_shapes(root: Path, span: int, source: str) -> None:
    """Sees to it that the span's labelled shapes are in no other span, and writes them down.

    Raises:
      BadInput: one is; or one that this span held out before would now be learnt from.
    """
    fingerprint = Manifest.load(root / span_name(span)).fingerprint
    written, before = _written_down(root, span)
    if written == fingerprint:
        return
    shapes = _read_shapes(root, span)
    for other in _numbers(root) - {span}:
        elsewhere = _written_down(root, other)[1] or _read_shapes(root, other)
        twice = sorted(shapes.keys() & elsewhere.keys())
        if twice:
            shutil.rmtree(root / span_name(span))  # Made just now; else it would stand in the way.
            raise BadInput(
                "shape_in_two_spans",
                f"{len(twice)} of the span's shapes are in span {other} already (the first: "
                f"{twice[0]}, there in {elsewhere[twice[0]]}). A shape stays in the span and the "
                "split that it came in, so that none is learnt from that a model was tested on: "
                f"take them out of {source or 'the data'}, or give them other names if they are "
                f"other shapes. To correct shapes, correct what span {other} was made from, remove "
                f"{root / span_name(other)}, and convert it again.",
            )
    moved = sorted(k for k, v in shapes.items() if v == "train" and before.get(k, v) != v)
    if moved:
        shutil.rmtree(root / span_name(span))
        raise BadInput(
            "shape_changed_split",
            f"{len(moved)} shapes that span {span} held out before would now be learnt from (the "
            f"first: {moved[0]}, in {before[moved[0]]} before), since it has other shapes or other "
            "shares or seed. Give it the shapes that it had, and new ones the next number.",
        )
    by_split = {split: sorted(k for k, v in shapes.items() if v == split) for split in SPLITS}
    text = json.dumps({"fingerprint": fingerprint, "shapes": by_split}, indent=1)
    unfinished = Path(f"{_shapes_file(root, span)}.unfinished")
    unfinished.write_text(text + "\n", "utf-8")
    os.replace(unfinished, _shapes_file(root, span))


def _numbers(root: Path) -> set[int]:
    """All spans that there are or were: the list of one's shapes outlives its records."""
    names = (path.name.removesuffix(_SHAPES_SUFFIX) for path in root.glob(f"*{_SHAPES_SUFFIX}"))
    found = (_SPAN.fullmatch(name) for name in names)
    return {int(name.group(1)) for name in found if name} | set(spans_in(root))


def _shapes_file(root: Path, span: int) -> Path:
    return root / f"{span_name(span)}{_SHAPES_SUFFIX}"


def _written_down(root: Path, span: int) -> tuple[str, dict[str, str]]:
    """Which conversion a span's list of shapes is of, and each one's split; empty without one."""
    file = _shapes_file(root, span)
    if not file.exists():
        return "", {}
    try:
        value = json.loads(file.read_text("utf-8"))
        shapes = {shape: split for split in SPLITS for shape in value["shapes"][split]}
        return str(value["fingerprint"]), shapes
    except (ValueError, KeyError, TypeError):
        raise BadInput(
            "bad_shapes_file",
            f"{file} is damaged. Remove it: it is made anew from the span's records.",
        ) from None


def _read_shapes(root: Path, span: int) -> dict[str, str]:
    """The split of each labelled shape of a span, by its id, from its records."""
    found = {}
    for shard in Manifest.load(root / span_name(span)).shards:
        split = shard.file.split("/")[0]
        if split in SPLITS:
            with _open(root / span_name(span) / shard.file) as records:
                for record in read_records(records, shard.file):
                    found[from_example(record).shape_id] = split
    return found


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _missing(path, error) from None


def _missing(path: Path, error: OSError) -> BadInput:
    return BadInput(
        "span_file",
        f"{path} cannot be read ({error.strerror}). Put it back, or remove its span's folder and "
        "convert the span again.",
    )


def _assemble(root: Path, span: int, window: int) -> Manifest:
    """The window's data set; one that is there already stays as it is."""
    chosen = [number for number in spans_in(root) if number <= span][-window:]
    manifests = {number: Manifest.load(root / span_name(number)) for number in chosen}
    stamps = [[number, manifest.fingerprint] for number, manifest in manifests.items()]
    fingerprint = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    target = window_folder(root) / span_name(span)
    if (target / MANIFEST).exists():
        finished = Manifest.load(target)
        if finished.fingerprint == fingerprint:
            return finished
    partial, replaced = Path(f"{target}.partial"), Path(f"{target}.replaced")
    for left in (partial, replaced):
        shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
    shards = []
    for number, manifest in manifests.items():
        for shard in manifest.shards:
            split, _, name = shard.file.partition("/")
            file = f"{split}/{span_name(number)}-{name}"
            _link(root / span_name(number) / shard.file, partial / file, shard.bytes)
            shards.append(replace(shard, file=file))
    newest = manifests[span]
    made = Manifest(
        source="; ".join(f"span {number}: {m.source}" for number, m in manifests.items()),
        layout=newest.layout,
        fingerprint=fingerprint,
        categories=_categories(manifests),
        counts=add_counts([count for m in manifests.values() for count in m.counts]),
        shards=tuple(shards),
        findings=tuple(finding for m in manifests.values() for finding in m.findings),
        settings=newest.settings,
        not_converted=newest.not_converted,
    )
    (partial / MANIFEST).write_text(made.to_text(), "utf-8")
    if target.exists():
        target.rename(replaced)
    partial.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)
    return made


def _categories(manifests: dict[int, Manifest]) -> tuple[Category, ...]:
    """All categories, in an order that does not change as the window moves on.

    Raises:
      BadInput: two spans give a category different parts.
    """
    found: dict[str, tuple[int, Category]] = {}
    for number, manifest in manifests.items():
        for category in manifest.categories:
            before, known = found.setdefault(category.name, (number, category))
            if known.parts != category.parts:
                raise BadInput(
                    "other_parts",
                    f"{category.name} has the parts {', '.join(category.parts)} in span {number} "
                    f"and {', '.join(known.parts)} in span {before}. Give the same parts in the "
                    f"same order, or a window that leaves span {before} out (spans.window).",
                )
    return tuple(category for _, (_, category) in sorted(found.items()))


def _link(source: Path, target: Path, size: int) -> None:
    """A second name for a file that is never written to again; a copy where there are no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.stat().st_size != size:
            raise BadInput(
                "span_file",
                f"{source} has {source.stat().st_size:,} bytes, expected {size:,}. Put it back, or "
                "remove its span's folder and convert the span again.",
            )
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    except OSError as error:
        raise _missing(source, error) from None
