"""What is told, and the two ways to tell it: a POST to a webhook, and a program.

The webhook's address is a secret: it stands in an environment variable or in a file that only the
run can read, and is neither logged nor shown, nor is what libraries say where that may hold it.
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
from tfx.dsl.io import fileio

from components.settings import NotifySettings

_BUSY = (429, 500, 502, 503, 504)
_REASONS_SHOWN = 10
# They write a request's path, which is the secret part of an address.
_TALKATIVE = ("urllib3.connectionpool", "urllib3.util.retry")


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
      event: what happened.
      pipeline: its name.
      run: where the run's results are.
      reasons: a sentence for each missed bound, or why it failed.
      component: the one that failed; empty where none did.
      baseline: what the model was held against, in a sentence; empty where nothing was measured.
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
        failed = f"the run failed in {self.component}" if self.component else "the run failed"
        what = "the model is not blessed; nothing was pushed" if not self._failed else failed
        lines = [f"{self.pipeline}: {what}."]
        lines += [f"- {reason}" for reason in self.reasons[:_REASONS_SHOWN]]
        if len(self.reasons) > _REASONS_SHOWN:
            lines.append(f"- and {len(self.reasons) - _REASONS_SHOWN} more")
        lines.append(f"Report: {self.report}" if self.report else f"Results: {self.run}")
        return "\n".join(lines)

    @property
    def _failed(self) -> bool:
        return self.event == "failed"

    def to_json(self) -> str:
        """Its fields and `text`, which is all that Slack and its like look at."""
        return json.dumps({"text": self.text, **asdict(self)})


def send(message: Message, settings: NotifySettings, backoff_seconds: float = 1.0) -> list[str]:
    """Sends a message in every way that the config names.

    Args:
      message: what.
      settings: where to.
      backoff_seconds: the first pause between two attempts; each next one is twice as long.

    Returns:
      A sentence for each way that failed; it raises nothing.
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
        return f"no webhook was told: {where}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return f"no webhook was told: {where} holds no address that begins with https://"
    host = parts.hostname
    again = urllib3.Retry(
        total=settings.attempts - 1,
        redirect=0,
        status_forcelist=_BUSY,
        allowed_methods=None,
        backoff_factor=backoff_seconds,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    with requests.Session() as session, _silence():
        session.mount(f"{parts.scheme}://", HTTPAdapter(max_retries=again))
        try:
            answer = session.post(
                address,
                data=message.to_json().encode(),
                headers={"Content-Type": "application/json"},
                timeout=settings.timeout_seconds,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return f"the webhook at {host} was not reached ({type(error).__name__}); see to {where}"
    if answer.status_code // 100 != 2:
        return f"the webhook at {host} answered {answer.status_code}; see to {where}"
    return ""


def _address(settings: NotifySettings) -> tuple[str, str]:
    """The webhook's address, empty if there is none; and where it stands, or why there is none."""
    variable, file = settings.webhook_variable, settings.webhook_file
    if variable and os.environ.get(variable, "").strip():
        return os.environ[variable].strip(), f"the environment variable {variable}"
    if not file:
        return "", f"the environment variable {variable} (notify.webhook_variable) is not set"
    try:
        with fileio.open(file, "r") as content:
            return content.read().strip(), f"the file {file}"
    # Each kind of storage has errors of its own.
    except Exception as error:
        return "", f"{file} (notify.webhook_file) cannot be read ({type(error).__name__})"


@contextmanager
def _silence() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _run(message: Message, command: Sequence[str], timeout: float) -> str:
    """Why the program did not take it; empty if it did."""
    try:
        done = subprocess.run(
            command, input=message.to_json(), text=True, capture_output=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return f"notify.command: {command[0]} was stopped after {timeout:g} s"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"notify.command: {command[0]} cannot be started ({reason})"
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-200:]
        return f"notify.command: {command[0]} ended with {done.returncode}" + (
            f" ({said})" if said else ""
        )
    return ""
