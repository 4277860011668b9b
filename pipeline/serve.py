"""Starts TensorFlow Serving on what a run has pushed: the work of `pointnet-parts serve`.

`tensorflow_model_server` where it is on PATH, and otherwise Docker with our compose file; both with
the same flags, which stand in compose.yaml. What is missing is said in a sentence.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import requests
import yaml

from pipeline.command_line import PROGRAM, program
from pipeline.local_runner import OutputFolder
from schema.errors import UserError
from serving.docker import complaint, docker_complaint
from serving.exported_model import exported_folder
from serving.model_config import (
    MODELS_FILE,
    MODELS_ROOT,
    SHIPPED,
    model_of,
    read_config,
    write_config,
)
from serving.parts_table import PARTS_FILE, read_parts
from serving.versions import GRAPH_FILE

BINARY = "tensorflow_model_server"
COMPOSE_FILE, GPU_FILE = "compose.yaml", "compose.gpu.yaml"
SERVICE = "tensorflow-serving"
METRICS_PATH = "/monitoring/prometheus/metrics"
_HOST = "127.0.0.1"
# An ordinary user, also where root starts the server.
_USER = 1000
_PAUSE = 0.5
_LOG_LINES = 20


@dataclass(frozen=True)
class Start:
    """What to serve, and where.

    Attributes:
      folder: the run's output.
      models: the newest version's folder of each pushed model, by name.
      gpu: whether to use an NVIDIA GPU.
      grpc_port: of this machine.
      rest_port: of this machine.
      wait: seconds until every model has to be available.
    """

    folder: OutputFolder
    models: dict[str, Path]
    gpu: bool
    grpc_port: int
    rest_port: int
    wait: float

    def status_url(self, name: str) -> str:
        """Where the server tells a model's versions."""
        return f"http://{_HOST}:{self.rest_port}/v1/models/{name}"


def serve(out: Path, gpu: bool, grpc_port: int, rest_port: int, wait: float) -> None:
    """Starts a server, waits until it serves, and says how to ask it.

    With Docker it goes on by itself; `tensorflow_model_server` runs until it is interrupted.

    Raises:
      UserError: nothing can be served, or what for is missing.
    """
    folder = OutputFolder(out)
    start = Start(folder, pushed_models(folder), gpu, grpc_port, rest_port, wait)
    if shutil.which(BINARY):
        _serve_by_binary(start)
    else:
        _serve_by_docker(start)


def pushed_models(folder: OutputFolder) -> dict[str, Path]:
    """The newest version's folder of each model that was pushed, by name.

    Raises:
      UserError: there is none.
    """
    found = _pushed_below(folder.models)
    if not found:
        for level, inner in enumerate((folder.root, folder.root.parent)):
            if inner.name == folder.models.name and _pushed_below(inner):
                what = ("the folder of the pushed models", "a pushed model's folder")[level]
                raise UserError(
                    "unavailable",
                    f"{folder.root}: it is {what} itself; give the folder of the run, "
                    f"{inner.parent}, with OUT=... (option --out).",
                )
        raise UserError(
            "unavailable",
            f"{folder.models}: no model was pushed there yet; a run pushes one when it is blessed "
            "(`make run`), or give another folder with OUT=... (option --out).",
        )
    return found


def _pushed_below(models: Path) -> dict[str, Path]:
    """The newest version's folder of each model in a folder of models, by name."""
    found = {}
    for path in sorted(models.glob("*")):
        try:
            version = exported_folder(path)
        except UserError:
            continue
        if version.parent == path and version.name.isdecimal():
            found[path.name] = version
    return found


