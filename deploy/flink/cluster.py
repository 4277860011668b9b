"""Apache Flink on this machine: a JobManager, TaskManagers and Beam's job server, on loopback.

    python -m deploy.flink.cluster

starts them, prints the config that sends the pipeline's Beam work there, and stops them when it is
interrupted. The tests use it, and whoever wants to try a config for Flink; it is not a deployment.
Each is a process of its own with a log file. Flink's jars come from PyPI's apache-flink-libraries
(requirements.txt here, hash-locked) into .cache.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.flink.free_ports import free_ports
from deploy.flink.job_server import CACHE, HERE, CannotBuild, job_server_jar
from requirements import environment

ROOT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
START_SECONDS = 600

# Beside Flink's own memory, see flink-conf.yaml: heap, and direct memory for network and gRPC.
MEMORY = {JOB_MANAGER: ("512m", "256m"), TASK_MANAGER: ("512m", "1024m")}


class ClusterProblem(RuntimeError):
    """Why the cluster does not run; the message says what to do."""


def flink_libraries() -> Path:
    """The folder with Flink's jars; fetched where it is not there yet (237 MB)."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    folder = CACHE / f"libraries-{digest}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Where it is killed, the next one begins anew beside it.
        unfinished = Path(tempfile.mkdtemp(dir=CACHE))
        with environment.only_one(environment.CACHE / "environment.lock") as held:
            uv = environment.ensure_uv(os.environ, held)
            command = [uv, "pip", "install", "--python", sys.executable, "--target", unfinished]
            # The package has no wheel; it is built with this environment's locked setuptools.
            options = ["--no-deps", "--no-build-isolation", "--require-hashes", "-r", REQUIREMENTS]
            environment.call(
                [*command, *options],
                environment.uv_environment(os.environ),
                held,
                "Flink's jars could not be fetched (the reason stands above)",
            )
        try:
            unfinished.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    return folder / "pyflink" / "lib"


def opened_packages(jar: Path) -> list[str]:
    """The packages of Java's own that the job server's manifest opens: java.base/java.lang, ..."""
    with zipfile.ZipFile(jar) as archive:
        manifest = archive.read("META-INF/MANIFEST.MF").decode()
    # A line of more than 72 bytes goes on after a line break and a blank.
    for line in manifest.replace("\r\n ", "").splitlines():
        if line.startswith("Add-Opens: "):
            return line.split()[1:]
    return []


# Loaded here: between fork and exec nothing may wait for a lock that another thread holds.
_LIBC = ctypes.CDLL(None)


def _dies_with_us() -> None:
    """Linux kills the process should this one be killed; prctl(PR_SET_PDEATHSIG, SIGKILL)."""
    _LIBC.prctl(1, signal.SIGKILL)


