"""One JSON message if a run does not end in a blessed model, to a webhook or a program.

The webhook's address and the program's arguments are secrets: neither is logged or shown, nor is
what libraries report, which may contain them.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from components.settings import NotifySettings

_BUSY = (429, 500, 502, 503, 504)
_REASONS_SHOWN = 10
# They log a request's path, which is the secret part of an address.
_LOGGERS_OF_PATHS = ("urllib3.connectionpool", "urllib3.util.retry")


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
      pipeline, run: its name, and where the run's results are.
      reasons: each missed bound, or why the run failed.
      component: the one that failed; empty if none did.
      baseline: what the model was compared with; empty if nothing was measured.
      report: the page to look at; empty if there is none.
    """

    event: Literal["not_blessed", "failed"]
    pipeline: str
    run: str
    reasons: tuple[str, ...]
    component: str = ""
    baseline: str = ""
    report: str = ""

    @property
    def text(self) -> str:
        """All of it for a person, in the form that chat programs take."""
        what = "the model is not blessed; nothing was pushed"
        if self.event == "failed":
            what = "the run failed" + (f" in {self.component}" if self.component else "")
        lines = [f"{self.pipeline}: {what}."]
        lines += [f"- {reason}" for reason in self.reasons[:_REASONS_SHOWN]]
        if len(self.reasons) > _REASONS_SHOWN:
            lines.append(f"- and {len(self.reasons) - _REASONS_SHOWN} more")
        lines.append(f"Report: {self.report}" if self.report else f"Results: {self.run}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Its fields and `text`, the only one that Slack and similar services read."""
        return json.dumps({"text": self.text, **asdict(self)})


def send(message: Message, settings: NotifySettings, backoff_seconds: float = 1.0) -> list[str]:
    """Sends a message in every way that the config names; what failed, never an exception.

    `backoff_seconds`: the first pause between two attempts; each next one is twice as long.
    """
    problems = []
    if settings.webhook_variable or settings.webhook_file:
        problems.append(_post(message, settings, backoff_seconds))
    if settings.command:
        problems.append(_run(message, settings.command, settings.timeout_seconds))
    return [problem for problem in problems if problem]


def _post(message: Message, settings: NotifySettings, backoff_seconds: float) -> str:
    """Why the webhook did not take it; empty if it did."""
    address, where = _address(settings)
    if not address:
        return f"there is no webhook: {where}"
    try:
        parts = urlsplit(address)
        host, scheme = parts.hostname, parts.scheme
        _ = parts.port
    except ValueError:
        host = scheme = None
    if scheme not in ("http", "https") or not host:
        return f"the webhook's address is malformed; correct {where}"
    retry = urllib3.Retry(
        total=settings.attempts - 1,
        redirect=0,
        status_forcelist=_BUSY,
        allowed_methods=None,
        backoff_factor=backoff_seconds,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    try:
        with requests.Session() as session, _silence():
            session.mount(f"{scheme}://", HTTPAdapter(max_retries=retry))
            answer = session.post(
                address,
                data=message.to_json().encode(),
                headers={"Content-Type": "application/json"},
                timeout=settings.timeout_seconds,
                allow_redirects=False,
            )
    # Addresses that requests does not check raise urllib3's, ssl's and codecs' errors.
    except Exception as error:
        return f"the webhook at {host} was not reached ({type(error).__name__}); check {where}"
    if answer.status_code // 100 != 2:
        return f"the webhook at {host} answered {answer.status_code}; check {where}"
    return ""


def _address(settings: NotifySettings) -> tuple[str, str]:
    """The webhook's address, empty if there is none; and where it is, or why there is none."""
    variable, file = settings.webhook_variable, settings.webhook_file
    if variable and os.environ.get(variable, "").strip():
        return os.environ[variable].strip(), f"the environment variable {variable}"
    if not file:
        return "", f"the environment variable {variable} (notify.webhook_variable) is not set"
    try:
        # TFX takes seconds to import.
        from tfx.dsl.io import fileio

        with fileio.open(file, "r") as content:
            return content.read().strip(), f"the file {file}"
    # Each kind of storage has errors of its own.
    except Exception as error:
        return "", f"{file} (notify.webhook_file) cannot be read ({type(error).__name__})"


@contextmanager
def _silence() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS_OF_PATHS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _run(message: Message, command: Sequence[str], seconds: float) -> str:
    """Why the program did not take it; empty if it did. What it prints may repeat its arguments."""
    program = f"notify.command: {os.path.basename(command[0])}"
    try:
        done = subprocess.run(
            command, input=message.to_json().encode(), capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return f"{program} was stopped after {seconds:g} s"
    except (OSError, ValueError) as error:
        return f"{program} cannot be started ({getattr(error, 'strerror', type(error).__name__)})"
    return f"{program} ended with status {done.returncode}" if done.returncode else ""
