"""What TFX's validators found in the data, and how far two sets of clouds may differ.

ExampleValidator writes where the data does not fit the schema; DistributionValidator how far two
sets of statistics differ. Both write ExampleAnomalies.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Literal

from tensorflow_metadata.proto.v0 import anomalies_pb2, path_pb2, schema_pb2
from tfx import types
from tfx.components.distribution_validator.executor import DEFAULT_FILE_NAME as SHIFT_FILE
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME as ANOMALIES_FILE
from tfx.dsl.io import fileio
from tfx.proto import distribution_validator_pb2
from tfx.types import artifact_utils

from preprocessing.checks.settings import ShiftLimits
from schema.record import CATEGORY, LABELS, POINTS

Shift = Literal["drift", "skew"]

# (split, the one it is compared with), see DistributionValidator's `include_split_pairs`. Drift is
# measured on the training clouds alone: a small val or test split changes by chance.
DRIFT_PAIRS = [("train", "train")]
SKEW_PAIRS = [("val", "train"), ("test", "train")]
_PAIRS: dict[Shift, list[tuple[str, str]]] = {"drift": DRIFT_PAIRS, "skew": SKEW_PAIRS}

_REMEDY = "correct the data and convert it again; if the data is right, correct schema/schema.pbtxt"
_CAUSES = {
    POINTS: "check that unit, axes and source of the clouds are the same",
    LABELS: "check that the parts were labelled by the same rule, with the same numbers",
    CATEGORY: "check which categories were added, left out or mixed in other shares",
}


@dataclass(frozen=True)
class Anomaly:
    """A deviation of a split from the schema; `where`: "feature <name>" or "the data set".

    `blocks`: nothing may be trained on such data.
    """

    split: str
    where: str
    problem: str
    blocks: bool
    remedy: str = _REMEDY

    @property
    def sentence(self) -> str:
        return f"split {self.split}, {self.where}: {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class Comparison:
    """How far a feature of `split` differs from that of `base` (of the last run if drift).

    `measured` and `limit` are None if they are not comparable, which counts as exceeded; `value` is
    the label or category whose share changed most, "" if there is none.
    """

    shift: Shift
    split: str
    base: str
    feature: str
    measured: float | None
    limit: float | None
    value: str
    exceeded: bool

    @property
    def against(self) -> str:
        return f"{self.base} of the last run" if self.shift == "drift" else self.base

    @property
    def measure(self) -> str:
        points = self.feature == POINTS
        return "Jensen-Shannon divergence" if points else "largest change of a share"

    @property
    def sentence(self) -> str:
        where = f"{self.shift} of {self.split} compared with {self.against}, feature {self.feature}"
        if self.measured is None:
            return f"{where}: not comparable; check that both have clouds with this feature"
        of = f" (of value {self.value})" if self.value else ""
        return (
            f"{where}: {self.measure} {self.measured:.4f}{of}, the limit is {self.limit:g}; "
            f"{_CAUSES.get(self.feature, 'check what changed')}; if the change is intended, raise "
            f"validation.{self.shift}.{self.feature}"
        )


def read_anomalies(artifact: types.Artifact) -> list[Anomaly]:
    """ExampleValidator's anomalies."""
    anomalies = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        folder = artifact_utils.get_split_uri([artifact], split)
        read = _read(os.path.join(folder, ANOMALIES_FILE))
        if read.data_missing:
            remedy = "convert more shapes, or other shares"
            anomalies.append(Anomaly(split, "the data set", "it has no record", True, remedy))
        infos = [(f"feature {name}", read.anomaly_info[name]) for name in sorted(read.anomaly_info)]
        if read.HasField("dataset_anomaly_info"):
            infos.append(("the data set", read.dataset_anomaly_info))
        for where, info in infos:
            # If there are several reasons, the info's own description repeats one of them.
            for reason in info.reason or [info]:
                problem = reason.description.rstrip(".") or reason.short_description
                blocks = info.severity == anomalies_pb2.AnomalyInfo.ERROR
                anomalies.append(Anomaly(split, where, problem, blocks))
    return anomalies


def read_comparisons(shift: Shift, artifact: types.Artifact) -> list[Comparison]:
    """DistributionValidator's comparisons, by pair of splits and feature; none on a first run."""
    pairs = {f"{split}_{base}": (split, base) for split, base in _PAIRS[shift]}
    comparisons = []
    for name in artifact_utils.decode_split_names(artifact.split_names):
        read = _read(os.path.join(artifact.uri, f"SplitPair-{name}", SHIFT_FILE))
        measured = {
            ".".join(info.path.step): info.drift_measurements[0]
            for info in read.drift_skew_info
            if info.drift_measurements
        }
        for feature in sorted(measured.keys() | read.anomaly_info.keys()):
            one, anomaly = measured.get(feature), read.anomaly_info.get(feature)
            value, limit = (one.value, one.threshold) if one is not None else (None, None)
            last = _value_that_differs_most(anomaly), anomaly is not None
            comparisons.append(Comparison(shift, *pairs[name], feature, value, limit, *last))
    return comparisons


def comparators(limits: ShiftLimits) -> dict[str, schema_pb2.FeatureComparator]:
    """The limits in TFDV's terms, by feature; labels and categories by the shares of values."""
    divergence = schema_pb2.JensenShannonDivergence(threshold=limits.points)
    by_feature = {POINTS: schema_pb2.FeatureComparator(jensen_shannon_divergence=divergence)}
    for name, limit in ((LABELS, limits.labels), (CATEGORY, limits.category)):
        norm = schema_pb2.InfinityNorm(threshold=limit)
        by_feature[name] = schema_pb2.FeatureComparator(infinity_norm=norm)
    return by_feature


def distribution_config(limits: ShiftLimits) -> Any:
    """The limits as a DistributionValidatorConfig."""
    config = distribution_validator_pb2.DistributionValidatorConfig()  # type: ignore[attr-defined]
    for name, comparator in comparators(limits).items():
        path = path_pb2.Path(step=[name])
        config.default_slice_config.feature.add(path=path, distribution_comparator=comparator)
    return config


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