class FlinkCluster:
    """A cluster that runs while the context is open.

    Attributes:
      folder: holds a log file of each process.
      rest: host:port of the JobManager's REST interface.
      job_endpoint: host:port of the job server.
    """

    def __init__(self, folder: Path, task_managers: int = 2) -> None:
        self.folder = folder
        rest, jobs, self._rpc_port = free_ports(3)
        self.rest = f"127.0.0.1:{rest}"
        self.job_endpoint = f"127.0.0.1:{jobs}"
        self._wanted = task_managers
        self._jar = job_server_jar()
        self._libraries = flink_libraries()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> FlinkCluster:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            host, port = self.rest.split(":")
            self._flink(JOB_MANAGER, "job_manager", {"rest.port": port, "rest.address": host})
            for _ in range(self._wanted):
                self.start_task_manager()
            self._start_job_server()
            self.wait_until(
                lambda: len(self.task_managers()) == self._wanted, "all TaskManagers are registered"
            )
            self.wait_until(self._job_server_answers, "the job server answers")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def start_task_manager(self) -> str:
        """Starts one more; returns its name, which is also that of its log file."""
        number = 1 + sum(name.startswith("task_manager") for name in self._processes)
        name = f"task_manager_{number}"
        settings = {"taskmanager.resource-id": name, "taskmanager.host": "127.0.0.1"}
        self._flink(TASK_MANAGER, name, settings)
        return name

    def kill_task_manager(self, name: str) -> None:
        """Kills one with SIGKILL: as a machine that is lost, its workers go with it."""
        self._kill(self._processes[name])

    def beam(self, parallelism: int = 2) -> dict[str, Any]:
        """The config's section `beam` for this cluster."""
        # The environment's own python, as it was called: a resolved link would leave it.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        worker = {
            "command": str(HERE / "beam_worker.py"),
            "env": {"PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        }
        return {
            "runner": "flink",
            # From one stage to the next, and shorter than flink-conf.yaml's restart delay.
            "args": ["--environment_cache_millis=2000"],
            "flink": {
                "job_endpoint": self.job_endpoint,
                "parallelism": parallelism,
                "environment_type": "PROCESS",
                "environment_config": json.dumps(worker),
            },
        }

    def ask(self, path: str) -> Any:
        """What the JobManager's REST interface answers, e.g. to /jobs/overview."""
        with urllib.request.urlopen(f"http://{self.rest}{path}", timeout=10) as answer:
            return json.load(answer)

    def task_managers(self) -> list[str]:
        """The ids of the TaskManagers that the JobManager knows."""
        with contextlib.suppress(OSError):
            return [known["id"] for known in self.ask("/taskmanagers")["taskmanagers"]]
        return []

    def log(self, name: str) -> str:
        """What a process has printed: job_manager, task_manager_1, ..., job_server."""
        return (self.folder / f"{name}.log").read_text("utf-8", errors="replace")

    def wait_until(
        self, there: Callable[[], bool], what: str, seconds: float = START_SECONDS
    ) -> None:
        """Waits for something that the cluster is to do.

        Raises:
          ClusterProblem: a process has ended, or it takes too long.
        """
        end = time.monotonic() + seconds
        while not there():
            for name, process in self._processes.items():
                if process.poll() not in (None, -signal.SIGKILL):
                    raise ClusterProblem(
                        f"{name} ended with {process.returncode}:\n{self.log(name)[-3000:]}"
                    )
            if time.monotonic() > end:
                raise ClusterProblem(
                    f"after {seconds} s it is not so that {what}; see {self.folder}"
                )
            time.sleep(0.1)

    def _job_server_answers(self) -> bool:
        host, port = self.job_endpoint.split(":")
        with socket.socket() as client:
            return client.connect_ex((host, int(port))) == 0

    def _flink(self, entry_point: str, name: str, settings: Mapping[str, str]) -> None:
        configuration = self.folder / "conf"
        if not configuration.exists():
            configuration.mkdir()
            shutil.copy(HERE / "flink-conf.yaml", configuration)
        temporary = self.folder / "tmp" / name
        temporary.mkdir(parents=True)
        settings = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.rpc.port": str(self._rpc_port),
            "taskmanager.bind-host": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "io.tmp.dirs": str(temporary),
            **settings,
        }
        heap, direct = MEMORY[entry_point]
        classes = [*sorted(map(str, self._libraries.glob("*.jar"))), str(self._jar)]
        self._start(
            name,
            [
                "java",
                f"-Xmx{heap}",
                f"-XX:MaxDirectMemorySize={direct}",
                "-XX:MaxMetaspaceSize=256m",
                "-XX:+UseSerialGC",
                f"-Djava.io.tmpdir={temporary}",
                f"-Dlog4j.configurationFile={HERE / 'log4j.properties'}",
                *(f"--add-opens={name}=ALL-UNNAMED" for name in opened_packages(self._jar)),
                "-cp",
                os.pathsep.join(classes),
                entry_point,
                "--configDir",
                str(configuration),
                *(word for key, value in settings.items() for word in ("-D", f"{key}={value}")),
            ],
        )

    def _start_job_server(self) -> None:
        temporary = self.folder / "tmp" / "job_server"
        temporary.mkdir(parents=True)
        port = self.job_endpoint.split(":")[1]
        self._start(
            "job_server",
            [
                "java",
                "-Xmx512m",
                "-XX:+UseSerialGC",
                f"-Djava.io.tmpdir={temporary}",
                "-jar",
                str(self._jar),
                f"--flink-master={self.rest}",
                "--job-host=127.0.0.1",
                f"--job-port={port}",
                "--artifact-port=0",
                "--expansion-port=0",
                f"--artifacts-dir={temporary}",
            ],
        )

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            # A group of its own, which the Python workers that it starts belong to.
            self._processes[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_dies_with_us,
            )

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _stop(self) -> None:
        for process in reversed(self._processes.values()):
            self._kill(process)
        # Up to a gigabyte of the jobs' jars; the logs stay.
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)


@contextlib.contextmanager
def _until_terminated() -> Iterator[None]:
    """Ends quietly on Ctrl-C, and on SIGTERM as on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        yield


def main() -> int:
    """Starts a cluster and waits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--task-managers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for the logs; default: a new one")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="flink-"))
    try:
        with _until_terminated(), FlinkCluster(folder.absolute(), asked.task_managers) as cluster:
            print(f"Flink runs: http://{cluster.rest}, logs in {folder}. Ctrl-C stops it.\n")
            print(json.dumps({"beam": cluster.beam()}, indent=1), flush=True)
            signal.pause()
    except (CannotBuild, ClusterProblem, environment.EnvironmentProblem) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
