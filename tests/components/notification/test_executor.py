"""The component on a cluster: a message for a model that is not blessed, none for one that is."""

import json

import pytest
from tfx.types import standard_artifacts

from components.evaluator.executor import bless
from components.evaluator.verdict import CheckedBound, Verdict
from components.notification.component import SentNotification
from components.notification.executor import MESSAGE_FILE, Executor
from components.segmentation_report.component import SegmentationReportPage
from components.settings import NotifySettings
from tests.components.notification.test_message import Webhook

MISSED = CheckedBound(
    "point_accuracy", "all clouds", "minimum", 0.9, 0.5, 0.4, "missed", "point accuracy is low"
)
MET = CheckedBound("point_accuracy", "all clouds", "minimum", 0.1, 0.5, 0.0, "met", "fine")


@pytest.fixture
def webhook():
    server = Webhook()
    yield server
    server.close()


def artifact(kind, folder):
    folder.mkdir()
    made = kind()
    made.uri = str(folder)
    return made


def run(folder, webhook, bound, served=True):
    folder.mkdir()
    (folder / "address").write_text(webhook.address)
    evaluation = artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")
    blessing = artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    infra = artifact(standard_artifacts.InfraBlessing, folder / "infra")
    report = artifact(SegmentationReportPage, folder / "report")
    sent = artifact(SentNotification, folder / "sent")
    verdict = Verdict(bound.state == "met", (bound,), "held against nothing")
    verdict.write(evaluation.uri)
    bless(blessing, verdict.blessed)
    infra.set_int_custom_property("blessed", int(served))
    settings = NotifySettings(webhook_file=str(folder / "address"), attempts=1)
    Executor().Do(
        {
            "evaluation": [evaluation],
            "blessing": [blessing],
            "infra_blessing": [infra],
            "report": [report],
        },
        {"notification": [sent]},
        {"pipeline": "chairs", "settings": settings.model_dump_json(), "code_fingerprint": "0"},
    )
    return json.loads((folder / "sent" / MESSAGE_FILE).read_text())


def test_a_blessed_model_is_no_news(tmp_path, webhook):
    found = run(tmp_path / "a", webhook, MET)
    assert found == {"event": "blessed", "told": False, "problems": []}
    assert webhook.received == []


def test_a_model_that_is_not_blessed_is_told_with_its_reasons(tmp_path, webhook):
    found = run(tmp_path / "a", webhook, MISSED)
    assert found == {"event": "not_blessed", "told": True, "problems": []}
    ((_, _, body),) = webhook.received
    assert body["reasons"] == ["point accuracy is low"]
    assert body["report"] == str(tmp_path / "a" / "report" / "report.html")


def test_a_model_that_a_server_cannot_answer_with_is_told(tmp_path, webhook):
    run(tmp_path / "a", webhook, MET, served=False)
    ((_, _, body),) = webhook.received
    assert body["reasons"][0].startswith("a model server would not answer: ")


def test_a_webhook_that_refuses_is_written_down_and_fails_nothing(tmp_path, webhook):
    webhook.answers = [500]
    found = run(tmp_path / "a", webhook, MISSED)
    assert found["told"] is False
    assert found["problems"][0].startswith("the webhook at localhost answered 500")
