"""What of a submission cannot work, said before anything is compiled."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.config import PipelineConfig
from pipeline.google_storage import bucket_of, is_known_missing
from schema.errors import UserError

# What the example has where a person's own names belong.
_MADE_UP = re.compile(r"(?<![\w-])example-(project|bucket|repository)(?![\w-])")
# Fields of a cron expression: Kubeflow has one for seconds before the others.
_CRON_FIELDS = {"vertex": 5, "kubeflow": 6}
_CRON_EXAMPLES = {"vertex": "0 3 * * 1", "kubeflow": "0 0 3 * * 1"}
_CRON_FIELD = re.compile(r"[0-9A-Za-z*/,?-]+")
_TIME_ZONE = re.compile(r"(CRON_)?TZ=\S+\s+")


def check_submission(config: PipelineConfig, platform: str, schedule: str, wait: bool) -> None:
    """Says what cannot be submitted, before anything is compiled.

    Args:
      config: what is to be compiled.
      platform: "vertex" or "kubeflow".
      schedule: see `submission.Submission`.
      wait: see `submission.Submission`.

    Raises:
      UserError: a made-up name, a schedule that is none, or one to be waited for.
    """
    for key, value in getattr(config, platform):
        if isinstance(value, str) and _MADE_UP.search(value):
            raise UserError(
                "bad_config",
                f"{platform}.{key} is {value}, a made-up name of the example; put your own in",
            )
    if schedule and wait:
        raise UserError(
            "bad_config",
            "--wait waits for a run that starts now, and --schedule starts none now; leave one of "
            "them out",
        )
    if schedule:
        _check_cron(platform, schedule)


def check_buckets(places: Mapping[str, str | None]) -> None:
    """Says which bucket is not there, where Google can be asked: else only a step would find out.

    Without credentials, or where they may not see the bucket, nothing is said: the steps may.

    Args:
      places: addresses, gs://bucket/name, by what gives them, such as "kubeflow.root"; None: none.

    Raises:
      UserError: a bucket that is not there.
    """
    asked: dict[str, bool] = {}
    for key, address in places.items():
        if not address:
            continue
        name = bucket_of(address)
        if name not in asked:
            asked[name] = is_known_missing(address)
        if asked[name]:
            raise UserError(
                "bad_config",
                f"there is no bucket {name}, which {key} ({address}) names; correct it, or make "
                f"the bucket: gcloud storage buckets create gs://{name}",
            )


def _check_cron(platform: str, schedule: str) -> None:
    if platform == "kubeflow" and schedule.startswith("@"):  # such as @daily
        return
    text = _TIME_ZONE.sub("", schedule, count=1) if platform == "vertex" else schedule
    fields, wanted = text.split(), _CRON_FIELDS[platform]
    if len(fields) == wanted and all(_CRON_FIELD.fullmatch(field) for field in fields):
        return
    hint = " (seconds come first)" if platform == "kubeflow" else ""
    raise UserError(
        "bad_config",
        f"the schedule is {schedule!r}; {platform} takes a cron expression of {wanted} fields"
        f"{hint}, such as {_CRON_EXAMPLES[platform]!r}, Mondays at 3 UTC",
    )
