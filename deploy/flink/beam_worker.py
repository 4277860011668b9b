#!/usr/bin/env python
"""Starts a Python worker of Beam on a TaskManager: the command of `environment_type: PROCESS`.

    environment_config: '{"command": ".../beam_worker.py", "env": {"PATH": ..., "PYTHONPATH": ...}}'

The `python` on PATH must have the same locked stack as the program that starts the job, and
PYTHONPATH this project's folder. Flink calls it with the worker's id and the address of the
provision service, which knows the rest. It does what Beam's `boot` does in a container, except that
it installs nothing.
"""

import argparse
import os
import sys

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, text_format


def main() -> None:
    """Asks what to do, and does it until Flink closes the connection."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    asked, _ = parser.parse_known_args()
    with grpc.insecure_channel(asked.provision_endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        answer = service.GetProvisionInfo(request, metadata=[("worker_id", asked.id)], timeout=60)
    info = answer.info
    os.environ |= {
        "WORKER_ID": asked.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    sdk_worker_main.main(sys.argv[:1])


if __name__ == "__main__":
    main()
