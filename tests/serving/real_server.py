"""TensorFlow Serving itself, where this machine has it, for the tests that its double runs too."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import pytest
import requests

from deploy.flink.free_ports import free_ports
from serving.docker import docker_answers

PROGRAM = "tensorflow_model_server"
IMAGE = os.environ.get("SERVING_IMAGE", "tensorflow/serving:2.21.0")
_MOST_SECONDS = 180


@dataclass
class RealServer:
    """Where it is.

    Attributes:
      grpc_address: host:port.
      rest_address: host:port.
      name: of the model.
      version: that it serves.
      tolerance: its kernels may differ in the last bits from those of TensorFlow here.
    """

    grpc_address: str
    rest_address: str
    name: str
    version: int
    tolerance: float = 1e-5


@contextmanager
def real_server(base: Path, name: str = "pointnet_parts") -> Iterator[RealServer]:
    """Serves a base folder by the real model server; skips where there is none, and says why."""
    ports = free_ports(2)
    version = max(int(path.name) for path in base.iterdir() if path.name.isdecimal())
    found = RealServer(*(f"127.0.0.1:{port}" for port in ports), name, version)
    command = _command(base, name, *ports)
    with TemporaryFile() as words:
        process = subprocess.Popen(command, stdout=words, stderr=subprocess.STDOUT)
        try:
            if not _comes_up(found, process):
                words.seek(0)
                said = words.read().decode(errors="replace")[-3000:]
                pytest.fail(
                    f"{command[0]} did not make the model available within {_MOST_SECONDS} s; it "
                    f"ended with {process.poll()} (None: not yet), and said:\n{said}"
                )
            yield found
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(base: Path, name: str, grpc_port: int, rest_port: int) -> list[str]:
    if shutil.which(PROGRAM):
        ports = [f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
        return [PROGRAM, *ports, f"--model_name={name}", f"--model_base_path={base}"]
    if not docker_answers():
        pytest.skip(
            f"no {PROGRAM} on PATH and no Docker daemon that answers: only the double is asked"
        )
    pulled = subprocess.run(["docker", "pull", "--quiet", IMAGE], capture_output=True, text=True)
    if pulled.returncode:
        pytest.skip(f"Docker cannot fetch {IMAGE}: {pulled.stderr.strip()[-200:]}")
    return [
        *("docker", "run", "--rm", "--init", "--user", f"{os.getuid()}:{os.getgid()}"),
        *("--publish", f"127.0.0.1:{grpc_port}:8500", "--publish", f"127.0.0.1:{rest_port}:8501"),
        *("--volume", f"{base}:/models/{name}:ro", "--env", f"MODEL_NAME={name}", IMAGE),
    ]


def _comes_up(server: RealServer, process: subprocess.Popen[bytes]) -> bool:
    """Waits until the model is available; whether it is."""
    url = f"http://{server.rest_address}/v1/models/{server.name}"
    until = time.monotonic() + _MOST_SECONDS
    pause = threading.Event()
    session = requests.Session()
    session.trust_env = False
    while time.monotonic() < until and process.poll() is None:
        try:
            status = session.get(url, timeout=5).json()
            if status["model_version_status"][0]["state"] == "AVAILABLE":
                return True
        except (requests.RequestException, ValueError, KeyError):
            pass
        pause.wait(0.2)
    return False
