"""Raw shapes -> TFRecords with splits: list, plan, write with Beam, check, publish.

Beam's workers read one cloud at a time. The same source and settings give the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import isal
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

import schema
from preprocessing import clouds, conversion, datasets
from preprocessing.conversion.beam_options import IN_PROCESS
from preprocessing.conversion.checks import check_parts, check_share, in_order, reasons
from preprocessing.conversion.manifest import FORMAT, Manifest, add_counts
from preprocessing.conversion.output import Output, Storage
from preprocessing.conversion.plan import Plan, make_plan, must_plan_again
from preprocessing.conversion.records import SUFFIX
from preprocessing.conversion.shards import Job, ShardSummary, read_summary, write_shard
from preprocessing.datasets.base import chosen_categories
from preprocessing.datasets.layouts import open_reader
from preprocessing.progress import progress
from preprocessing.settings import DataSettings
from schema.code_hash import hash_code
from schema.errors import Finding, UserError

_hash_code = functools.cache(hash_code)


def convert(
    source: str,
    output: str,
    settings: DataSettings,
    beam_args: Sequence[str] = (),
    growing: bool = False,
) -> Manifest:
    """Converts a folder or .zip of raw shapes, unless the output is complete and up to date.

    `output` is a folder that is absent, empty or ours, or an address in object storage (gs://...);
    `beam_args` are Beam's options, by default for this process. Deliveries of `growing` data get
    their splits by id, see `make_plan`, and do not replace a data set made from something else.
    """
    reader = open_reader(source, settings)
    chosen = chosen_categories(reader.categories, settings.category)
    listing = reader.list_shapes(chosen)
    categories = tuple(reader.categories[name] for name in chosen)
    # All that the data set depends on.
    code = _hash_code(schema, clouds, datasets, conversion)
    values = [FORMAT, code, isal.__version__, listing.stamp, settings.model_dump(), growing]
    values += [category.to_json() for category in categories]
    fingerprint = hashlib.sha256(json.dumps(values).encode()).hexdigest()
    _check_beam_args(beam_args)
    FileSystems.set_options(PipelineOptions([*IN_PROCESS, *beam_args]))
    with storage_errors(output):
        remote = "://" in output
        target = Output(output.rstrip("/") if remote else str(Path(output).expanduser()))
        before = target.manifest
        if before is not None:
            if target.has(fingerprint):
                target.finish()
                print(f"note: {output} is up to date", file=sys.stderr)
                return before
            if growing:
                message = f"was made from {before.source} with other files, settings or code."
                raise UserError("other_data", f"{message} Remove it to convert again.", output)
            if Path(before.source).absolute() != Path(source).absolute():
                note = f"note: {output}: {source} will replace the conversion of {before.source}"
                print(note, file=sys.stderr)
        job = Job(source, settings, target.root, fingerprint[:16])
        target.start(job.version)
        found: tuple[Finding, ...] = ()
        must_plan = True
        while must_plan:
            plan = make_plan(listing, settings, found, growing)
            summaries = _write_shards(plan, job, beam_args)
            found = in_order([*found, *(f for summary in summaries for f in summary.findings)])
            counts = add_counts(count for summary in summaries for count in summary.counts)
            notes = check_parts(found, counts, categories)
            check_share(found, len(listing.shapes), settings)
            must_plan = must_plan_again(plan, found, {count.split for count in counts})
        manifest = Manifest(
            source=source,
            layout=reader.layout,
            fingerprint=fingerprint,
            settings=settings.model_dump(mode="json"),
            categories=categories,
            counts=counts,
            shards=tuple(summary.shard for summary in summaries if summary.shard),
            findings=in_order([*found, *plan.findings, *notes]),
            not_converted=tuple(name for name in reader.categories if name not in chosen),
        )
        target.publish(manifest)
    for line in reasons(manifest.findings):
        print(line, file=sys.stderr)
    return manifest


def _write_shards(plan: Plan, job: Job, beam_args: Sequence[str]) -> list[ShardSummary]:
    storage = Storage(job.output)
    shapes = sum(len(shard.shapes) for shard in plan.shards)

    def done() -> int:
        files = [name for name, _ in storage.files(job.version) if name.endswith(SUFFIX)]
        return min(shapes, shapes * len(files) // len(plan.shards))

    # New ones for each pipeline: with used ones, Beam silently takes the direct runner.
    options = PipelineOptions([*IN_PROCESS, *beam_args])
    try:
        with progress("Converting", shapes, done, "shapes"), beam.Pipeline(options=options) as root:
            _ = root | "Shards" >> beam.Create(plan.shards) | "Write" >> beam.Map(write_shard, job)
    # Each runner has its own type for a worker's error.
    except Exception as error:
        last = str(error).strip().rpartition("\n")[2]
        code = "cannot_write" if "[Errno " in last else "worker_stopped"
        message = f"Beam stopped: {last:.500}. Correct the cause and run the command again."
        raise UserError(code, message, job.output) from error
    return [read_summary(shard, job) for shard in plan.shards]


@contextlib.contextmanager
def storage_errors(output: str) -> Iterator[None]:
    """Turns errors of the disk or of object storage into UserError `cannot_write`."""
    # The clients of object storage have exceptions of their own.
    kind = Exception if "://" in output else OSError
    try:
        yield
    except UserError:
        raise
    except kind as error:
        reason = getattr(error, "strerror", None) or f"{error!s:.300}"
        message = f"cannot write ({reason}). Make room or change the rights."
        raise UserError("cannot_write", message, output) from error


def _check_beam_args(beam_args: Sequence[str]) -> None:
    """Raises UserError `bad_beam_option` if Beam cannot start with these arguments."""
    printed = io.StringIO()
    try:
        # For a value that it cannot read, argparse prints all options and exits.
        with contextlib.redirect_stderr(printed):
            options = PipelineOptions([*IN_PROCESS, *beam_args])
            beam.Pipeline(options=options).options.get_all_options()
    except (SystemExit, ValueError, ImportError, AttributeError) as error:
        reason = (printed.getvalue() or str(error)).strip().rpartition("\n")[2].rstrip(".")
        message = f"Beam cannot start with {' '.join(beam_args)!r}: {reason}."
        raise UserError("bad_beam_option", message) from None
