"""The same result, whether the platform passes the config as a message or as JSON."""

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.anomalies import distribution_config
from components.distribution_validator import Executor
from preprocessing.checks.settings import ShiftLimits

CONFIG = distribution_config(ShiftLimits(category=0.2))


def validate(folder, config, baseline):
    statistics, anomalies = (
        standard_artifacts.ExampleStatistics(),
        standard_artifacts.ExampleAnomalies(),
    )
    statistics.uri, anomalies.uri = str(folder / "statistics"), str(folder / "anomalies")
    splits = {"train": ["Chair"] * 9 + ["Mug"], "val": ["Chair"] + ["Mug"] * 9}
    statistics.split_names = artifact_utils.encode_split_names(list(splits))
    for name, categories in splits.items():
        counted = tfdv.generate_statistics_from_dataframe(pd.DataFrame({"category": categories}))
        file = folder / "statistics" / f"Split-{name}" / "FeatureStats.pb"
        file.parent.mkdir(parents=True)
        file.write_bytes(counted.SerializeToString())
    Executor().Do(
        {"statistics": [statistics], **({"baseline_statistics": [statistics]} if baseline else {})},
        {"anomalies": [anomalies]},
        {"distribution_validator_config": config, "include_split_pairs": '[["val", "train"]]'},
    )
    return list((folder / "anomalies").rglob("*.pb"))


@pytest.mark.parametrize("config", [CONFIG, proto_utils.proto_to_json(CONFIG)], ids=type)
def test_the_config_may_be_a_message_or_json(tmp_path, config):
    (file,) = validate(tmp_path, config, baseline=True)
    anomalies = anomalies_pb2.Anomalies.FromString(file.read_bytes()).anomaly_info
    assert "is 0.8" in anomalies["category"].reason[0].description


def test_without_a_baseline_nothing_is_compared(tmp_path):
    assert validate(tmp_path, proto_utils.proto_to_json(CONFIG), baseline=False) == []
