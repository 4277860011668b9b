"""The same findings, whether the platform gives the config as a message or as JSON."""

from __future__ import annotations

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.distribution_limits import distribution_config
from components.distribution_validator.executor import Executor
from components.settings import ShiftLimits


def statistics(folder, **splits):
    made = standard_artifacts.ExampleStatistics()
    made.uri = str(folder)
    made.split_names = artifact_utils.encode_split_names(list(splits))
    for name, categories in splits.items():
        found = tfdv.generate_statistics_from_dataframe(pd.DataFrame({"category": categories}))
        (folder / f"Split-{name}").mkdir(parents=True)
        (folder / f"Split-{name}" / "FeatureStats.pb").write_bytes(found.SerializeToString())
    return made


@pytest.mark.parametrize("form", [lambda config: config, proto_utils.proto_to_json])
def test_the_config_may_be_a_message_or_json(tmp_path, form):
    found = statistics(
        tmp_path / "statistics", train=["Chair"] * 9 + ["Mug"], val=["Chair"] + ["Mug"] * 9
    )
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    properties = {
        "distribution_validator_config": form(distribution_config(ShiftLimits(category=0.2))),
        "include_split_pairs": '[["val", "train"]]',
    }
    Executor().Do(
        {"statistics": [found], "baseline_statistics": [found]},
        {"anomalies": [anomalies]},
        properties,
    )
    (file,) = (tmp_path / "anomalies").rglob("*.pb")
    told = anomalies_pb2.Anomalies.FromString(file.read_bytes()).anomaly_info
    # Features of ours that these statistics lack are findings too.
    assert "is 0.8" in told["category"].reason[0].description


def test_without_a_baseline_nothing_is_found(tmp_path):
    found = statistics(tmp_path / "statistics", train=["Chair", "Mug"])
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    config = proto_utils.proto_to_json(distribution_config(ShiftLimits(category=0.2)))
    Executor().Do(
        {"statistics": [found]},
        {"anomalies": [anomalies]},
        {"distribution_validator_config": config},
    )
    assert list(tmp_path.rglob("*SchemaDiff.pb")) == []