def write_served_config(start: Start, root: str) -> Path:
    """The folder of the files to serve with; what a person changed in it stays.

    Args:
      start: what to serve.
      root: where the server finds the models' folders.

    Raises:
      UserError: the folder cannot be written, or the model config there cannot be read, or wants
        what is not there.
    """
    folder = start.folder.serving_config
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for shipped in sorted((SHIPPED / "config").glob("*.pbtxt")):
            if shipped.name != MODELS_FILE and not (folder / shipped.name).exists():
                shutil.copyfile(shipped, folder / shipped.name)
    except OSError as error:
        raise UserError(
            "unavailable", f"{folder}: it cannot be written ({error.strerror}); make it writable."
        ) from None
    file = folder / MODELS_FILE
    config = read_config(file)
    for name in start.models:
        model = model_of(config, name)
        model.base_path = f"{root}/{name}"
        for version in model.model_version_policy.specific.versions:
            if not (start.folder.serving(name) / str(version)).is_dir():
                raise UserError(
                    "unavailable",
                    f"{file}: it wants version {version} of {name}, which is not in "
                    f"{start.folder.serving(name)}; a server would wait for it for ever. Say "
                    f"which to serve with `{PROGRAM} labels {start.folder.serving(name)}`.",
                )
    gone = [m.name for m in config.model_config_list.config if m.name not in start.models]
    if gone:
        raise UserError(
            "unavailable",
            f"{file}: it names the model {gone[0]}, of which nothing is pushed in "
            f"{start.folder.models}; remove it from the file, or the file.",
        )
    write_config(config, file)
    return folder


def _serve_by_binary(start: Start) -> None:
    """Runs `tensorflow_model_server` until it ends."""
    _check_ports(start)
    config = write_served_config(start, str(start.folder.models.absolute()))
    compose = yaml.safe_load((SHIPPED / COMPOSE_FILE).read_text("utf-8"))
    flags = [
        flag.replace("=/config/", f"={config.absolute()}/")
        for flag in compose["services"][SERVICE]["command"]
        if not flag.startswith(("--port=", "--rest_api_port="))
    ]
    flags += [f"--port={start.grpc_port}", f"--rest_api_port={start.rest_port}"]
    click.echo(f"Starting {BINARY}, which all machines that reach this one can ask ...", err=True)
    server = subprocess.Popen([BINARY, *flags])
    try:
        _wait(start, lambda: server.poll() is None, f"{BINARY}'s words are above")
        _say(start, "Ctrl-C")
        server.wait()
    except KeyboardInterrupt:
        click.echo("stopping", err=True)
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _serve_by_docker(start: Start) -> None:
    """Starts the compose file's service, which then goes on by itself."""
    why = docker_complaint()
    if why == "docker is not installed":
        raise UserError(
            "unavailable",
            f"neither {BINARY} nor docker is on PATH; install Docker with its compose plugin, or "
            "TensorFlow Serving itself. Without a server, "
            f"`{program()} segment CLOUD --model {start.folder.models}/<name>` loads the model.",
        )
    if why:
        raise UserError(
            "unavailable",
            f"docker is installed, and its daemon does not answer ({why.rstrip('.')}); start it "
            "(`systemctl start docker`), or let this user reach it (group docker).",
        )
    why = complaint("docker", "compose", "version")
    if why:
        raise UserError(
            "unavailable",
            f"docker has no compose plugin ({why.rstrip('.')}); install it "
            "(docker-compose-plugin, version 2 or newer).",
        )
    compose = compose_command(start.gpu)
    environment = {**os.environ, **compose_environment(start)}
    running = _output([*compose, "ps", "--status", "running", "--quiet", SERVICE], environment)
    if not running:
        _check_ports(start)
    _check_readable(start)
    write_served_config(start, MODELS_ROOT)
    click.echo("Starting TensorFlow Serving with Docker ...", err=True)
    done = subprocess.run([*compose, "up", "--detach"], env=environment, check=False)
    if done.returncode:
        raise UserError(
            "unavailable", f"`docker compose up` ended with {done.returncode}; its words are above."
        )

    def alive() -> bool:
        return bool(_output([*compose, "ps", "--quiet", SERVICE], environment))

    try:
        _wait(start, alive, "its last words are above")
    except UserError:
        tail = ["logs", "--no-log-prefix", "--tail", str(_LOG_LINES), SERVICE]
        click.echo(_output([*compose, *tail], environment), err=True)
        raise
    _say(start, "docker compose --project-name pointnet-serving down")


