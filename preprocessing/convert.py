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

import contextlib
import hashlib
import io
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing import (
    benchmark,
    benchmark_hdf5,
    benchmark_parts,
    cloud_arrays,
    cloud_columns,
    cloud_files,
    cloud_ply,
    cloud_tables,
    clouds_yaml,
    conversion_plan,
    examples,
    file_tree,
    json_text,
    layout,
    layouts,
    number_table,
    own_clouds,
    part_annotation,
    shard_writer,
    splits,
    tfrecord,
)
from preprocessing.conversion_plan import ConversionPlan, make_plan, shapes_to_exclude
from preprocessing.destination import (
    PLAN,
    STAGING_SUFFIX,
    SUMMARIES,
    check_output,
    clear,
    open_store,
    publish,
    remove_staging,
    settle,
    staging_lock,
)
from preprocessing.findings import BadInput, Finding, counted
from preprocessing.in_process import IN_PROCESS
from preprocessing.layout import Listing, Shape, chosen_categories
from preprocessing.layouts import open_reader
from preprocessing.manifest import MANIFEST, Manifest
from preprocessing.progress import progress
from preprocessing.settings import DataSettings
from preprocessing.shard_writer import ShardSummary, add_counts, summary_file, write_shard
from schema import categories as parts_table
from schema.categories import Category

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

# Where one of these changes, what was converted before is converted again.
_CODE = (
    benchmark,
    benchmark_hdf5,
    benchmark_parts,
    cloud_arrays,
    cloud_columns,
    cloud_files,
    cloud_ply,
    cloud_tables,
    clouds_yaml,
    conversion_plan,
    examples,
    file_tree,
    json_text,
    layout,
    layouts,
    number_table,
    own_clouds,
    part_annotation,
    parts_table,
    shard_writer,
    splits,
    tfrecord,
)
_FINDINGS_SHOWN = 20
# After these the finished shards are kept: the same command goes on.
_GOES_ON = ("cannot_write", "worker_stopped")
_SAID_BY_WORKER = re.compile(r"BadInput: (.+?)(?: \[while running|\n|$)")
_SYSTEM_ERROR = re.compile(r"\[Errno \d+\] ([^:\n\[]+)")


def convert(
    source: str,
    output: str,
    settings: DataSettings,
    beam_args: Sequence[str] = (),
    replace_other: bool = True,
) -> Manifest:
    """Converts a folder or .zip of raw shapes.

    Args:
      source: the folder or .zip; any layout of preprocessing.layouts.
      output: the folder to make, or an address in object storage that Beam knows (gs://...).
      settings: which shapes, which labels, which splits.
      beam_args: flags for Beam, e.g. ["--runner=DataflowRunner", ...]; by default this
      process does the work.
      replace_other: whether a data set that was made from something else gives way.

    Returns:
      The manifest that stands in the output.

    Raises:
      BadInput: the source cannot be converted, the output is not ours to replace, or Beam does
      not take the flags.
    """
    output = output.rstrip("/") if "://" in output else str(Path(output).expanduser())
    reader = open_reader(source, settings)
    chosen = chosen_categories(reader.categories, settings.category)
    listing = reader.list_shapes(chosen)
    if settings.category.lower() not in ("all", *(name.lower() for name in chosen)):
        listing = replace(listing, findings=[*listing.findings, _only_category(settings, chosen)])
    categories = tuple(reader.categories[name] for name in chosen)
    fingerprint = _fingerprint(listing, settings, categories)

    if "://" in output:
        # Beam's file systems have flags of their own, asked for from the first look.
        from apache_beam.io.filesystems import FileSystems

        FileSystems.set_options(_beam_options(beam_args))
    check_output(output)
    settle(output)
    finished = open_store(output).read(MANIFEST)
    if finished is not None and _made_from(finished, fingerprint):
        return Manifest.from_text(finished.decode())
    if finished is not None and not replace_other:
        raise BadInput(
            "other_data",
            f"{output} holds what was made from {Manifest.from_text(finished.decode()).source}, "
            "with other files, other settings or another version of this program. New data: give "
            "it the next number. To take what is there: give no data. To make it anew: remove the "
            "folder first.",
        )

    # Before the staging folder is touched: a wrong flag must not cost its finished shards.
    _beam_options(beam_args)
    staging = output + STAGING_SUFFIX
    with _written(staging), staging_lock(staging):
        try:
            summaries, findings = _convert_all(
                listing, settings, source, staging, fingerprint, beam_args
            )
            _show(findings)
            check_share(findings, len(listing.shapes), settings)
        except BadInput as error:
            # What is left would only be in the way: nothing of it can be used.
            if error.code not in _GOES_ON:
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
            not_converted=tuple(name for name in reader.categories if name not in chosen),
        )
        if finished is not None:
            _say_what_is_replaced(finished, source, output)
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
        try:
            plan = make_plan(listing, settings, excluded)
        except BadInput:
            # They may tell why: labels that were not found, categories that were not read.
            _show(listing.findings)
            raise
        _prepare(staging, f"{fingerprint} {_hash_names(excluded)}")
        _write_shards(plan, settings, source, staging, fingerprint, beam_args)
        store = open_store(staging)
        summaries = [
            ShardSummary.from_text(store.read(summary_file(shard)) or b"") for shard in plan.shards
        ]
        findings.update(*(summary.findings for summary in summaries))
        filled = {count.split for summary in summaries for count in summary.counts}
        again = shapes_to_exclude(listing, findings, filled, excluded)
        if not again:
            findings.update(plan.findings)
            order = sorted(findings, key=lambda f: (f.code, f.file, f.shape, f.line, f.sentence))
            return summaries, tuple(order)
        excluded = again


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
    fingerprint: str,
    beam_args: Sequence[str],
) -> None:
    import apache_beam as beam

    # Options of its own for each pipeline: used twice, the second silently runs on the direct
    # runner instead of a cluster.
    options = _parsed(beam_args)
    store = open_store(staging)
    shapes = sum(len(shard.shapes) for shard in plan.shards)
    shards = max(len(plan.shards), 1)

    def done() -> int:
        return shapes * store.count(SUMMARIES) // shards

    with (
        _worked(staging),
        progress("Converting", shapes, done, "shapes"),
        beam.Pipeline(options=options) as pipeline,
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
                fingerprint=fingerprint,
                staging=staging,
            )
        )


