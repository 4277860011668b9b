"""A message to a real HTTP server and to a program; what fails is reported, without secrets."""

import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from components.message import Message, send
from components.settings import MASK, NotifySettings
from pipeline.config import parse_config, to_yaml
from schema.errors import UserError

SECRET = "T0SECRET"
REASON = "part IoU of leg is 0.5000; at least 0.6000 is needed"
NOT_BLESSED = Message("not_blessed", "chairs", "/out", (REASON,), report="/out/report.html")


class Webhook:
    """A loopback server: `answers` are its next statuses, `received` what it got."""

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
    settings = NotifySettings(webhook_variable="CHAIRS_WEBHOOK", **settings)
    return send(message, settings, backoff_seconds=0)


def test_the_webhook_gets_text_for_people_and_fields_for_programs(webhook):
    assert posted() == []
    ((path, content_type, body),) = webhook.received
    assert (path, content_type) == (f"/services/{SECRET}", "application/json")
    text = body.pop("text")
    assert "chairs" in text and REASON in text
    assert body == {
        "event": "not_blessed",
        "pipeline": "chairs",
        "run": "/out",
        "reasons": [REASON],
        "component": "",
        "baseline": "",
        "report": "/out/report.html",
    }


def test_the_text_has_the_component_ten_reasons_and_where_to_look():
    reasons = tuple(f"bound {n} is missed" for n in range(14))
    text = Message("failed", "chairs", "/out", reasons, component="Trainer").text
    for fact in ("chairs", "Trainer", "bound 9 is", "4 more", "/out"):
        assert fact in text
    assert "bound 10" not in text


@pytest.mark.parametrize(
    ("answers", "tries", "fails"),
    [([503, 429, 200], 3, False), ([500] * 5, 3, True), ([404], 1, True), ([302], 1, True)],
)
def test_a_busy_webhook_is_tried_again_and_a_refusal_has_no_secret(
    webhook, caplog, answers, tries, fails
):
    caplog.set_level(logging.DEBUG)
    webhook.answers = list(answers)
    problems = posted(attempts=3)
    assert len(webhook.received) == tries and len(problems) == fails
    for problem in problems:
        assert all(word in problem for word in ("localhost", str(answers[0]), "CHAIRS_WEBHOOK"))
    assert SECRET not in str(problems) + caplog.text


@pytest.mark.parametrize(
    "address",
    [
        "",
        f"hooks.example/{SECRET}",
        f"ftp://hooks.example/{SECRET}",
        f"https://[broken/{SECRET}",
        f"https://hooks.example:port/{SECRET}",
        f"https://hooks..example/{SECRET}",
        f"https://{'h' * 70}.example/{SECRET}",
        f"http://localhost:1/{SECRET}",
        f"http://localhost:1/{SECRET}\udcff",
    ],
)
def test_an_address_that_cannot_be_used_raises_nothing(monkeypatch, caplog, address):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CHAIRS_WEBHOOK", address)
    (problem,) = posted(attempts=1)
    assert "CHAIRS_WEBHOOK" in problem
    assert SECRET not in problem + caplog.text


def test_the_address_may_be_in_a_file(webhook, tmp_path, monkeypatch):
    monkeypatch.delenv("CHAIRS_WEBHOOK")
    file = tmp_path / "webhook"
    assert str(file) in posted(webhook_file=str(file))[0]
    file.write_text(webhook.address + "\n")
    assert posted(webhook_file=str(file)) == []
    assert len(webhook.received) == 1


def test_a_program_reads_the_message(tmp_path):
    file = tmp_path / "message.json"
    program = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    settings = NotifySettings(command=(sys.executable, "-c", program, str(file)))
    assert send(NOT_BLESSED, settings) == []
    assert json.loads(file.read_text())["reasons"] == [REASON]


@pytest.mark.parametrize(
    ("command", "seconds", "facts"),
    [
        (("/nowhere/tell", SECRET), 60, "tell No such file"),
        ((sys.executable, "-c", f"import sys; sys.exit('{SECRET}')"), 60, "python status 1"),
        (
            (sys.executable, "-c", "import sys; sys.stderr.buffer.write(b'\\xff'); sys.exit(3)"),
            60,
            "3",
        ),
        ((sys.executable, "-c", "while True: pass"), 0.5, "0.5 s"),
        ((sys.executable, f"{SECRET}\0"), 60, "ValueError"),
    ],
)
def test_a_program_that_fails_is_named_without_its_arguments(command, seconds, facts):
    (problem,) = send(NOT_BLESSED, NotifySettings(command=command, timeout_seconds=seconds))
    assert problem.startswith("notify.command: ")
    assert all(fact in problem for fact in facts.split(" ", 1)) and SECRET not in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("webhook_variable", f"https://hooks.example/{SECRET}"),
        ("webhook_variable", f"hooks.example/{SECRET}"),
        ("webhook_file", f"https://hooks.example/{SECRET}"),
        ("command", f"curl {SECRET}"),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(key, value):
    with pytest.raises(UserError, match=f"notify.{key}") as error:
        parse_config(f"notify: {{{key}: '{value}'}}", "mine.yaml")
    assert SECRET not in str(error.value)


def test_a_stored_config_has_no_arguments_and_is_not_run_without_them():
    config = parse_config(f"notify: {{command: [curl, '{SECRET}']}}", "mine.yaml")
    assert config.notify.wanted and not parse_config("", "x").notify.wanted
    stored = to_yaml(config)
    assert "curl" in stored and MASK in stored and SECRET not in stored
    with pytest.raises(UserError, match=r"notify\.command"):
        parse_config(stored, "stored.yaml")
    assert "curl" not in to_yaml(config, without={"notify"})
