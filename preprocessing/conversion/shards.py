"""One record file: reads its shapes, writes it, counts what is in it. Runs on Beam's workers."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, replace

import numpy as np
from pydantic import TypeAdapter

from preprocessing.conversion.manifest import Count, Shard, add_counts
from preprocessing.conversion.plan import NO_LABELS, ShardPlan
from preprocessing.conversion.records import Writer, to_example
from preprocessing.conversion.storage import Storage
from preprocessing.datasets.base import Reader
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import Category
from schema.errors import Finding, UserError
from schema.record import UNANNOTATED, UNLABELLED, Cloud


@dataclass(frozen=True)
class Job:
    """What all record files of a conversion share; `version` is a folder in `output`."""

    source: str
    settings: DataSettings
    output: str
    version: str


@dataclass(frozen=True)
class ShardSummary:
    """The result for one record file.

    Attributes:
      shard: the file; None if no shape could be read.
      error: why the conversion cannot go on.
    """

    shard: Shard | None = None
    counts: tuple[Count, ...] = ()
    findings: tuple[Finding, ...] = ()
    error: Finding | None = None


_SUMMARY = TypeAdapter(ShardSummary)


def write_shard(plan: ShardPlan, job: Job) -> None:
    """Writes one record file, in memory first, and its summary beside it.

    An error of the source is part of the summary: each Beam runner wraps exceptions in its own way,
    and would only try again.

    Raises:
      OSError: a file cannot be written.
    """
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
    if summary.error is not None:
        error = summary.error
        raise UserError(error.code, error.message, error.file, error.line)
    return summary


@functools.lru_cache(maxsize=1)
def _reader(source: str, settings: DataSettings, version: str) -> Reader:
    """The reader of this process, which opens a .zip once; a changed source has a new version."""
    del version
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
            code, place = NO_LABELS, shape.place
            findings.append(Finding(code, message, place, 0, shape.category, shape.name))
        cloud = replace(cloud, shape_id=shape_id, labels=labels)
        writer.write(to_example(cloud))
        counts.append(_count(cloud, plan.split, reader.categories[cloud.category]))
    writer.close()
    if not counts:
        return ShardSummary(findings=tuple(findings))
    name = f"{job.version}/{plan.file}"
    Storage(job.output).write(name, file.getvalue())
    shard = Shard(name, len(counts), writer.size, writer.sha256.hexdigest())
    return ShardSummary(shard, add_counts(counts), tuple(findings))


def _count(cloud: Cloud, split: str, category: Category) -> Count:
    """The count of one cloud."""
    if cloud.labels is None:
        return Count(split, category.name, 1, dict.fromkeys(category.parts, 0), len(cloud.points))
    size = len(category.parts) + 1
    unannotated, *points = np.bincount(cloud.labels + 1, minlength=size).tolist()
    parts = dict(zip(category.parts, points, strict=True))
    return Count(split, category.name, 1, parts, unannotated)