@contextlib.contextmanager
def _worked(staging: str) -> Iterator[None]:
    """Turns what Beam makes of a worker's error back into a sentence."""
    try:
        yield
    except BadInput:
        raise
    # Each runner has its own type for it; the worker's error is in the text.
    except Exception as error:
        text = str(error)
        said = _SAID_BY_WORKER.findall(text)
        if said:
            raise BadInput("worker_stopped", said[-1]) from None
        reason = _SYSTEM_ERROR.findall(text)
        if reason:
            raise _cannot_write(staging, reason[-1]) from None
        raise


@contextlib.contextmanager
def _written(staging: str) -> Iterator[None]:
    """Says in one sentence why this program itself cannot write."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(staging, error.strerror or f"{error!s:.200}") from None


def _cannot_write(staging: str, reason: str) -> BadInput:
    return BadInput(
        "cannot_write",
        f"stopped while writing to {staging} ({reason.strip().lower()}). What is finished stays "
        "there: see to it (make room, or give the right to write) and run the same command again, "
        "it goes on; or give another output and remove that folder.",
    )


def _only_category(settings: DataSettings, chosen: Sequence[str]) -> Finding:
    return Finding(
        "only_category",
        "",
        "",
        0,
        f"no category {settings.category!r} in this source; {chosen[0]}, its only one, was taken. "
        f"Nothing to do, or say so: --category {chosen[0]}.",
        False,
    )


def _say_what_is_replaced(finished: bytes, source: str, output: str) -> None:
    try:
        before = Manifest.from_text(finished.decode()).source
    except (BadInput, UnicodeDecodeError):
        return
    if Path(before).absolute() != Path(source).absolute():
        print(
            f"note: {output} held the conversion of {before}; it is replaced by that of {source}",
            file=sys.stderr,
        )


def _beam_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's form of the flags; raises BadInput where it does not take them."""
    # Here, not above: a conversion that is up to date needs no Beam, and it takes seconds to
    # import.
    import apache_beam as beam

    reason = ""
    if beam_args and not beam_args[0].startswith("-"):
        reason = f"{beam_args[0]!r} is no option"
    # For a value that it cannot read, Beam prints all its options and leaves.
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            options = beam.Pipeline(options=_parsed(beam_args)).options
            options.get_all_options()
        sys.stderr.write(printed.getvalue())
    except SystemExit:
        reason = printed.getvalue().strip().rsplit("\n", 1)[-1].partition("error: ")[2]
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())
    if reason:
        raise BadInput(
            "bad_beam_option",
            f"Beam cannot start with {' '.join(beam_args)!r}: {reason.rstrip('.')}. Correct what "
            "it is given.",
        )
    return options


def _parsed(beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's form of the flags; the work stays in this process unless they say otherwise."""
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions([*IN_PROCESS, *beam_args])


def check_share(findings: Sequence[Finding], shapes: int, settings: DataSettings) -> None:
    """Raises BadInput where more of the listed shapes were left out than `max_bad_share` allows."""
    bad = {finding.shape for finding in findings if finding.left_out}
    if len(bad) > settings.max_bad_share * shapes:
        first = next(finding for finding in findings if finding.left_out)
        raise BadInput(
            "too_many_bad",
            f"{len(bad)} of {counted(shapes, 'shape')} cannot be read, more than the "
            f"{settings.max_bad_share:.0%} that max_bad_share allows. The first: {first} Correct "
            "the source, or raise data.max_bad_share in the config file (--config).",
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
