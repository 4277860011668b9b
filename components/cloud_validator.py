"""CloudValidator: keeps unsound clouds from training and evaluation, or stops the run.

Each file of records is copied without its refused records, which go to the quarantine. Beam
shuffles verdicts, never points; no worker gets those of all clouds. A second run writes the same.
"""

import dataclasses
import functools
import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import Any

import apache_beam as beam
import tensorflow as tf
from absl import logging
from tfx import types
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import ExampleAnomalies, Examples

from components.anomalies import Shift, read_anomalies, read_comparisons
from components.artifacts import CloudQuarantine, categories_from_json, write_file
from model.training.input_pipeline import is_record_file
from preprocessing.checks import set_checks
from preprocessing.checks.cloud_checks import CloudFinding, Place, RawCloud, Verdict, examine, parse
from preprocessing.checks.settings import ValidationSettings
from schema.categories import Category
from schema.errors import UserError

FINDINGS_FILE = "findings.jsonl"
SUMMARY_FILE = "summary.json"
# In the quarantine while Beam runs: the findings of each file of records, and the totals.
_PARTS, _TOTALS = ".parts", "totals.json"
_FINDINGS_LOGGED = 20

# An input file: its split and its number there, from 0; its path, and its name in an output.
Shard = tuple[tuple[str, int], tuple[str, str]]
Check = Callable[[RawCloud | None, Place], Verdict]


