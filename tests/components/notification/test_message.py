"""A message arrives at a real HTTP server and at a program; what fails is said, without secrets."""

import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from components.notification.message import Message, send
from components.settings import NotifySettings
from pipeline.config import parse_config
from schema.errors import UserError

SECRET = "T0SECRET"
NOT_BLESSED = Message(
    event="not_blessed",
    pipeline="chairs",
    run="/data/out",
    reasons=("part IoU of leg is 0.5000; at least 0.6000 is needed (0.1000 missing)",),
    baseline="held against the blessed model before it, the baseline",
    report="/data/out/report.html",
)


class Webhook:
    """A loopback server; its answers are given beforehand, what it got is in `received`."""

    def __init__(self):
        self.answers, self.received = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.append((self.path, self.headers["Content-Type"], json.loads(body)))
                status = outer.answers.pop(0) if outer.answers else 200
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = HTTPServer(("localhost", 0), Handler)
        self.address = f"http://localhost:{self.server.server_port}/services/{SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def webhook(monkeypatch):
    server = Webhook()
    monkeypatch.setenv("CHAIRS_WEBHOOK", server.address)
    yield server
    server.close()


def posted(message=NOT_BLESSED, **settings):
    return send(
        message, NotifySettings(webhook_variable="CHAIRS_WEBHOOK", **settings), backoff_seconds=0
    )


def test_the_webhook_gets_text_for_people_and_fields_for_programs(webhook):
    assert posted() == []
    ((path, content_type, body),) = webhook.received
    assert (path, content_type) == (f"/services/{SECRET}", "application/json")
    assert body["text"].splitlines() == [
        "chairs: the model is not blessed; nothing was pushed.",
        "- part IoU of leg is 0.5000; at least 0.6000 is needed (0.1000 missing)",
        "Report: /data/out/report.html",
    ]
    assert {key: body[key] for key in ("event", "pipeline", "run", "reasons", "report")} == {
        "event": "not_blessed",
        "pipeline": "chairs",
        "run": "/data/out",
        "reasons": list(NOT_BLESSED.reasons),
        "report": "/data/out/report.html",
    }


def test_a_failed_run_names_its_component():
    failed = Message("failed", "chairs", "/out", ("disk full",), component="Trainer")
    assert failed.text == "chairs: the run failed in Trainer.\n- disk full\nResults: /out"


def test_many_reasons_are_cut_in_the_text_and_whole_in_the_field(webhook):
    reasons = tuple(f"bound {n} is missed" for n in range(14))
    assert posted(Message("not_blessed", "chairs", "/out", reasons)) == []
    ((_, _, body),) = webhook.received
    assert "bound 9 is missed" in body["text"] and "bound 10" not in body["text"]
    assert "- and 4 more" in body["text"]
    assert len(body["reasons"]) == 14


def test_a_busy_webhook_is_tried_again(webhook):
    webhook.answers = [503, 429, 200]
    assert posted() == []
    assert len(webhook.received) == 3


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (404, 1), (302, 1)])
def test_a_webhook_that_refuses_is_named_without_its_secret(webhook, caplog, status, tries):
    caplog.set_level(logging.DEBUG)
    webhook.answers = [status] * 5
    (problem,) = posted(attempts=3)
    assert f"the webhook at localhost answered {status}" in problem
    assert "the environment variable CHAIRS_WEBHOOK" in problem
    assert len(webhook.received) == tries
    assert SECRET not in problem + caplog.text


def test_a_webhook_that_is_not_there_is_named_without_its_secret(closed_port, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CHAIRS_WEBHOOK", f"http://localhost:{closed_port}/services/{SECRET}")
    (problem,) = posted(attempts=2)
    assert problem.startswith("the webhook at localhost was not reached (ConnectionError)")
    assert SECRET not in problem + caplog.text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "CHAIRS_WEBHOOK (notify.webhook_variable) is not set"),
        ("T0SECRET", "CHAIRS_WEBHOOK holds no address that begins with https://"),
        ("ftp://T0SECRET", "CHAIRS_WEBHOOK holds no address that begins with https://"),
    ],
)
def test_an_address_that_cannot_be_used_is_said(monkeypatch, value, words):
    monkeypatch.delenv("CHAIRS_WEBHOOK", raising=False)
    if value:
        monkeypatch.setenv("CHAIRS_WEBHOOK", value)
    (problem,) = posted()
    assert words in problem
    assert SECRET not in problem


def test_the_address_may_stand_in_a_file(webhook, tmp_path, monkeypatch):
    monkeypatch.delenv("CHAIRS_WEBHOOK")
    file = tmp_path / "webhook"
    assert "cannot be read (NotFoundError)" in posted(webhook_file=str(file))[0]
    file.write_text(webhook.address + "\n")
    assert posted(webhook_file=str(file)) == []
    assert len(webhook.received) == 1


PROGRAM = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"


def test_a_program_reads_the_message(tmp_path):
    file = tmp_path / "message.json"
    settings = NotifySettings(command=(sys.executable, "-c", PROGRAM, str(file)))
    assert send(NOT_BLESSED, settings) == []
    assert json.loads(file.read_text())["event"] == "not_blessed"


@pytest.mark.parametrize(
    ("command", "seconds", "words"),
    [
        (("/nowhere/tell",), 60, "/nowhere/tell cannot be started (No such file or directory)"),
        ((sys.executable, "-c", "import sys; sys.exit('no post')"), 60, "ended with 1 (no post)"),
        ((sys.executable, "-c", "while True: pass"), 0.5, "was stopped after 0.5 s"),
    ],
)
def test_a_program_that_fails_is_named(command, seconds, words):
    (problem,) = send(NOT_BLESSED, NotifySettings(command=command, timeout_seconds=seconds))
    assert problem.startswith("notify.command: ")
    assert words in problem


@pytest.mark.parametrize(
    "text",
    [
        f"notify: {{webhook_variable: 'https://hooks.slack.com/{SECRET}'}}",
        f"notify: {{webhook_file: 'https://hooks.slack.com/{SECRET}'}}",
    ],
)
def test_an_address_in_the_config_is_refused_and_not_repeated(text):
    with pytest.raises(UserError, match=r"config mine\.yaml: notify\.webhook_.*put") as error:
        parse_config(text, "mine.yaml")
    assert SECRET not in str(error.value)


def test_by_default_nobody_is_told():
    assert not parse_config("", "x").notify.wanted
    assert parse_config("notify: {webhook_variable: HOOK}", "x").notify.wanted
