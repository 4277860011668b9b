"""Hands a compiled pipeline to a cluster and watches it: the work of `pointnet-parts submit`.

The platforms' own clients do it: google-cloud-aiplatform's PipelineJob, and kfp's Client.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.google_storage import (
    LOG_IN,
    LONGEST_WAIT_SECONDS,
    bucket_of,
    first_line,
    why_not_reached,
)
from pipeline.runtime_parameters import DATA_ROOT, TRAIN_ARGS
from schema.errors import UserError

# How long a cancelled run may be waited for; see `_ended`.
_LONGEST_UNSEEN_SECONDS = 600


@dataclass(frozen=True)
class Submission:
    """What is to run.

    Attributes:
      config: the one that was compiled.
      spec: the compiled pipeline's file.
      parameters: see `run_parameters`.
      schedule: when to run, again and again; "" runs it now, once. Vertex AI takes cron's five
        fields ("0 3 * * 1"), Kubeflow six, seconds first ("0 0 3 * * 1").
      wait: whether to come back only when the run has ended.
    """

    config: PipelineConfig
    spec: Path
    parameters: dict[str, str]
    schedule: str = ""
    wait: bool = False


def run_parameters(data: str, steps: int | None) -> dict[str, str]:
    """The runtime parameters in which a run differs from what was compiled.

    Args:
      data: another data set with the same categories; "" for the config's.
      steps: training steps, rounded up to whole epochs; None for the config's epochs.

    Raises:
      UserError: the data is in no bucket.
    """
    values = {}
    if data:
        if not data.startswith("gs://"):
            raise UserError(
                "bad_config", f"the data is {data!r}; a cluster reads from a bucket: give gs://..."
            )
        values[DATA_ROOT] = data.rstrip("/")
    if steps is not None:
        values[TRAIN_ARGS] = json.dumps({"splits": ["train"], "num_steps": steps})
    return values


def check_credentials(config: PipelineConfig, platform: str) -> None:
    """Says that there are none to submit with, before anything is compiled.

    Raises:
      UserError: there are none, and how to get them.
    """
    import google.auth

    if platform == "vertex":
        with _vertex_errors(_who(config)):
            google.auth.default()


def submit_to_vertex(run: Submission, say: Callable[[str], None]) -> None:
    """Runs a compiled pipeline, vertex.json, on Vertex AI; `say` takes lines for a person.

    Raises:
      UserError: Vertex AI refused, or the run failed.
    """
    from google.cloud import aiplatform

    vertex = run.config.vertex
    with _vertex_errors(_who(run.config)):
        _check_bucket(run.config)
        if run.schedule:
            _check_no_vertex_schedule(run.config)
        job = aiplatform.PipelineJob(
            display_name=run.config.pipeline_name,
            template_path=str(run.spec),
            parameter_values=run.parameters,
            encryption_spec_key_name=vertex.encryption_key,
            project=vertex.project,
            location=vertex.region,
        )
        if run.schedule:
            made = job.create_schedule(
                cron=run.schedule,
                display_name=run.config.pipeline_name,
                service_account=vertex.service_account,
                network=vertex.network,
            )
            say(f"scheduled ({run.schedule}): {made.resource_name}")
            if vertex.experiment:
                # What enters a run in an experiment is the client, not the service.
                say(f"vertex.experiment: a schedule's runs are not entered in {vertex.experiment}")
            return
        problem = ""
        try:
            job.submit(
                service_account=vertex.service_account,
                network=vertex.network,
                experiment=vertex.experiment,
            )
        except Exception as error:  # the client enters it in the experiment after it has started
            if not _has_started(job):
                raise
            problem = first_line(error)
        say(f"run {job.resource_name}")
        if problem:
            say(f"the run goes on, but was not entered in {vertex.experiment}: {problem}")
        say(
            f"watch it: https://console.cloud.google.com/vertex-ai/locations/{vertex.region}"
            f"/pipelines/runs/{job.job_id}?project={vertex.project}"
        )
        if run.wait:
            job.wait()
            say("the run has succeeded")


def _has_started(job: Any) -> bool:
    try:
        return bool(job.resource_name)
    except RuntimeError:  # Google's client has it only after the job is made
        return False


def _who(config: PipelineConfig) -> str:
    return f"Vertex AI ({config.vertex.project}, {config.vertex.region})"


def _check_bucket(config: PipelineConfig) -> None:
    """Raises where the root's bucket is not there: Google's client would make it, anywhere."""
    from google.api_core.exceptions import Forbidden
    from google.cloud import aiplatform
    from google.cloud.storage import Client

    vertex = config.vertex
    name = bucket_of(str(vertex.root))
    client = Client(
        project=vertex.project, credentials=aiplatform.initializer.global_config.credentials
    )
    try:
        there = client.bucket(name).exists(timeout=LONGEST_WAIT_SECONDS, retry=None)
    except Forbidden:  # To look needs a permission of its own, which writing does not.
        return
    if not there:
        raise UserError(
            "not_submitted",
            f"there is no bucket {name}, which vertex.root ({vertex.root}) names; correct it, or "
            f"make the bucket: gcloud storage buckets create gs://{name} --project "
            f"{vertex.project} --location {vertex.region}",
        )


def _check_no_vertex_schedule(config: PipelineConfig) -> None:
    from google.cloud import aiplatform

    vertex, name = config.vertex, config.pipeline_name
    listed = aiplatform.PipelineJobSchedule.list(
        filter=f'display_name="{name}"', project=vertex.project, location=vertex.region
    )
    for one in listed:
        found = one.gca_resource
        if found.state.name != "COMPLETED":
            raise UserError(
                "not_submitted",
                f"a schedule {name} ({found.cron}) is there already, {found.name}; delete it first "
                "(in the console, or PipelineJobSchedule.get(...).delete() of "
                "google.cloud.aiplatform), or give the config another name",
            )


@contextmanager
def _vertex_errors(who: str) -> Iterator[None]:
    """Turns what Google's client raises into a sentence."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests.exceptions import ConnectionError as NoConnection

    try:
        yield
    except (TransportError, NoConnection) as error:
        raise UserError(
            "not_submitted",
            f"{who}: Google cannot be reached ({why_not_reached(error)}); see to the way there",
        ) from None
    except GoogleAuthError as error:
        raise UserError(
            "not_submitted",
            f"{who}: no credentials to call it with ({first_line(error)}); {LOG_IN}",
        ) from None
    except (GoogleAPIError, RuntimeError, ValueError, OSError) as error:
        raise UserError("not_submitted", f"{who}: {first_line(error)}") from None


