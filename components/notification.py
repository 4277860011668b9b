"""Notification: on a cluster, a message after the Evaluator if the model is not blessed.

On one machine the local runner sends it, also if a component fails; on a cluster the platform
reports failed components.
"""

import json
import os

from absl import logging
from tfx import v1 as tfx
from tfx.components.evaluator import constants
from tfx.types.standard_artifacts import InfraBlessing, ModelBlessing, ModelEvaluation

from components.artifacts import SegmentationReportPage, SentNotification, write_file
from components.evaluator.verdict import read_verdict
from components.message import Message, send
from components.model_server_probe import read_reasons
from components.segmentation_report import PAGE_FILE
from components.settings import NotifySettings

MESSAGE_FILE = "notification.json"


@tfx.dsl.components.component
def Notification(
    evaluation: tfx.dsl.components.InputArtifact[ModelEvaluation],
    blessing: tfx.dsl.components.InputArtifact[ModelBlessing],
    report: tfx.dsl.components.InputArtifact[SegmentationReportPage],
    notification: tfx.dsl.components.OutputArtifact[SentNotification],
    pipeline: tfx.dsl.components.Parameter[str],
    settings: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
    infra_blessing: tfx.dsl.components.InputArtifact[InfraBlessing] = None,  # type: ignore[assignment]
) -> None:
    """Sends a message if the model is not pushed; a message that cannot be sent fails no run.

    `settings`: NotifySettings as JSON. `code_fingerprint`: makes changed code run again.
    """
    del code_fingerprint
    verdict = read_verdict(evaluation.uri)
    blessed = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
    reasons = [] if blessed else list(verdict.reasons)
    if infra_blessing and infra_blessing.get_int_custom_property("blessed") != 1:
        why = read_reasons(infra_blessing.uri) or [f"see {infra_blessing.uri}"]
        reasons += [f"a model server would not answer: {reason}" for reason in why]
    event, problems = "blessed", list[str]()
    if reasons or not blessed:
        event, page = "not_blessed", os.path.join(report.uri, PAGE_FILE)
        message = Message(
            "not_blessed", pipeline, evaluation.uri, tuple(reasons), "", verdict.baseline, page
        )
        problems = send(message, NotifySettings.model_validate_json(settings))
    for problem in problems:
        logging.error("The message on the model was not sent: %s", problem)
    sent = {"event": event, "sent": event != "blessed" and not problems, "problems": problems}
    write_file(os.path.join(notification.uri, MESSAGE_FILE), json.dumps(sent, indent=2) + "\n")
