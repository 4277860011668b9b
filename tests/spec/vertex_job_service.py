"""Runs a Python module as `python -m` does, with a double of Vertex's job service in it.

    python vertex_job_service.py -m MODULE ARGUMENT...

The Trainer's step on Vertex submits a custom job and waits for it. The double takes the job as the
real client would (a field that a CustomJob does not have is an error), and runs the container's
command of its first worker pool here; everything before and behind the submission is the real code.
A worker that is killed is started again, as one whose machine was lost.

The worker's process id goes into the file that VERTEX_WORKER names.
"""

import os
import runpy
import signal
import subprocess
import sys

from google.cloud import aiplatform_v1
from google.cloud.aiplatform import gapic

PROJECT = "projects/"


class JobServiceClient:
    """The two calls that TFX makes."""

    def __init__(self, client_options):
        assert client_options["api_endpoint"].endswith("-aiplatform.googleapis.com")
        self._jobs = {}

    def create_custom_job(self, parent, custom_job):
        """Runs the job to its end."""
        assert parent.startswith(PROJECT), parent
        assert "/locations/" in parent, parent
        job = aiplatform_v1.CustomJob(custom_job)
        assert job.job_spec.worker_pool_specs, "a custom job without a worker pool"
        for pool in job.job_spec.worker_pool_specs:
            assert pool.machine_spec.machine_type, "a worker pool without a machine type"
            assert pool.container_spec.image_uri, "a worker pool without an image"
        container = job.job_spec.worker_pool_specs[0].container_spec
        command = [*container.command, *container.args]
        assert command[0] == "python", command[0]
        print(f"custom job {job.display_name}: {' '.join(command)[:2000]}", flush=True)
        while (status := _run([sys.executable, *command[1:]])) == -signal.SIGKILL:
            print("the worker was lost; another takes its place", flush=True)
        states = aiplatform_v1.JobState
        job.state = states.JOB_STATE_FAILED if status else states.JOB_STATE_SUCCEEDED
        job.name = f"{parent}/customJobs/{len(self._jobs) + 1}"
        self._jobs[job.name] = job
        return job

    def get_custom_job(self, name, retry=None):
        """The job as it ended."""
        return self._jobs[name]


def _run(command):
    with subprocess.Popen(command) as worker:
        with open(os.environ["VERTEX_WORKER"], "w") as file:
            file.write(str(worker.pid))
        return worker.wait()


if __name__ == "__main__":
    gapic.JobServiceClient = JobServiceClient
    _, dash_m, module, *arguments = sys.argv
    assert dash_m == "-m", sys.argv
    sys.argv = [module, *arguments]
    # `python -m` looks in the working directory, and not in this script's.
    sys.path[0] = ""
    runpy.run_module(module, run_name="__main__", alter_sys=True)
