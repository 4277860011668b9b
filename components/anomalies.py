"""What TFX's validators found in the data, in sentences.

ExampleValidator writes where the data does not fit the schema; DistributionValidator how far two
sets of statistics differ (see distribution_limits.py). Both write ExampleAnomalies.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.distribution_validator.executor import DEFAULT_FILE_NAME as SHIFT_FILE
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME as ANOMALIES_FILE
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.distribution_limits import DRIFT_PAIRS, SKEW_PAIRS
from schema.record import CATEGORY, LABELS, POINTS

Shift = Literal["drift", "skew"]

# What to do about the anomalies that people meet; TFDV says only what it found.
_REMEDIES = {
    "SCHEMA_MISSING_COLUMN": "write this feature into every record, under this very name",
    "SCHEMA_NEW_COLUMN": "remove this feature from the records, or rename it to the one it stands "
    "for",
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": "write this feature into every record",
    "FLOAT_TYPE_HAS_NAN": "correct or leave out the clouds whose coordinates are not numbers",
    "FLOAT_TYPE_HAS_INF": "correct or leave out the clouds whose coordinates are infinite",
}
_REMEDY = "correct the data and convert it again; if the data is right, correct schema/schema.pbtxt"

_CAUSES = {
    POINTS: "see whether unit, axes or source of the clouds are the same",
    LABELS: "see whether the parts were labelled by the same rule, with the same numbers",
    CATEGORY: "see whether categories were added, left out or mixed otherwise",
}


@dataclass(frozen=True)
class Anomaly:
    """Something that does not fit the schema.

    Attributes:
      split: where it was found.
      where: "feature <name>", or "the data set".
      found: what was found.
      remedy: what to do.
      blocks: whether nothing may be trained on such data.
    """

    split: str
    where: str
    found: str
    remedy: str
    blocks: bool

    @property
    def sentence(self) -> str:
        return f"split {self.split}, {self.where}: {self.found}; {self.remedy}"


@dataclass(frozen=True)
class Comparison:
    """How far a feature of a split differs from another set of clouds.

    Attributes:
      shift: drift, against the last run; skew, against another split of this run.
      split: the split that was looked at.
      base: the split that it was held against.
      feature: its name.
      found: the measured difference; None where the two could not be compared.
      limit: the largest that is allowed; None where the two could not be compared.
      value: the label or category whose share changed most; empty where there is none.
      exceeded: whether the difference is above the limit, or could not be measured.
    """

    shift: Shift
    split: str
    base: str
    feature: str
    found: float | None
    limit: float | None
    value: str
    exceeded: bool

    @property
    def against(self) -> str:
        return f"{self.base} of the last run" if self.shift == "drift" else self.base

    @property
    def measure(self) -> str:
        if self.feature == POINTS:
            return "Jensen-Shannon divergence"
        return "largest change of a share"

    @property
    def remedy(self) -> str:
        cause = _CAUSES.get(self.feature, "see what changed")
        if self.found is None:
            return "see that both hold clouds with this feature"
        return f"{cause}; if it is as it should be, raise validation.{self.shift}.{self.feature}"

    @property
    def sentence(self) -> str:
        where = f"{self.shift} of {self.split} against {self.against}, feature {self.feature}"
        if self.found is None or self.limit is None:
            return f"{where}: they could not be compared; {self.remedy}"
        of = f" (of value {self.value})" if self.value else ""
        return (
            f"{where}: {self.measure} {self.found:.4f}{of}, at most {self.limit:g} is expected; "
            f"{self.remedy}"
        )


def read_anomalies(artifact: types.Artifact) -> list[Anomaly]:
    """What ExampleValidator found.

    Args:
      artifact: its ExampleAnomalies.
    """
    anomalies = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        folder = artifact_utils.get_split_uri([artifact], split)
        found = _read(os.path.join(folder, ANOMALIES_FILE))
        if found.data_missing:
            anomalies.append(
                Anomaly(
                    split,
                    "the data set",
                    "it holds no record",
                    "convert more shapes, or other shares",
                    blocks=True,
                )
            )
        infos = [
            (f"feature {name}", found.anomaly_info[name]) for name in sorted(found.anomaly_info)
        ]
        if found.HasField("dataset_anomaly_info"):
            infos.append(("the data set", found.dataset_anomaly_info))
        for where, info in infos:
            # The whole's description is one of the reasons' where there are several.
            for reason in info.reason or [info]:
                kind = anomalies_pb2.AnomalyInfo.Type.Name(getattr(reason, "type", 0))
                anomalies.append(
                    Anomaly(
                        split,
                        where,
                        reason.description.rstrip(".") or reason.short_description,
                        _REMEDIES.get(kind, _REMEDY),
                        blocks=info.severity == anomalies_pb2.AnomalyInfo.ERROR,
                    )
                )
    return anomalies


def read_comparisons(shift: Shift, artifact: types.Artifact) -> list[Comparison]:
    """What DistributionValidator measured, whether within its limit or not.

    Args:
      shift: what was compared.
      artifact: its ExampleAnomalies.

    Returns:
      One comparison a pair of splits and feature, in that order; none where there was nothing to
      compare with, as on a first run.
    """
    pairs = {f"{split}_{base}": (split, base) for split, base in _PAIRS[shift]}
    comparisons = []
    for name in artifact_utils.decode_split_names(artifact.split_names):
        split, base = pairs[name]
        read = _read(os.path.join(artifact.uri, f"SplitPair-{name}", SHIFT_FILE))
        measured = {
            ".".join(info.path.step): info.drift_measurements[0]
            for info in read.drift_skew_info
            if info.drift_measurements
        }
        for feature in sorted(measured.keys() | read.anomaly_info.keys()):
            measurement = measured.get(feature)
            comparisons.append(
                Comparison(
                    shift,
                    split,
                    base,
                    feature,
                    found=None if measurement is None else measurement.value,
                    limit=None if measurement is None else measurement.threshold,
                    value=_value_that_differs_most(read.anomaly_info.get(feature)),
                    exceeded=feature in read.anomaly_info,
                )
            )
    return comparisons


_PAIRS: dict[Shift, list[tuple[str, str]]] = {"drift": DRIFT_PAIRS, "skew": SKEW_PAIRS}


def _value_that_differs_most(info: anomalies_pb2.AnomalyInfo | None) -> str:
    """TFDV names it in its description only."""
    for reason in info.reason if info is not None else ():
        named = re.search(r"maximum difference is: (.+)$", reason.description)
        if named:
            return named.group(1)
    return ""


def _read(path: str) -> anomalies_pb2.Anomalies:
    with fileio.open(path, "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())