@tfx.dsl.components.component(use_beam=True)
def CloudValidator(
    examples: tfx.dsl.components.InputArtifact[Examples],
    anomalies: tfx.dsl.components.InputArtifact[ExampleAnomalies],
    sound_examples: tfx.dsl.components.OutputArtifact[Examples],
    quarantine: tfx.dsl.components.OutputArtifact[CloudQuarantine],
    settings: tfx.dsl.components.Parameter[str],
    categories: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
    drift: tfx.dsl.components.InputArtifact[ExampleAnomalies] = None,
    skew: tfx.dsl.components.InputArtifact[ExampleAnomalies] = None,
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Copies the sound records; sets the others aside with their reasons.

    `settings` are ValidationSettings and `categories` a list of Category, as JSON; drift and skew
    are given where a shift is to stop the run. UserError `anomalies`, `shifted_data` or
    `too_many_refused`: nothing may be trained on the data.
    """
    del code_fingerprint  # Makes changed code run again.
    limits = ValidationSettings.model_validate_json(settings)
    known = categories_from_json(categories)
    by_name = {category.name: category for category in known}
    check = functools.partial(examine, settings=limits, categories=by_name)
    stop_on_anomalies(anomalies, {"drift": drift, "skew": skew})
    sound_examples.split_names = examples.split_names
    for name in ("span", "version", "payload_format"):
        for kind in ("properties", "custom_properties"):
            values = getattr(examples.mlmd_artifact, kind)
            if name in values:
                getattr(sound_examples.mlmd_artifact, kind)[name].CopyFrom(values[name])
    examples_utils.set_file_format(sound_examples, "tfrecords_gzip")

    with beam_pipeline as root:
        _validate(root, list_shards(examples), check, sound_examples.uri, quarantine.uri)
    splits = artifact_utils.decode_split_names(examples.split_names)
    _report(quarantine.uri, splits, limits, known)


def stop_on_anomalies(anomalies: types.Artifact, shifts: dict[Shift, types.Artifact]) -> None:
    """Raises UserError for what TFX's validators found that nothing may be trained on."""
    blocking = [anomaly.sentence for anomaly in read_anomalies(anomalies) if anomaly.blocks]
    if blocking:
        raise UserError("anomalies", "\n".join(["the data does not fit the schema:", *blocking]))
    compared = [read_comparisons(shift, found) for shift, found in shifts.items() if found]
    exceeded = [comparison.sentence for comparison in chain(*compared) if comparison.exceeded]
    if exceeded:
        raise UserError("shifted_data", "\n".join(["the data has shifted:", *exceeded]))


def list_shards(examples: types.Artifact) -> list[Shard]:
    """The files of an Examples artifact, by split, in the order of their names."""
    shards = []
    for split in artifact_utils.decode_split_names(examples.split_names):
        folder = artifact_utils.get_split_uri([examples], split)
        paths = sorted(filter(is_record_file, map(str, fileio.glob(os.path.join(folder, "*")))))
        for number, path in enumerate(paths):
            name = f"Split-{split}/data_tfrecord-{number:05d}-of-{len(paths):05d}.gz"
            shards.append(((split, number), (path, name)))
    return shards


def _validate(
    root: beam.Pipeline, files: list[Shard], check: Check, sound: str, quarantine: str
) -> None:
    """Adds reading, checking and writing to a Beam pipeline."""
    shards = root | "Shards" >> beam.Create(files)
    spread = shards | "Spread" >> beam.Reshuffle()
    verdicts = spread | "Examine" >> beam.FlatMap(examine_shard, check)
    for field, judge_group in set_checks.SET_CHECKS:
        verdicts = (
            verdicts
            | f"Key {field}" >> beam.Map(set_checks.keyed, field)
            | f"Group {field}" >> beam.GroupByKey()
            | f"Judge {field}" >> beam.FlatMapTuple(judge_group)
        )
    with_findings = verdicts | "Filter" >> beam.Filter(lambda v: bool(v.findings))
    keyed = with_findings | "Key" >> beam.Map(lambda v: ((v.place.split, v.place.shard), v))
    grouped = {"shard": shards, "verdicts": keyed} | "Group" >> beam.CoGroupByKey()
    _ = grouped | "WriteShards" >> beam.Map(write_shard, sound, quarantine)
    _ = (
        verdicts
        | "Counts" >> beam.FlatMap(set_checks.counts_of)
        | "Totals" >> beam.CombinePerKey(set_checks.add_columns)  # type: ignore[arg-type]
        | "AllTotals" >> beam.combiners.ToDict()
        | "WriteTotals" >> beam.Map(_write_totals, os.path.join(quarantine, _PARTS, _TOTALS))
    )


@beam.typehints.no_annotations
def examine_shard(shard: Shard, check: Check) -> Iterator[Verdict]:
    """Checks each record of a file by itself."""
    (split, number), (path, _) = shard
    for position, record in enumerate(_read(path)):
        yield check(parse(record), Place(split, number, position))


@beam.typehints.no_annotations
def write_shard(grouped: tuple[Any, dict[str, Iterable[Any]]], sound: str, quarantine: str) -> None:
    """Copies the records of one "shard"; "verdicts" are those with findings."""
    ((path, name),) = grouped[1]["shard"]
    verdicts = {verdict.place.position: verdict for verdict in grouped[1]["verdicts"]}
    refused = {position for position, verdict in verdicts.items() if verdict.refused}
    with ExitStack() as stack:
        sound_file = stack.enter_context(_writer(sound, name))
        refused_file = stack.enter_context(_writer(quarantine, name)) if refused else sound_file
        for position, record in enumerate(_read(path)):
            (refused_file if position in refused else sound_file).write(record)
    findings = [f for _, verdict in sorted(verdicts.items()) for f in verdict.findings]
    write_file(os.path.join(quarantine, _PARTS, name), "".join(map(_line, findings)))


def _read(path: str) -> Iterator[bytes]:
    yield from tf.data.TFRecordDataset(path, compression_type="GZIP").as_numpy_iterator()


@contextmanager
def _writer(folder: str, name: str) -> Iterator[tf.io.TFRecordWriter]:
    """A gzip TFRecord that appears under its name when it is complete: a write may be repeated."""
    path, unfinished = os.path.join(folder, name), os.path.join(folder, f".{uuid.uuid4().hex}")
    fileio.makedirs(os.path.dirname(path))
    # On coordinates, level 1 packs as well as the default and is half as fast again.
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
    with tf.io.TFRecordWriter(unfinished, options) as writer:
        yield writer
    fileio.rename(unfinished, path, overwrite=True)


def _write_totals(totals: dict, path: str) -> None:
    write_file(path, json.dumps(sorted(totals.items())))


def _line(finding: CloudFinding) -> str:
    return json.dumps(dataclasses.asdict(finding)) + "\n"


def _findings(path: Any) -> Iterator[CloudFinding]:
    with fileio.open(path) as file:
        for line in file:
            yield CloudFinding(**json.loads(line))


def _report(
    folder: str, splits: list[str], settings: ValidationSettings, categories: tuple[Category, ...]
) -> None:
    """Writes and logs the findings, by split, file and position; UserError `too_many_refused`."""
    parts = os.path.join(folder, _PARTS)
    with fileio.open(os.path.join(parts, _TOTALS)) as file:
        totals: set_checks.Totals = {tuple(key): tuple(row) for key, row in json.loads(file.read())}
    training = set_checks.check_training(totals, categories, settings)
    summary: dict[str, Any] = {}
    path, summary_path = os.path.join(folder, FINDINGS_FILE), os.path.join(folder, SUMMARY_FILE)
    with fileio.open(path, "w") as file:
        file.write("")  # Without it, no file appears where there are no findings.
        for split in splits:
            clouds, refused = totals.get(("split", split), (0, 0))
            codes: dict[str, Counter[str]] = {"quarantine": Counter(), "warning": Counter()}
            names = sorted(fileio.glob(os.path.join(parts, f"Split-{split}", "*")))
            first = training if split == set_checks.TRAIN else []
            for finding in chain(first, *map(_findings, names)):
                codes[finding.severity][finding.code] += 1
                file.write(_line(finding))
            by_code = {kind: dict(sorted(counts.items())) for kind, counts in codes.items()}
            summary[split] = {"clouds": clouds, "refused": refused, **by_code}
    write_file(summary_path, json.dumps(summary, indent=2) + "\n")
    fileio.rmtree(parts)
    for finding in islice(_findings(path), _FINDINGS_LOGGED):
        logging.warning("%s (%s): %s", finding.code, finding.severity, finding.sentence)
    logging.info("CloudValidator: %s; all findings: %s", json.dumps(summary), path)
    # TFX removes the outputs of a component that fails; this folder beside them stays.
    kept = folder.rstrip("/") + "-stopped"
    report = os.path.join(kept, FINDINGS_FILE)
    if stop := set_checks.too_many_refused(totals, _findings(path), settings, report):
        fileio.makedirs(kept)
        fileio.copy(path, report, overwrite=True)
        fileio.copy(summary_path, os.path.join(kept, SUMMARY_FILE), overwrite=True)
        raise UserError("too_many_refused", stop)