def compose_command(gpu: bool) -> list[str]:
    """`docker compose` with our files."""
    command = ["docker", "compose"]
    for file in (COMPOSE_FILE, *([GPU_FILE] if gpu else [])):
        command += ["--file", str(SHIPPED / file)]
    return command


def compose_environment(start: Start) -> dict[str, str]:
    """What compose.yaml leaves open."""
    user, group = os.getuid(), os.getgid()
    if user == 0:
        user = group = _USER
    return {
        "SERVING_MODELS": str(start.folder.models.absolute()),
        "SERVING_CONFIG": str(start.folder.serving_config.absolute()),
        "SERVING_GRPC_PORT": str(start.grpc_port),
        "SERVING_REST_PORT": str(start.rest_port),
        "SERVING_NAME": next(iter(start.models)),
        "SERVING_USER": f"{user}:{group}",
    }


def _output(command: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if "logs" in command else subprocess.DEVNULL,
    )
    return done.stdout.strip()


def _check_ports(start: Start) -> None:
    """Raises a UserError where somebody else has a port."""
    for port, option in ((start.grpc_port, "--grpc-port"), (start.rest_port, "--rest-port")):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((_HOST, port))
            except OSError as error:
                raise UserError(
                    "unavailable",
                    f"port {port} cannot be had on this machine ({error.strerror}); stop what "
                    f"uses it, or give another with `{PROGRAM} serve {option}`.",
                ) from None


def _check_readable(start: Start) -> None:
    """Raises a UserError where the container's ordinary user cannot read what root wrote."""
    for version in start.models.values():
        file = version / GRAPH_FILE
        if os.getuid() == 0 and not file.stat().st_mode & 0o004:
            raise UserError(
                "unavailable",
                f"{file}: root alone can read it, and the server runs as an ordinary user; let "
                f"others read it (chmod -R a+rX {start.folder.models}).",
            )


def _wait(start: Start, alive: Callable[[], bool], words: str) -> None:
    """Returns when every model has an available version.

    Raises:
      UserError: the server ended, or did not come so far in time.
    """
    session = requests.Session()
    # This machine is never behind a proxy.
    session.trust_env = False
    deadline = time.monotonic() + start.wait
    said = "it did not answer"
    waiting = list(start.models)
    while waiting:
        if not alive():
            raise UserError("unavailable", f"the server ended before it served; {words}.")
        if time.monotonic() > deadline:
            raise UserError(
                "unavailable",
                f"{waiting[0]} is not available after {start.wait:g} s ({said}); {words}. Allow "
                f"more time with `{PROGRAM} serve --wait`.",
            )
        try:
            response = session.get(start.status_url(waiting[0]), timeout=5)
            states = response.json().get("model_version_status", [])
        except (requests.RequestException, ValueError):
            states = []
        if any(state.get("state") == "AVAILABLE" for state in states):
            waiting.pop(0)
            continue
        if states:
            last = states[0]
            said = f"version {last.get('version')}: {last.get('state')}"
            said += f", {(last.get('status') or {}).get('error_message', '')}".rstrip(", ")
        time.sleep(_PAUSE)


def _say(start: Start, stop: str) -> None:
    """Prints where the server is and how to ask it."""
    for name, version in start.models.items():
        parts = version / "assets" / PARTS_FILE
        options = "" if name == "pointnet_parts" else f" --name {name}"
        options += f" --parts {parts}"
        categories = read_parts(parts)
        if len(categories) > 1:
            options += f" --category {categories[0].name}"
        asking = f"{program()} segment CLOUD --server localhost:"
        click.echo(f"{name}: newest version {version.name}, {start.status_url(name)}")
        click.echo(f"ask      {asking}{start.grpc_port}{options}")
        click.echo(f"         {asking}{start.rest_port} --rest{options}")
    click.echo(f"metrics  http://{_HOST}:{start.rest_port}{METRICS_PATH}")
    click.echo(f"config   {start.folder.serving_config} (see docs/serving.md)")
    click.echo(f"stop     {stop}")
