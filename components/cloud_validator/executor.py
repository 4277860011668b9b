"""Reads each record once to judge it and once to write it, in Beam.

The points never travel between workers: what is shuffled is an `Examination` a record, some hundred
bytes. Each output file is written by one worker that streams the input file of the same number and
leaves out what was refused, so that records keep their order, memory does not grow with the data,
and a second run gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import apache_beam as beam
import tensorflow as tf
from absl import logging
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.anomalies import Shift, read_anomalies, read_comparisons
from components.cloud_validator.checks import (
    TRAIN,
    Examination,
    Finding,
    Place,
    SplitCount,
    UnsoundDataError,
    all_findings,
    examine,
    resolve_geometry,
    resolve_shape_id,
    too_many_refused,
)
from components.cloud_validator.stored_record import parse
from components.settings import ValidationSettings
from model.training.input_pipeline import is_record_file
from schema.categories import Category

FINDINGS_FILE = "findings.jsonl"
SUMMARY_FILE = "summary.json"
FINDINGS_LOGGED = 20


class Shard(NamedTuple):
    """One input file: number `number` of `total` of its split, from 0."""

    split: str
    number: int
    total: int
    path: str


def list_shards(examples: types.Artifact) -> list[Shard]:
    """The files of an Examples artifact, by split, in the order of their names."""
    shards = []
    for split in artifact_utils.decode_split_names(examples.split_names):
        folder = artifact_utils.get_split_uri([examples], split)
        found = (str(path) for path in fileio.glob(os.path.join(folder, "*")))
        paths = sorted(path for path in found if is_record_file(path))
        shards += [Shard(split, i, len(paths), path) for i, path in enumerate(paths)]
    return shards


def blocking_anomalies(inputs: dict[str, list[types.Artifact]]) -> str | None:
    """What TFX's validators found that nothing may be trained on.

    Args:
      inputs: `anomalies` and, where a shift is to stop the run, `drift` and `skew`.

    Returns:
      A line a finding: where, what was found, what to do; None where there is none.
    """
    lines = [
        anomaly.sentence
        for anomaly in read_anomalies(artifact_utils.get_single_instance(inputs["anomalies"]))
        if anomaly.blocks
    ]
    if lines:
        return "\n".join(["the data does not fit the schema, so nothing is trained on it:", *lines])
    shifts: tuple[Shift, ...] = ("drift", "skew")
    lines = [
        comparison.sentence
        for shift in shifts
        for artifact in inputs.get(shift, [])
        for comparison in read_comparisons(shift, artifact)
        if comparison.exceeded
    ]
    if lines:
        return "\n".join(["the data has shifted, so nothing is trained on it:", *lines])
    return None


def _read(path: str) -> Iterator[bytes]:
    yield from tf.data.TFRecordDataset(path, compression_type="GZIP").as_numpy_iterator()


@contextmanager
def _write(folder: str, number: int, total: int) -> Iterator[tf.io.TFRecordWriter]:
    """A gzip TFRecord that stands in the split's folder only when it is complete.

    A runner may try a failed write again, or two at a time; every file in the folder is data.
    """
    fileio.makedirs(folder)
    unfinished = os.path.join(os.path.dirname(folder), f".unfinished-{uuid.uuid4().hex}")
    # On coordinates level 1 packs no worse than the default, half as fast again.
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
    with tf.io.TFRecordWriter(unfinished, options) as writer:
        yield writer
    name = f"data_tfrecord-{number:05d}-of-{total:05d}.gz"
    fileio.rename(unfinished, os.path.join(folder, name), overwrite=True)


def examine_shard(
    shard: Shard, settings: ValidationSettings, categories: tuple[Category, ...]
) -> Iterator[Examination]:
    """Checks each record of a file by itself."""
    by_name = {category.name: category for category in categories}
    for position, record in enumerate(_read(shard.path)):
        place = Place(shard.split, shard.number, position)
        yield examine(parse(record), place, settings, by_name)


def write_sound(
    grouped: tuple[tuple[str, int], dict[str, Iterable[Any]]], folders: dict[str, str]
) -> None:
    """Copies a file without its refused records.

    Args:
      grouped: (split, number) and, under "shards", the one Shard; under "refused", the positions.
      folders: where each split goes.
    """
    (split, _), members = grouped
    (shard,) = members["shards"]
    refused = set(members["refused"])
    with _write(folders[split], shard.number, shard.total) as writer:
        for position, record in enumerate(_read(shard.path)):
            if position not in refused:
                writer.write(record)


def write_refused(grouped: tuple[str, dict[str, Iterable[Any]]], folders: dict[str, str]) -> None:
    """Copies the refused records of a split into one file, in the order they stood in.

    Args:
      grouped: split and, under "shards", its Shards; under "refused", Places.
      folders: where each split goes.
    """
    split, members = grouped
    refused: dict[int, set[int]] = {}
    for place in members["refused"]:
        refused.setdefault(place.shard, set()).add(place.position)
    with _write(folders[split], 0, 1) as writer:
        for shard in sorted(members["shards"]):
            positions = refused.get(shard.number)
            if not positions:
                continue
            for position, record in enumerate(_read(shard.path)):
                if position in positions:
                    writer.write(record)


def write_report(
    _: None,
    findings: list[Finding],
    counts: dict[str, tuple[int, int]],
    training: dict[str, tuple[int, ...]],
    folder: str,
    splits: tuple[str, ...],
    settings: ValidationSettings,
    categories: tuple[Category, ...],
) -> None:
    """Checks what is left to train on, and writes findings and counts.

    Args:
      _: nothing; there is one report.
      findings: of the clouds, in any order.
      counts: clouds and refused clouds, by split.
      training: clouds left to train on and their points of each part, by category.
      folder: where the two files go.
      splits: in the order in which they are reported.
      settings: limits.
      categories: what the model is to learn.
    """
    findings = all_findings(findings, training, splits, categories, settings)
    summary: dict[str, Any] = {
        split: {"clouds": counts.get(split, (0, 0))[0], "refused": counts.get(split, (0, 0))[1]}
        for split in splits
    }
    for split in splits:
        codes = Counter((f.severity, f.code) for f in findings if f.split == split)
        for severity in ("quarantine", "warning"):
            summary[split][severity] = {
                c: n for (s, c), n in sorted(codes.items()) if s == severity
            }
    lines = [json.dumps(dataclasses.asdict(finding)) + "\n" for finding in findings]
    fileio.makedirs(folder)
    _write_text(os.path.join(folder, FINDINGS_FILE), "".join(lines))
    _write_text(os.path.join(folder, SUMMARY_FILE), json.dumps(summary, indent=2) + "\n")


def _write_text(path: str, text: str) -> None:
    with fileio.open(path, "w") as file:
        file.write(text)


def _column_sums(rows: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*rows, strict=True))


def _validate(
    pipeline: beam.Pipeline,
    examples: types.Artifact,
    sound: types.Artifact,
    quarantine: types.Artifact,
    settings: ValidationSettings,
    categories: tuple[Category, ...],
) -> None:
    """Adds reading, checking and writing to a Beam pipeline."""
    splits = tuple(artifact_utils.decode_split_names(examples.split_names))
    shards = pipeline | "Shards" >> beam.Create(list_shards(examples))
    examined = (
        shards
        | "Spread" >> beam.Reshuffle()
        | "Examine" >> beam.FlatMap(examine_shard, settings, categories)
    )

    by_shape = (
        examined
        | "SoundAlone" >> beam.Filter(lambda e: not e.refused)
        | "ByShape" >> beam.GroupBy(lambda e: e.shape_id)
        | "ShapeIds" >> beam.FlatMapTuple(lambda _, group: resolve_shape_id(group))
    )
    by_geometry = (
        by_shape
        | "SoundIds" >> beam.Filter(lambda e: not e.refused)
        | "ByGeometry" >> beam.GroupBy(lambda e: e.geometry)
        | "Geometry" >> beam.FlatMapTuple(lambda _, group: resolve_geometry(group))
    )
    judged = (
        examined | "RefusedAlone" >> beam.Filter(lambda e: e.refused),
        by_shape | "RefusedIds" >> beam.Filter(lambda e: e.refused),
        by_geometry,
    ) | "Judged" >> beam.Flatten()
    refused = judged | "Refused" >> beam.Filter(lambda e: e.refused)

    (
        {
            "shards": shards | "KeyShards" >> beam.Map(lambda s: ((s.split, s.number), s)),
            "refused": refused
            | "KeyPositions"
            >> beam.Map(lambda e: ((e.place.split, e.place.shard), e.place.position)),
        }
        | "ShardVerdicts" >> beam.CoGroupByKey()
        | "WriteSound" >> beam.Map(write_sound, {s: _folder(sound.uri, s) for s in splits})
    )
    (
        {
            "shards": shards | "KeySplits" >> beam.Map(lambda s: (s.split, s)),
            "refused": refused | "KeyPlaces" >> beam.Map(lambda e: (e.place.split, e.place)),
        }
        | "SplitVerdicts" >> beam.CoGroupByKey()
        | "WriteRefused" >> beam.Map(write_refused, {s: _folder(quarantine.uri, s) for s in splits})
    )
    counts = (
        judged
        | "KeyCounts" >> beam.Map(lambda e: (e.place.split, (1, int(e.refused))))
        | "Count" >> beam.CombinePerKey(_column_sums)  # type: ignore[arg-type]
    )
    training = (
        judged
        | "Training" >> beam.Filter(lambda e: e.place.split == TRAIN and not e.refused)
        | "KeyParts" >> beam.Map(lambda e: (e.category, (1, *e.part_points)))
        | "CountParts" >> beam.CombinePerKey(_column_sums)  # type: ignore[arg-type]
    )
    (
        pipeline
        | "Once" >> beam.Create([None])
        | "WriteReport"
        >> beam.Map(
            write_report,
            beam.pvalue.AsList(judged | "Findings" >> beam.FlatMap(lambda e: e.findings)),
            beam.pvalue.AsDict(counts),
            beam.pvalue.AsDict(training),
            quarantine.uri,
            splits,
            settings,
            categories,
        )
    )


def _folder(uri: str, split: str) -> str:
    return os.path.join(uri, f"Split-{split}")


def _carry_span(source: types.Artifact, target: types.Artifact) -> None:
    """Copies span and version, which ExampleGen writes as custom properties."""
    for name in ("span", "version"):
        for kind in ("properties", "custom_properties"):
            values = getattr(source.mlmd_artifact, kind)
            if name in values:
                getattr(target.mlmd_artifact, kind)[name].CopyFrom(values[name])


def _report(folder: str, settings: ValidationSettings) -> None:
    """Logs what was found.

    Raises:
      UnsoundDataError: too many clouds were refused.
    """
    with fileio.open(os.path.join(folder, FINDINGS_FILE)) as file:
        findings = [Finding(**json.loads(line)) for line in file.read().splitlines()]
    with fileio.open(os.path.join(folder, SUMMARY_FILE)) as file:
        summary = json.loads(file.read())
    for finding in findings[:FINDINGS_LOGGED]:
        logging.warning("%s (%s): %s", finding.code, finding.severity, finding.sentence)
    if len(findings) > FINDINGS_LOGGED:
        logging.warning(
            "and %d findings more in %s",
            len(findings) - FINDINGS_LOGGED,
            os.path.join(folder, FINDINGS_FILE),
        )
    counts = {
        split: SplitCount(split_summary["clouds"], split_summary["refused"])
        for split, split_summary in summary.items()
    }
    logging.info(
        "CloudValidator: %s; %d findings",
        ", ".join(
            f"{count.clouds - count.refused} of {count.clouds} clouds of {split} sound"
            for split, count in counts.items()
        ),
        len(findings),
    )
    # TFX removes the outputs of a component that fails; this folder beside them stays.
    kept = folder.rstrip("/") + "-stopped"
    stop = too_many_refused(counts, findings, settings, os.path.join(kept, FINDINGS_FILE))
    if stop:
        fileio.makedirs(kept)
        for name in (FINDINGS_FILE, SUMMARY_FILE):
            fileio.copy(os.path.join(folder, name), os.path.join(kept, name), overwrite=True)
        raise UnsoundDataError(stop)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Stops on blocking anomalies; passes sound clouds on; sets the others aside with reasons."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; inputs and outputs as in `component.CloudValidatorSpec`.

        Raises:
          UnsoundDataError: the anomalies block, or too many clouds were refused.
          ValueError: the examples are no tf.Examples.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = ValidationSettings.model_validate_json(exec_properties["settings"])
        categories = tuple(
            Category.from_json(value) for value in json.loads(exec_properties["categories"])
        )
        blocking = blocking_anomalies(input_dict)
        if blocking:
            raise UnsoundDataError(blocking)

        examples = artifact_utils.get_single_instance(input_dict["examples"])
        payload = examples_utils.get_payload_format_string(examples)
        if payload != "FORMAT_TF_EXAMPLE":
            raise ValueError(f"CloudValidator reads tf.Examples; these are of {payload}")
        sound = artifact_utils.get_single_instance(output_dict["sound_examples"])
        quarantine = artifact_utils.get_single_instance(output_dict["quarantine"])
        sound.split_names = examples.split_names
        _carry_span(examples, sound)
        examples_utils.set_payload_format(sound, examples_utils.get_payload_format(examples))
        examples_utils.set_file_format(sound, "tfrecords_gzip")

        with self._make_beam_pipeline() as pipeline:
            _validate(pipeline, examples, sound, quarantine, settings, categories)
        _report(quarantine.uri, settings)