def submit_to_kubeflow(run: Submission, say: Callable[[str], None]) -> None:
    """Runs a compiled pipeline, kubeflow.yaml, on Kubeflow; `say` takes lines for a person.

    Raises:
      UserError: Kubeflow refused or is not there, or the run failed.
    """
    import kfp

    # It warns of each try; what came of the last one is in the error.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    kubeflow = run.config.kubeflow
    with _kubeflow_errors(kubeflow.host):
        # Not its namespace, which is where Kubeflow is installed and not whose the run is.
        client = kfp.Client(host=kubeflow.host)
        if run.schedule:
            experiment = client.create_experiment(kubeflow.experiment, namespace=kubeflow.namespace)
            _check_no_kubeflow_schedule(client, experiment.experiment_id, run.config.pipeline_name)
            made = client.create_recurring_run(
                experiment_id=experiment.experiment_id,
                job_name=run.config.pipeline_name,
                cron_expression=run.schedule,
                params=run.parameters,
                pipeline_package_path=str(run.spec),
                pipeline_root=kubeflow.pipeline_root,  # it does not read the spec's
                service_account=kubeflow.service_account,
            )
            say(f"scheduled ({run.schedule}): {made.recurring_run_id}")
            return
        started = client.create_run_from_pipeline_package(
            str(run.spec),
            arguments=run.parameters,
            run_name=run.config.pipeline_name,
            experiment_name=kubeflow.experiment,
            namespace=kubeflow.namespace,
            pipeline_root=kubeflow.pipeline_root,
            service_account=kubeflow.service_account,
        )
        say(f"run {started.run_id}")
        if run.wait:
            state = _ended(client, started.run_id)
            if state.upper() != "SUCCEEDED":
                raise RuntimeError(f"the run {started.run_id} ended as {state}")
            say("the run has succeeded")


def _ended(client: Any, run: str) -> str:
    """Waits for a run's end; its state.

    kfp's client waits, but does not know that CANCELED is an end (kubeflow/pipelines issue 14473).
    """
    while True:
        try:
            return str(client.wait_for_run_completion(run, _LONGEST_UNSEEN_SECONDS).state)
        except TimeoutError:
            state = str(client.get_run(run).state)
            if state.upper() == "CANCELED":
                return state


def _check_no_kubeflow_schedule(client: Any, experiment: str, name: str) -> None:
    page = ""
    while True:
        answer = client.list_recurring_runs(page, page_size=100, experiment_id=experiment)
        for found in answer.recurring_runs or ():
            if found.display_name == name:
                raise UserError(
                    "not_submitted",
                    f"a recurring run {name} is there already, {found.recurring_run_id}; delete it "
                    f"first (kfp recurring-run delete {found.recurring_run_id}), or give the "
                    "config another name",
                )
        page = answer.next_page_token or ""
        if not page:
            return


@contextmanager
def _kubeflow_errors(host: str | None) -> Iterator[None]:
    """Turns what Kubeflow's client raises into a sentence."""
    from kfp_server_api.exceptions import OpenApiException
    from urllib3.exceptions import HTTPError

    where = host or "the cluster of kubectl's context"
    who = f"Kubeflow Pipelines at {where}"
    try:
        yield
    except HTTPError as error:
        first = "see whether kubeflow.host is right" if host else "give kubeflow.host"
        raise UserError(
            "not_submitted",
            f"{who} cannot be reached ({_innermost(error)}); {first}, or forward the port: kubectl "
            "port-forward -n kubeflow svc/ml-pipeline 8888:8888",
        ) from None
    except KeyError as error:
        raise UserError(
            "not_submitted",
            f"{who}: ~/.config/kfp/context.json lacks {error}; kfp's client needs it, even empty",
        ) from None
    except (OpenApiException, RuntimeError, ValueError, OSError) as error:
        raise UserError("not_submitted", f"{who}: {first_line(error)}") from None


def _innermost(error: Exception) -> str:
    """What the operating system said, out of the exceptions around it: "connection refused"."""
    text = first_line(getattr(error, "reason", None) or error)
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    return found[1].lower() if found else text


SUBMITTERS = {"vertex": submit_to_vertex, "kubeflow": submit_to_kubeflow}
