"""Reads the verdict and sends a message where it is not a blessing."""

from __future__ import annotations

import json
import os
from typing import Any

from absl import logging
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.evaluator.verdict import read_verdict
from components.model_server_probe.executor import read_reasons
from components.notification.message import Message, send
from components.segmentation_report.executor import PAGE_FILE
from components.settings import NotifySettings

MESSAGE_FILE = "notification.json"


class Executor(base_executor.BaseExecutor):
    """Sends at most one message, and fails for nothing."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Sends it.

        Args:
          input_dict: evaluation, blessing, report and, if there is one, infra_blessing.
          output_dict: notification.
          exec_properties: pipeline, settings, code_fingerprint.
        """
        message = what_to_tell(input_dict, exec_properties["pipeline"])
        problems: list[str] = []
        if message is not None:
            settings = NotifySettings.model_validate_json(exec_properties["settings"])
            problems = send(message, settings)
        for problem in problems:
            logging.error("Nobody was told that the model is not blessed: %s", problem)
        told = {
            "event": message.event if message else "blessed",
            "told": message is not None and not problems,
            "problems": problems,
        }
        folder = artifact_utils.get_single_uri(output_dict["notification"])
        fileio.makedirs(folder)
        with fileio.open(os.path.join(folder, MESSAGE_FILE), "w") as file:
            file.write(json.dumps(told, indent=2) + "\n")


def what_to_tell(inputs: dict[str, list[types.Artifact]], pipeline: str) -> Message | None:
    """The message on a model that is not pushed; None for one that is."""
    evaluation = artifact_utils.get_single_instance(inputs["evaluation"])
    blessing = artifact_utils.get_single_instance(inputs["blessing"])
    verdict = read_verdict(evaluation.uri)
    blessed = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
    reasons = [] if blessed else list(verdict.reasons)
    for infra in inputs.get("infra_blessing", []):
        if infra.get_int_custom_property("blessed") != 1:
            said = read_reasons(infra.uri) or [f"see what lies in {infra.uri}"]
            reasons += [f"a model server would not answer: {reason}" for reason in said]
    if not reasons:
        return None
    reports = [os.path.join(found.uri, PAGE_FILE) for found in inputs.get("report", [])]
    return Message(
        event="not_blessed",
        pipeline=pipeline,
        run=evaluation.uri,
        reasons=tuple(reasons),
        baseline=verdict.baseline,
        report=reports[0] if reports else "",
    )
