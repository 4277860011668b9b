"""Load and abuse of the serving clients and of what a server answers, on this machine's loopback.

    python -m bench.serving_load [--requests 10000] [--clients 16] [--malformed 5000]

The server is the tests' double of TensorFlow Serving in a process of its own, batching on with
padding; the clients are `serving/`'s, three of four by gRPC, the others by REST, in threads of this
process. What is measured is that everything is answered rightly, not the model's speed: the network
is narrow. In mid-load the next version is put into the folder; an answer counts as wrong unless it
is, cloud by cloud, that of one of the versions, and of the new one where the old is gone. Malformed
requests of every kind (tests/serving/malformed.py) take turns. The program ends with 1 where a
request was not answered, wrongly answered, or not told what was wrong with it, or where the
server's memory grew by more than MOST_GROWTH_MIB after the first tenth of the malformed ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from bench.results import Measurement, record
from model.network import build_network
from model.settings import NetworkSettings, ServingSettings
from model.signatures import export
from schema.categories import Category
from serving.exported_model import ExportedModel
from serving.grpc_client import GrpcClient
from serving.rest_client import RestClient
from tests.serving.load import LoadResult, run_load
from tests.serving.loopback.batching import BatchingSettings
from tests.serving.malformed import LIMIT, all_malformed

ROOT = Path(__file__).parents[1]
NETWORK = NetworkSettings(
    local_widths=(16, 32),
    global_widths=(32, 64),
    transform_widths=(16, 32),
    transform_dense_widths=(16,),
    head_widths=(32,),
)
CATEGORIES = (Category("Mug", "1", ("handle", "body")), Category("Rocket", "2", ("body", "fin")))
BATCHING = BatchingSettings(32, 2000, 2, 100, pad_variable_length_inputs=True)
SIZES = (1, 2, 10, 50, 100, 200, 400)
# What the process may grow by between a tenth of the malformed requests and their end.
MOST_GROWTH_MIB = 32
_MOST_SECONDS = 120


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--malformed", type=int, default=5_000)
    arguments = parser.parse_args()
    os.environ["no_proxy"] = "127.0.0.1"
    with tempfile.TemporaryDirectory() as name:
        found = measure_load(Path(name), arguments.requests, arguments.clients)
    command = f"python -m bench.serving_load --requests {arguments.requests}"
    command += f" --clients {arguments.clients} --malformed {arguments.malformed}"
    what = f"{arguments.clients} clients on loopback, the double, a version switched in mid-load"
    answered, failed = len(found.seconds), len(found.failures)
    rows = [
        ("serving_load_requests", answered + failed, "requests", what),
        ("serving_load_unanswered", failed, "requests", what),
        ("serving_load_wrong", found.wrong, "requests", "known answers of both versions"),
        ("serving_load_old_version", found.versions.get(0, 0), "requests", "before the switch"),
        ("serving_load_new_version", found.versions.get(1, 0), "requests", "after it"),
        ("serving_load_p50_ms", found.percentile(50) * 1000, "ms", what),
        ("serving_load_p99_ms", found.percentile(99) * 1000, "ms", what),
        ("serving_load_rate", answered / found.wall_seconds, "requests a second", what),
    ]
    with tempfile.TemporaryDirectory() as name:
        abuse = measure_abuse(Path(name), arguments.malformed)
    growth = f"after a tenth of the malformed requests; at most {MOST_GROWTH_MIB}"
    rows += [
        ("serving_malformed_requests", abuse["requests"], "requests", "kinds take turns"),
        ("serving_malformed_kinds", abuse["kinds"], "kinds", "tests/serving/malformed.py"),
        ("serving_malformed_unexplained", abuse["unexplained"], "requests", "expected words"),
        ("serving_malformed_growth_mib", abuse["growth_mib"], "MiB", growth),
    ]
    record([Measurement(*row, command) for row in rows])
    for failure in found.failures[:5]:
        print(f"unanswered: {failure}")
    if failed or found.wrong or len(found.versions) < 2:
        sys.exit("bench.serving_load: a request was not answered, or not rightly")
    if abuse["unexplained"] or not abuse["alive"] or abuse["growth_mib"] > MOST_GROWTH_MIB:
        sys.exit("bench.serving_load: malformed requests were not taken as they should be")


def measure_load(folder: Path, requests: int, clients: int) -> LoadResult:
    """Many clients while the version changes."""
    versions = [folder / "base" / "1", folder / "2"]
    for seed, version in enumerate(versions):
        export_random(version, CATEGORIES[:1], seed)
    rng = np.random.default_rng(2)
    clouds = [rng.normal(size=(size, 3)).astype(np.float32) for size in SIZES]
    known = [ExportedModel(version).segment(clouds, None) for version in versions]
    with server(folder / "base", folder) as (where, _):
        asking = [
            GrpcClient(where["grpc"], where["name"])
            if number % 4
            else RestClient(where["rest"], where["name"])
            for number in range(clients)
        ]

        def switch() -> None:
            versions[1].rename(folder / "base" / "2")
            wait_for_only(where, 2)

        return run_load(asking, requests, clouds, known, switch)


def measure_abuse(folder: Path, requests: int) -> dict[str, float]:
    """Malformed requests one after the other, and what they leave behind."""
    export_random(folder / "base" / "1", CATEGORIES, 0, ServingSettings(most_points=LIMIT))
    points = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32)
    expected = ExportedModel(folder / "base" / "1").segment([points], 1)[0][0]
    with server(folder / "base", folder) as (where, process):
        kinds = all_malformed(where["grpc"], where["rest"], where["name"])
        unexplained, early = 0, 0.0
        turns = itertools.islice(itertools.cycle(kinds.values()), requests)
        for number, (call, pattern) in enumerate(turns):
            if number == requests // 10:
                early = resident_mib(process)
            said = call()
            unexplained += said is None or not re.search(pattern, said, re.DOTALL)
        late = resident_mib(process)
        part = GrpcClient(where["grpc"], where["name"]).segment([points], 1)[0][0]
        alive = process.poll() is None and np.array_equal(part, expected)
    return {
        "requests": requests,
        "kinds": len(kinds),
        "unexplained": unexplained,
        "growth_mib": late - early,
        "alive": alive,
    }


def export_random(
    folder: Path,
    categories: tuple[Category, ...],
    seed: int,
    settings: ServingSettings | None = None,
) -> None:
    """Exports a network with random weights, of which each seed answers differently."""
    classes = sum(len(category.parts) for category in categories)
    network = build_network(NETWORK, classes, len(categories))
    rng = np.random.default_rng(seed)
    for weight in network.trainable_weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    export(network, categories, str(folder), settings)


@contextmanager
def server(base: Path, folder: Path) -> Iterator[tuple[dict[str, str], subprocess.Popen]]:
    """The double in a process of its own: where it is, and the process."""
    batching = folder / "batching_parameters.txt"
    batching.write_text(BATCHING.to_text())
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.serving.loopback_server", str(base)),
            *("--batching", str(batching), "--poll-seconds", "0.2"),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin and process.stdout
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit("bench.serving_load: the server did not start")
        yield json.loads(line), process
    finally:
        # The end of its input is its end; should this process be killed, that comes by itself.
        process.stdin.close()
        try:
            process.wait(_MOST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_only(where: dict[str, str], version: int) -> None:
    """Returns when a version is available and all others are gone."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = where["name"]
    states = get_model_status_pb2.ModelVersionStatus
    until = time.monotonic() + _MOST_SECONDS
    with grpc.insecure_channel(where["grpc"]) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        while time.monotonic() < until:
            found = {v.version: v.state for v in stub.GetModelStatus(request).model_version_status}
            if found.pop(version, None) == states.AVAILABLE and set(found.values()) == {states.END}:
                return
            time.sleep(0.05)
    raise TimeoutError(f"version {version} was not switched to")


def resident_mib(process: subprocess.Popen) -> float:
    """A process's resident memory now."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return float(next(x for x in lines if x.startswith("VmRSS")).split()[1]) / 1024


if __name__ == "__main__":
    main()
