"""Raw shapes -> TFRecords with splits, by a Beam pipeline.

    OUT/train/part-00000-of-00003.tfrecord.gz   serialized tf.Examples, see schema/schema.pbtxt
    OUT/val/...   OUT/test/...
    OUT/unlabelled/...                          clouds without any label file, if there are any
    OUT/manifest.json                           counts, hashes, findings; written last

This program lists the source and deals shapes to shards; Beam's workers read the shapes, one shard
at a time, one cloud in memory at a time. The same source and settings give the same bytes. A
conversion that was killed is taken up where it was: finished shards are kept. One whose output is
there already returns at once and touches nothing.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from preprocessing import (
    benchmark,
    conversion_plan,
    examples,
    file_tree,
    layout,
    layouts,
    number_table,
    part_annotation,
    shard_writer,
    splits,
    tfrecord,
)
from preprocessing.conversion_plan import ConversionPlan, make_plan
from preprocessing.destination import (
    PLAN,
    STAGING_SUFFIX,
    SUMMARIES,
    check_output,
    clear,
    open_store,
    publish,
    remove_staging,
    staging_lock,
)
from preprocessing.findings import BadInput, Finding
from preprocessing.layout import Listing, Shape, chosen_categories
from preprocessing.layouts import open_reader
from preprocessing.manifest import MANIFEST, Manifest
from preprocessing.progress import progress
from preprocessing.settings import DataSettings
from preprocessing.shard_writer import ShardSummary, add_counts, summary_file, write_shard
from schema import categories as parts_table
from schema.categories import Category
from schema.record import SPLITS

# Where one of these changes, what was converted before is converted again.
_CODE = (
    benchmark,
    conversion_plan,
    examples,
    file_tree,
    layout,
    layouts,
    number_table,
    part_annotation,
    parts_table,
    shard_writer,
    splits,
    tfrecord,
)
_FINDINGS_SHOWN = 20


def convert(
    source: str, output: str, settings: DataSettings, beam_args: Sequence[str] = ()
) -> Manifest:
    """Converts a folder or .zip of raw shapes.

    Args:
      source: the folder or .zip; any layout of preprocessing.layouts.
      output: the folder to make, or an address that Beam knows (gs://...).
      settings: which shapes, which labels, which splits.
      beam_args: flags for Beam, e.g. ["--runner=DataflowRunner", ...]; by default its direct
      runner.

    Returns:
      The manifest that stands in the output.

    Raises:
      BadInput: the source cannot be converted, or the output is not ours to replace.
    """
    output = output.rstrip("/") if "://" in output else str(Path(output).expanduser())
    reader = open_reader(source, settings)
    chosen = chosen_categories(reader.categories, settings.category)
    listing = reader.list_shapes(chosen)
    categories = tuple(reader.categories[name] for name in chosen)
    fingerprint = _fingerprint(listing, settings, categories)

    check_output(output)
    finished = open_store(output).read(MANIFEST)
    if finished is not None and _made_from(finished, fingerprint):
        return Manifest.from_text(finished.decode())

    staging = output + STAGING_SUFFIX
    with staging_lock(staging):
        try:
            summaries, findings = _convert_all(
                listing, settings, source, staging, fingerprint, beam_args
            )
            _show(findings)
            _check_share(findings, len(listing.shapes), settings)
        except BadInput:
            # What is left would only be in the way: nothing of it can be used.
            remove_staging(staging)
            raise
        manifest = Manifest(
            source=source,
            layout=reader.layout,
            fingerprint=fingerprint,
            categories=categories,
            counts=add_counts([count for summary in summaries for count in summary.counts]),
            shards=tuple(summary.shard for summary in summaries if summary.shard),
            findings=findings,
            settings=settings.model_dump(mode="json"),
        )
        with open_store(staging).write(MANIFEST) as file:
            file.write(manifest.to_text().encode())
        publish(staging, output)
    return manifest


def _convert_all(
    listing: Listing,
    settings: DataSettings,
    source: str,
    staging: str,
    fingerprint: str,
    beam_args: Sequence[str],
) -> tuple[list[ShardSummary], tuple[Finding, ...]]:
    """Writes every shard; once more, should the unreadable shapes have been all of a split."""
    excluded: set[Shape] = set()
    findings: set[Finding] = set()
    while True:
        plan = make_plan(listing, settings, excluded)
        _prepare(staging, f"{fingerprint} {_hash_names(excluded)}")
        _write_shards(plan, settings, source, staging, beam_args)
        store = open_store(staging)
        summaries = [
            ShardSummary.from_text(store.read(summary_file(shard)) or b"") for shard in plan.shards
        ]
        findings.update(plan.findings, *(summary.findings for summary in summaries))
        filled = {count.split for summary in summaries for count in summary.counts}
        if filled.issuperset(SPLITS):
            order = sorted(findings, key=lambda f: (f.code, f.file, f.shape, f.line, f.sentence))
            return summaries, tuple(order)
        bad = {finding.shape for finding in findings if finding.left_out}
        again = {shape for shape in listing.shapes if shape.name in bad}
        if again <= excluded:
            raise AssertionError("a split stayed empty though every shape in it was read")
        excluded |= again


def _prepare(staging: str, plan: str) -> None:
    """Empties the staging folder unless the same conversion was begun in it."""
    store = open_store(staging)
    begun = store.read(PLAN)
    if begun is None or begun.decode(errors="replace") != plan:
        clear(staging)
        with store.write(PLAN) as file:
            file.write(plan.encode())


def _write_shards(
    plan: ConversionPlan,
    settings: DataSettings,
    source: str,
    staging: str,
    beam_args: Sequence[str],
) -> None:
    # Here, not above: a conversion that is up to date needs no Beam, and it takes seconds to
    # import.
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    store = open_store(staging)
    shapes = sum(len(shard.shapes) for shard in plan.shards)
    shards = max(len(plan.shards), 1)

    def done() -> int:
        return shapes * store.count(SUMMARIES) // shards

    with (
        progress("Converting", shapes, done, "shapes"),
        beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline,
    ):
        _ = (
            pipeline
            | "Shards" >> beam.Create([shard.to_text() for shard in plan.shards])
            | "Spread" >> beam.Reshuffle()
            | "Write"
            >> beam.Map(
                write_shard,
                source=source,
                settings_text=settings.model_dump_json(),
                staging=staging,
            )
        )


def _check_share(findings: Sequence[Finding], shapes: int, settings: DataSettings) -> None:
    bad = {finding.shape for finding in findings if finding.left_out}
    if len(bad) > settings.max_bad_share * shapes:
        first = next(finding for finding in findings if finding.left_out)
        raise BadInput(
            "too_many_bad",
            f"{len(bad)} of {shapes} shapes cannot be read, more than the "
            f"{settings.max_bad_share:.0%} that max_bad_share allows. The first: {first} Correct "
            "the source, or raise max_bad_share.",
        )


def _show(findings: Sequence[Finding]) -> None:
    for finding in findings[:_FINDINGS_SHOWN]:
        print(f"{'left out' if finding.left_out else 'note'}: {finding}", file=sys.stderr)
    if len(findings) > _FINDINGS_SHOWN:
        more = len(findings) - _FINDINGS_SHOWN
        print(f"... and {more} more, all listed in {MANIFEST}", file=sys.stderr)


def _fingerprint(listing: Listing, settings: DataSettings, categories: Sequence[Category]) -> str:
    """Hash of all that the output depends on: files, settings, parts, code."""
    hashed = hashlib.sha256(listing.stamp.encode())
    hashed.update(settings.model_dump_json().encode())
    for category in categories:
        hashed.update(repr(category.to_json()).encode())
    for module in _CODE:
        hashed.update(Path(str(module.__file__)).read_bytes())
    return hashed.hexdigest()


def _made_from(manifest: bytes, fingerprint: str) -> bool:
    try:
        return Manifest.from_text(manifest.decode()).fingerprint == fingerprint
    except (BadInput, UnicodeDecodeError):
        return False


def _hash_names(shapes: Collection[Shape]) -> str:
    names = sorted(f"{shape.category}/{shape.name}" for shape in shapes)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
