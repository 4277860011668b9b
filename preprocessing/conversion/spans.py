"""Data that grows: each delivery is a span, and a run takes a window of the newest ones.

    SPANS/span-1/, SPANS/span-2/, ...   each the conversion of one delivery
    SPANS/window/span-3/                the data set of the spans in span 3's window

A shape's split depends on its category, its id and the seed alone, so that it never changes. The
record files of a window are links to those of the spans; TFX knows the pattern `span-{SPAN}/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from preprocessing.conversion.checks import check_parts, in_order
from preprocessing.conversion.convert import convert, storage_errors
from preprocessing.conversion.manifest import MANIFEST, Manifest, add_counts
from preprocessing.conversion.output import Output
from preprocessing.settings import DataSettings
from schema.categories import Category
from schema.errors import UserError

_SPAN = re.compile(r"span-(\d+)")


def add_span(
    source: str,
    folder: str | Path,
    span: int,
    window: int,
    settings: DataSettings,
    beam_args: Sequence[str] = (),
) -> Manifest:
    """Converts a delivery as a span, and assembles the data set of its window.

    `folder` is SPANS, on a local disk. A new span has the largest number; with "" as `source` it
    exists. The window is this span and the newest before it, at most `window` together. UserError
    if the spans are not in order or do not fit together; and as `convert`.
    """
    if "://" in str(folder):
        message = "spans are assembled on a local disk. Give a folder of this machine."
        raise UserError("bad_address", message, str(folder))
    root = Path(folder).expanduser()
    spans = spans_in(root)
    if source:
        if spans and span < spans[-1] and span not in spans:
            message = f"span {span} is new but span {spans[-1]} exists. Give {spans[-1] + 1}."
            raise UserError("span_order", message, str(root))
        convert(source, str(root / span_name(span)), settings, beam_args, growing=True)
    elif span not in spans:
        message = f"found no span {span}, only {spans}. Give its data."
        raise UserError("no_span", message, str(root))
    chosen = [number for number in spans_in(root) if number <= span][-window:]
    with storage_errors(str(root)):
        return _assemble(root, chosen)


def span_name(span: int) -> str:
    """The name of a span's folder."""
    return f"span-{span}"


def window_folder(folder: str | Path) -> Path:
    """The folder with the data sets of the windows, each under the name of its newest span."""
    return Path(folder).expanduser() / "window"


def spans_in(folder: str | Path) -> list[int]:
    """Numbers of the finished spans, in order."""
    names = [path.parent.name for path in Path(folder).expanduser().glob(f"*/{MANIFEST}")]
    return sorted(int(match.group(1)) for match in map(_SPAN.fullmatch, names) if match)


def _assemble(root: Path, spans: Sequence[int]) -> Manifest:
    """The data set of a window; one that is up to date stays as it is."""
    manifests = {number: Manifest.load(root / span_name(number)) for number in spans}
    stamps = [[number, manifest.fingerprint] for number, manifest in manifests.items()]
    fingerprint = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    output = Output(str(window_folder(root) / span_name(spans[-1])))
    if output.manifest is not None and output.has(fingerprint):
        output.finish()
        return output.manifest
    for number, manifest in manifests.items():
        if damaged := Output(str(root / span_name(number))).damage(manifest):
            message = "is missing or cut. Restore it, or remove its span and convert that again."
            raise UserError("span_file", message, damaged)
    categories = _categories(manifests)
    counts = add_counts(count for manifest in manifests.values() for count in manifest.counts)
    findings = [finding for manifest in manifests.values() for finding in manifest.findings]
    notes = check_parts([], counts, categories)
    output.start(fingerprint[:16])
    shards = []
    for number, manifest in manifests.items():
        for shard in manifest.shards:
            name = f"{span_name(number)}-{Path(shard.file).name}"
            file = f"{fingerprint[:16]}/{shard.split}/{name}"
            shards.append(replace(shard, file=file))
            source, target = root / span_name(number) / shard.file, Path(output.root, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            # Neither is written to again.
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
    made = replace(
        manifests[spans[-1]],
        source="; ".join(f"span {number}: {m.source}" for number, m in manifests.items()),
        fingerprint=fingerprint,
        categories=categories,
        counts=counts,
        shards=tuple(shards),
        findings=in_order([*(f for f in findings if f.code != "part_without_points"), *notes]),
    )
    output.publish(made)
    return made


def _categories(manifests: dict[int, Manifest]) -> tuple[Category, ...]:
    """All categories by name; UserError if the spans differ in parts, seed or shares."""
    known: dict[str, Category] = {}
    advice = "Remove a span and convert it again, or use a smaller window (spans.window)."
    splits = {n: (m.settings.get("seed"), m.settings.get("split")) for n, m in manifests.items()}
    newest = splits[max(splits)]
    for number, manifest in manifests.items():
        if (other := splits[number]) != newest:
            message = f"span {number} has seed and shares {other}, the newest {newest}. {advice}"
            raise UserError("other_split", message)
        for category in manifest.categories:
            first, parts = known.setdefault(category.name, category).parts, category.parts
            if first != parts:
                found = f"{category.name} has the parts {', '.join(parts)} in span {number}"
                raise UserError("other_parts", f"{found}, {', '.join(first)} before. {advice}")
    return tuple(known[name] for name in sorted(known))
