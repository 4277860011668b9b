"""Settings of ModelServerProbe and of notifications."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt
from pydantic import Field, ValidationInfo, field_validator

from schema.settings import Settings

Positive = Annotated[float, Gt(0)]
Count = Annotated[int, Ge(1)]

# Stands for an argument of notify.command, often a secret, where a config is printed or stored.
MASK = "***"


class ProbeSettings(Settings):
    """How ModelServerProbe tests the exported model before it is pushed."""

    clouds: Count = 8
    """Number of test clouds to send as requests."""

    most_seconds: Positive | None = None
    """Longest answer time for one cloud, after warm-up, in seconds; null: no limit."""

    most_mebibytes: Positive | None = None
    """Largest memory of the serving process, in MiB; null: no limit."""

    most_seconds_to_load: Positive = 600
    """Time in seconds after which a process that is still loading counts as hung."""


class NotifySettings(Settings):
    """Where a message is sent if a run does not end in a blessed model; by default nowhere."""

    webhook_variable: str = ""
    """Environment variable with the address to which a JSON message is posted (Slack and similar
    services show its `text`). The address itself is a secret and must not be in a config."""

    webhook_file: str = ""
    """File, such as gs://... or a mounted secret, with the address if the variable is not set; for
    clusters."""

    command: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """A program and its arguments; it reads the message from standard input. On a cluster it must
    be in the image. Arguments are not printed and not stored with a run, but they are in a compiled
    pipeline: put a secret in a file that the program reads."""

    attempts: Count = 4
    """Number of attempts to reach the webhook."""

    timeout_seconds: Positive = 30
    """Longest time for an answer, or for the program, in seconds."""

    @property
    def wanted(self) -> bool:
        """Whether a message is sent at all."""
        return bool(self.webhook_variable or self.webhook_file or self.command)

    def masked(self) -> dict[str, Any]:
        """The settings as plain values, to print and store: without the command's arguments."""
        values = self.model_dump(mode="json")
        values["command"] = [*self.command[:1], *(MASK for _ in self.command[1:])]
        return values

    @field_validator("webhook_variable", "webhook_file")
    @classmethod
    def _is_not_the_address(cls, value: str, info: ValidationInfo) -> str:
        named = info.field_name != "webhook_variable" or not value or value.isidentifier()
        if not named or value.startswith(("http:", "https:")):
            # Not repeated: it may be the secret itself.
            raise ValueError("give the name of the variable, or the file, that has the address")
        return value

    @field_validator("command")
    @classmethod
    def _is_complete(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if MASK in value:
            raise ValueError("this config was stored without its arguments; give them again")
        return value
