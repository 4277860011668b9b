"""Which splits and features TFX's DistributionValidator compares, and how far they may differ."""

from __future__ import annotations

from typing import Any

from tensorflow_metadata.proto.v0 import path_pb2, schema_pb2
from tfx.proto import distribution_validator_pb2

from components.settings import ShiftLimits
from schema.record import CATEGORY, LABELS, POINTS

# (split, the one that it is held against), see DistributionValidator's `include_split_pairs`.
# Drift looks at the training clouds alone: a small val or test split changes by chance.
DRIFT_PAIRS = [("train", "train")]
SKEW_PAIRS = [("val", "train"), ("test", "train")]


def comparators(limits: ShiftLimits) -> dict[str, schema_pb2.FeatureComparator]:
    """The limits in TFDV's terms, by feature.

    Coordinates are compared by their histograms, labels and categories by the largest difference
    of a value's share.
    """
    return {
        POINTS: schema_pb2.FeatureComparator(
            jensen_shannon_divergence=schema_pb2.JensenShannonDivergence(threshold=limits.points)
        ),
        LABELS: schema_pb2.FeatureComparator(
            infinity_norm=schema_pb2.InfinityNorm(threshold=limits.labels)
        ),
        CATEGORY: schema_pb2.FeatureComparator(
            infinity_norm=schema_pb2.InfinityNorm(threshold=limits.category)
        ),
    }


def distribution_config(limits: ShiftLimits) -> Any:
    """The limits in TFX's terms, a DistributionValidatorConfig."""
    config = distribution_validator_pb2.DistributionValidatorConfig()  # type: ignore[attr-defined]
    for name, comparator in comparators(limits).items():
        config.default_slice_config.feature.add(
            path=path_pb2.Path(step=[name]), distribution_comparator=comparator
        )
    return config
