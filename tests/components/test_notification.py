"""The component on a cluster: a message for a model that is not blessed, none for one that is."""

import json

import pytest
from tfx.types import standard_artifacts

from components.artifacts import SegmentationReportPage, SentNotification
from components.evaluator.verdict import Verdict
from components.notification import MESSAGE_FILE, Notification_Executor
from components.settings import NotifySettings
from tests.components.test_message import Webhook


@pytest.fixture
def webhook():
    server = Webhook()
    yield server
    server.close()


def run(folder, webhook, blessed, served=True):
    def artifact(kind, name):
        (folder / name).mkdir()
        made = kind()
        made.uri = str(folder / name)
        return made

    (folder / "address").write_text(webhook.address)
    inputs = {
        "evaluation": artifact(standard_artifacts.ModelEvaluation, "evaluation"),
        "blessing": artifact(standard_artifacts.ModelBlessing, "blessing"),
        "infra_blessing": artifact(standard_artifacts.InfraBlessing, "infra"),
        "report": artifact(SegmentationReportPage, "report"),
    }
    Verdict(blessed, (), "no baseline").write(inputs["evaluation"].uri)
    inputs["blessing"].set_int_custom_property("blessed", int(blessed))
    inputs["infra_blessing"].set_int_custom_property("blessed", int(served))
    settings = NotifySettings(webhook_file=str(folder / "address"), attempts=1)
    Notification_Executor().Do(
        {name: [one] for name, one in inputs.items()},
        {"notification": [artifact(SentNotification, "sent")]},
        {"pipeline": "chairs", "settings": settings.model_dump_json(), "code_fingerprint": "0"},
    )
    return json.loads((folder / "sent" / MESSAGE_FILE).read_text())


def test_a_blessed_model_is_no_news(tmp_path, webhook):
    expected = {"event": "blessed", "sent": False, "problems": []}
    assert run(tmp_path, webhook, blessed=True) == expected
    assert webhook.received == []


@pytest.mark.parametrize(("blessed", "served"), [(False, True), (True, False)])
def test_a_model_that_is_not_pushed_is_reported_with_reasons(tmp_path, webhook, blessed, served):
    expected = {"event": "not_blessed", "sent": True, "problems": []}
    assert run(tmp_path, webhook, blessed, served) == expected
    ((_, _, body),) = webhook.received
    assert len(body["reasons"]) == 1 and body["baseline"] == "no baseline"
    assert body["report"] == str(tmp_path / "report" / "report.html")


def test_a_webhook_that_refuses_is_recorded_and_fails_nothing(tmp_path, webhook):
    webhook.answers = [500]
    result = run(tmp_path, webhook, blessed=False)
    assert result["sent"] is False and "500" in result["problems"][0]
