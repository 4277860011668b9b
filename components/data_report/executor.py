"""Reads what TFX's data components wrote, and writes the page and the findings."""

from __future__ import annotations

import json
import os
from typing import Any

from absl import logging
from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.anomalies import Comparison, Shift, read_anomalies, read_comparisons
from components.data_report.figures import SplitFigures, split_figures
from components.data_report.page import DataValues, build_page
from schema.categories import Category
from schema.record import SPLITS

PAGE_FILE = "data_report.html"
FINDINGS_FILE = "findings.json"


class Executor(base_executor.BaseExecutor):
    """Writes data_report.html and findings.json."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Makes the page.

        Args:
          input_dict: statistics, anomalies, skew and, if there is one, drift.
          output_dict: data_report.
          exec_properties: categories, data, code_fingerprint.
        """
        values = DataValues(
            anomalies=read_anomalies(artifact_utils.get_single_instance(input_dict["anomalies"])),
            skew=_comparisons("skew", input_dict),
            drift=_comparisons("drift", input_dict),
            splits=read_figures(artifact_utils.get_single_instance(input_dict["statistics"])),
            categories=tuple(
                Category.from_json(value) for value in json.loads(exec_properties["categories"])
            ),
            data=exec_properties["data"],
        )
        findings = {
            "anomalies": [anomaly.sentence for anomaly in values.anomalies],
            "drift": [found.sentence for found in values.drift if found.exceeded],
            "skew": [found.sentence for found in values.skew if found.exceeded],
        }
        for kind, sentences in findings.items():
            for sentence in sentences:
                logging.warning("%s: %s", kind, sentence)
        folder = artifact_utils.get_single_uri(output_dict["data_report"])
        _write(os.path.join(folder, PAGE_FILE), build_page(values))
        _write(os.path.join(folder, FINDINGS_FILE), json.dumps(findings, indent=2) + "\n")


def _comparisons(shift: Shift, inputs: dict[str, list[types.Artifact]]) -> list[Comparison]:
    return [
        comparison
        for artifact in inputs.get(shift, [])
        for comparison in read_comparisons(shift, artifact)
    ]


def read_figures(statistics: types.Artifact) -> list[SplitFigures]:
    """The figures of each split, train first."""
    splits = artifact_utils.decode_split_names(statistics.split_names)
    order = {split: place for place, split in enumerate(SPLITS)}
    return [
        split_figures(
            split, stats_artifact_utils.load_statistics(statistics, split).proto().datasets[0]
        )
        for split in sorted(splits, key=lambda split: (order.get(split, len(order)), split))
    ]


def _write(path: str, text: str) -> None:
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(text)
