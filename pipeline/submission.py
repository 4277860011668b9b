"""Hands a compiled pipeline to a cluster and watches it: the work of `pointnet-parts submit`.

The platforms' own clients do it: google-cloud-aiplatform's PipelineJob, and kfp's Client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import ConfigError, PipelineConfig
from pipeline.platforms import DATA_ROOT, TRAIN_ARGS
from pipeline.submission_error import SubmissionError

# Longer than any run: both clients want a bound to wait for.
_MOST_SECONDS = 30 * 24 * 3600


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
      ConfigError: the data is in no bucket.
    """
    values = {}
    if data:
        if not data.startswith("gs://"):
            raise ConfigError(f"the data is {data!r}; a cluster reads from a bucket: give gs://...")
        values[DATA_ROOT] = data.rstrip("/")
    if steps is not None:
        values[TRAIN_ARGS] = json.dumps({"splits": ["train"], "num_steps": steps})
    return values


def submit_to_vertex(run: Submission, say: Callable[[str], None]) -> None:
    """Runs a compiled pipeline, vertex.json, on Vertex AI; `say` takes lines for a person.

    Raises:
      SubmissionError: Vertex AI refused, or the run failed.
    """
    from google.cloud import aiplatform

    vertex = run.config.vertex
    with _vertex_errors(f"Vertex AI ({vertex.project}, {vertex.region})"):
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
            return
        job.submit(
            service_account=vertex.service_account,
            network=vertex.network,
            experiment=vertex.experiment,
        )
        say(f"run {job.resource_name}")
        say(
            f"watch it: https://console.cloud.google.com/vertex-ai/locations/{vertex.region}"
            f"/pipelines/runs/{job.job_id}?project={vertex.project}"
        )
        if run.wait:
            job.wait()
            say("the run has succeeded")


@contextmanager
def _vertex_errors(who: str) -> Iterator[None]:
    """Turns what Google's client raises into a sentence."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAuthError as error:
        raise SubmissionError(
            f"{who}: no credentials to call it with ({_first_line(error)}); run `gcloud auth "
            "application-default login`, or name a key file in GOOGLE_APPLICATION_CREDENTIALS"
        ) from None
    except (GoogleAPICallError, RuntimeError, ValueError, OSError) as error:
        raise SubmissionError(f"{who}: {_first_line(error)}") from None


def submit_to_kubeflow(run: Submission, say: Callable[[str], None]) -> None:
    """Runs a compiled pipeline, kubeflow.yaml, on Kubeflow; `say` takes lines for a person.

    Raises:
      SubmissionError: Kubeflow refused or is not there, or the run failed.
    """
    import kfp

    kubeflow = run.config.kubeflow
    where = kubeflow.host or "the cluster of kubectl's context"
    with _kubeflow_errors(f"Kubeflow Pipelines at {where}"):
        client = kfp.Client(
            host=kubeflow.host,
            **({"namespace": kubeflow.namespace} if kubeflow.namespace else {}),
        )
        if run.schedule:
            experiment = client.create_experiment(kubeflow.experiment, namespace=kubeflow.namespace)
            made = client.create_recurring_run(
                experiment_id=experiment.experiment_id,
                job_name=run.config.pipeline_name,
                cron_expression=run.schedule,
                params=run.parameters,
                pipeline_package_path=str(run.spec),
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
            service_account=kubeflow.service_account,
        )
        say(f"run {started.run_id}")
        if run.wait:
            state = client.wait_for_run_completion(started.run_id, timeout=_MOST_SECONDS).state
            if str(state).upper() != "SUCCEEDED":
                raise RuntimeError(f"the run {started.run_id} ended as {state}")
            say("the run has succeeded")


@contextmanager
def _kubeflow_errors(who: str) -> Iterator[None]:
    """Turns what Kubeflow's client raises into a sentence."""
    from kfp_server_api.exceptions import OpenApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except HTTPError as error:
        raise SubmissionError(
            f"{who} cannot be reached ({_first_line(error)}); give kubeflow.host, or forward the "
            "port: kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888"
        ) from None
    except (OpenApiException, RuntimeError, ValueError, OSError) as error:
        raise SubmissionError(f"{who}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


SUBMITTERS = {"vertex": submit_to_vertex, "kubeflow": submit_to_kubeflow}
