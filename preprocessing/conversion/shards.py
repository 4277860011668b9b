"""One record file: reads its shapes, writes it, counts what is in it. Runs on Beam's workers."""

from __future__ import annotations

import functools
import hashlib
import io
from dataclasses import dataclass, replace

import numpy as np
from pydantic import TypeAdapter

from preprocessing.conversion.manifest import Count, Shard, add_counts
from preprocessing.conversion.output import Storage
from preprocessing.conversion.plan import NO_LABELS, ShardPlan
from preprocessing.conversion.records import Writer, to_example
from preprocessing.datasets.base import Reader
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.errors import Finding, UserError
from schema.record import UNANNOTATED, UNLABELLED


@dataclass(frozen=True)
class Job:
    """What all record files of a conversion share; `version` is a folder in `output`."""

    source: str
    settings: DataSettings
    output: str
    version: str


@dataclass(frozen=True)
class ShardSummary:
    """The result for one record file: none if no shape could be read, or what stops it all."""

    shard: Shard | None = None
    counts: tuple[Count, ...] = ()
    findings: tuple[Finding, ...] = ()
    error: Finding | None = None


_SUMMARY = TypeAdapter(ShardSummary)


def write_shard(plan: ShardPlan, job: Job) -> None:
    """Writes one record file, in memory first, and its summary beside it."""
    # An error of the source goes into the summary: a runner would try again, and wrap it.
    try:
        summary = _write_shard(plan, job, _reader(job.source, job.settings, job.version))
    except UserError as error:
        summary = ShardSummary(error=Finding.of(error, "", ""))
    Storage(job.output).write(f"{job.version}/{plan.file}.json", _SUMMARY.dump_json(summary))


def read_summary(plan: ShardPlan, job: Job) -> ShardSummary:
    """What `write_shard` wrote; else UserError, the worker's or `worker_stopped`."""
    content = Storage(job.output).read(f"{job.version}/{plan.file}.json")
    if content is None:
        raise UserError("worker_stopped", "a worker wrote no result. Try again.", plan.file)
    summary = _SUMMARY.validate_json(content)
    if error := summary.error:
        raise UserError(error.code, error.message, error.file, error.line)
    return summary


@functools.lru_cache(maxsize=1)
def _reader(source: str, settings: DataSettings, version: str) -> Reader:
    """The reader of this process, which opens a .zip once; a changed source has a new version."""
    return open_reader(source, settings)


def _write_shard(plan: ShardPlan, job: Job, reader: Reader) -> ShardSummary:
    file = io.BytesIO()
    writer = Writer(file)
    counts, findings = list[Count](), list[Finding]()
    for shape, shape_id in zip(plan.shapes, plan.shape_ids, strict=True):
        try:
            cloud = reader.read(shape, findings)
        except UserError as error:
            findings.append(Finding.of(error, shape.category, shape.name))
            continue
        labels = None if plan.split == UNLABELLED else cloud.labels
        if plan.split != UNLABELLED and (labels is None or labels.max() == UNANNOTATED):
            message = "no point has a label. The shape counts as unlabelled."
            findings.append(Finding(NO_LABELS, message, shape.place, 0, shape.category, shape.name))
        cloud = replace(cloud, shape_id=shape_id, labels=labels)
        writer.write(to_example(cloud))
        parts = reader.categories[cloud.category].parts
        labels = np.full(len(cloud.points), UNANNOTATED) if labels is None else labels
        unannotated, *points = np.bincount(labels + 1, minlength=len(parts) + 1).tolist()
        in_parts = dict(zip(parts, points, strict=True))
        counts.append(Count(plan.split, cloud.category, 1, in_parts, unannotated))
    writer.close()
    if not counts:
        return ShardSummary(findings=tuple(findings))
    name, content = f"{job.version}/{plan.file}", file.getvalue()
    Storage(job.output).write(name, content)
    shard = Shard(name, len(counts), len(content), hashlib.sha256(content).hexdigest())
    return ShardSummary(shard, add_counts(counts), tuple(findings))
