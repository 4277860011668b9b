"""TensorFlow Serving's batching parameters for this machine, from measured times of `serve_padded`.

    python -m bench.serving_batches [--preset airplane | --model FOLDER] [--write FILE]
        [--points 256 2048 8192] [--batches 1 2 4 8 16 32] [--threads 1 2 4] [--usual 2048]
        [--longest 50000] [--queue-seconds 5] [--rounds 5]

Times one call of the signature for every size of cloud and of batch, and calls from several threads
at once as the server's batch threads make them. Batch sizes alternate within a round, as do numbers
of threads, and medians are taken, so that a machine that slows down slows all of them. `derive`
says how the parameters follow. `--write` puts them into FILE: on a machine with a GPU,
serving/tensorflow_serving/kubernetes/gpu/batching.pbtxt; without one,
serving/tensorflow_serving/config/batching.pbtxt. A preset's network has random weights, which take
the same time. Memory is what one cloud of `--longest` points adds to a fresh process: of the GPU
where there is one, else of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.results import Measurement, machine, record
from serving.batches import MOST_CLOUDS

# The process that measures memory shares the GPU with this one.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# A batch or a number of threads that does this much of the best one's work is good enough.
GOOD_ENOUGH = 0.95
# An idle server may keep a request waiting for company this much of its own time.
WAITING_SHARE = 0.1
# No combination with more padded points is tried: it shows nothing new and fills the memory.
_MOST_POINTS_TRIED = 131_072


@dataclass(frozen=True)
class Parameters:
    """The derived values, by the names of TensorFlow Serving's BatchingParameters."""

    max_batch_size: int
    batch_timeout_micros: int
    max_enqueued_batches: int
    num_batch_threads: int

    def text(self, comment: str) -> str:
        """The file that the server reads; each line of the comment begins with #."""
        values = "".join(f"{name} {{ value: {value} }}\n" for name, value in vars(self).items())
        head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
        # Without it the server puts only clouds of equal size together.
        return f"{head}{values}pad_variable_length_inputs: true\n"


def derive(
    seconds: Mapping[tuple[int, int], float],
    rates: Mapping[int, float],
    usual: int,
    longest: int,
    most_points: int,
    queue_seconds: float,
) -> Parameters:
    """Chooses the parameters.

    max_batch_size: of each size of cloud the smallest batch that reaches GOOD_ENOUGH of the best
    rate; the largest of these; no smaller than the requests of our own client, since a server
    refuses a request of more clouds; but no batch whose padding the model may refuse, which is
    what `most_points` divided by the longest cloud allows: a batch is refused to everybody in it.
    batch_timeout_micros: WAITING_SHARE of one usual cloud's time, so that is the most that an
    idle server adds to an answer; 0 where company saves usual clouds no time.
    num_batch_threads: the smallest number that reaches GOOD_ENOUGH of the best rate.
    max_enqueued_batches: what those threads work off in `queue_seconds`; what comes beyond is
    refused at once, and asked again by the clients.

    Args:
      seconds: of one call, by points of a cloud and clouds of a batch; (usual, 1) is among them.
      rates: usual clouds a second, by the number of threads calling at once.
      usual: points of a usual cloud.
      longest: points of the longest cloud that is sent.
      most_points: the model's limit of clouds times points.
      queue_seconds: how long a request may wait.
    """
    enough = {}
    for points in {points for points, _ in seconds}:
        by_batch = {b: b / s for (n, b), s in seconds.items() if n == points}
        enough[points] = _smallest_good(by_batch)
    batch = max(1, min(max(MOST_CLOUDS, *enough.values()), most_points // longest))
    waiting = WAITING_SHARE * seconds[usual, 1] if enough[usual] > 1 else 0.0
    threads = _smallest_good(rates)
    return Parameters(
        max_batch_size=batch,
        batch_timeout_micros=round(waiting * 1e6),
        max_enqueued_batches=max(threads, int(queue_seconds * rates[threads] / batch)),
        num_batch_threads=threads,
    )


def _smallest_good(rates: Mapping[int, float]) -> int:
    best = max(rates.values())
    return min(choice for choice, rate in rates.items() if rate >= GOOD_ENOUGH * best)


def main() -> None:
    """Measure, derive, print and write; with --alone, measure memory and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="airplane", help="whose network is exported")
    parser.add_argument("--model", default="", help="an exported model instead")
    parser.add_argument("--write", default="", help="the file to put the parameters into")
    parser.add_argument("--points", type=int, nargs="+", default=[256, 2048, 8192])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--usual", type=int, default=2048)
    parser.add_argument("--longest", type=int, default=50_000)
    parser.add_argument("--queue-seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(memory(arguments.model, arguments.longest)))
        return
    arguments.points = sorted({*arguments.points, arguments.usual})
    arguments.batches = sorted({*arguments.batches, 1})
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.model:
            arguments.model = str(Path(folder) / "model")
            export_preset(arguments.preset, arguments.model)
        measure(arguments)


def export_preset(preset: str, folder: str) -> None:
    """Writes the exported model of a preset's network with random weights, for airplanes."""
    from model.network import build_network
    from model.signatures import export
    from pipeline.config import load_config
    from schema.categories import SHAPENET_CATEGORIES

    config = load_config(preset)
    category = SHAPENET_CATEGORIES[0]
    network = build_network(config.network, len(category.parts), 1)
    export(network, (category,), folder, config.serving)


def loaded(folder: str) -> Callable[[int, int], Any]:
    """The signature, called with random clouds: (clouds, points of each) -> its outputs."""
    import tensorflow as tf

    model = tf.saved_model.load(folder)
    signature = model.signatures["serve_padded"]
    rng = np.random.default_rng(0)
    requests: dict[tuple[int, int], dict[str, Any]] = {}

    def answer(clouds: int, points: int) -> Any:
        # The clouds are made once: making them is no part of the server's work.
        if (clouds, points) not in requests:
            requests[clouds, points] = {
                "points": tf.constant(rng.normal(size=(clouds, points, 3)), tf.float32),
                "num_points": tf.constant([points] * clouds, tf.int64),
            }
        outputs = signature(**requests[clouds, points])
        return model, {name: value.numpy() for name, value in outputs.items()}

    return answer


def times(
    answer: Callable[[int, int], Any], points: list[int], batches: list[int], rounds: int
) -> dict[tuple[int, int], float]:
    """Median seconds of a call, by points of a cloud and clouds of a batch."""
    tried = [(n, b) for n in points for b in batches if n * b <= max(_MOST_POINTS_TRIED, n)]
    found: dict[tuple[int, int], list[float]] = {choice: [] for choice in tried}
    for n, b in tried:
        answer(b, n)
    for _ in range(rounds):
        for n, b in tried:
            start = time.perf_counter()
            answer(b, n)
            found[n, b].append(time.perf_counter() - start)
    return {choice: statistics.median(values) for choice, values in found.items()}


def concurrent_rates(
    answer: Callable[[int, int], Any], clouds: int, points: int, threads: list[int], rounds: int
) -> dict[int, float]:
    """Median clouds a second, by the number of threads that call at once."""
    answer(clouds, points)
    # Each number of threads has the same work to do.
    calls = 2 * max(threads)
    found: dict[int, list[float]] = {number: [] for number in threads}
    for _ in range(rounds):
        for number in threads:
            share = calls // number

            def work(share: int = share) -> None:
                for _ in range(share):
                    answer(clouds, points)

            workers = [threading.Thread(target=work) for _ in range(number)]
            start = time.perf_counter()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            elapsed = time.perf_counter() - start
            found[number].append(share * number * clouds / elapsed)
    return {number: statistics.median(values) for number, values in found.items()}


def memory(model: str, longest: int) -> dict[str, float]:
    """Bytes held before one cloud of many points, and at most while it is answered."""
    import tensorflow as tf

    answer = loaded(model)
    answer(1, 256)
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")
        held = tf.config.experimental.get_memory_info("GPU:0")["current"]
        answer(1, longest)
        return {"before": held, "after": tf.config.experimental.get_memory_info("GPU:0")["peak"]}
    # Loading may have needed more than it keeps: only what follows counts as the largest.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    answer(1, longest)
    return {"before": before, "after": _resident("VmHWM")}


def _resident(name: str) -> float:
    """A value of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def measure(arguments: argparse.Namespace) -> None:
    """Everything but the command line."""
    from model.settings import ServingSettings

    most_points = ServingSettings().most_points
    # First, while nothing else has the GPU's memory.
    options = ["--alone", "--model", arguments.model, "--longest", str(arguments.longest)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.serving_batches", *options],
        check=True,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    peak = json.loads(done.stdout.splitlines()[-1])
    answer = loaded(arguments.model)
    seconds = times(answer, arguments.points, arguments.batches, arguments.rounds)
    for points in arguments.points:
        rates = {b: b / s for (n, b), s in seconds.items() if n == points}
        row = "  ".join(f"{b}: {rate / rates[1]:.2f}" for b, rate in rates.items())
        print(f"{points:6} points, {rates[1]:8.1f} clouds/s one by one; by batch {row}")
    usual = arguments.usual
    # As derived so far; the threads are tried with that batch.
    first = derive(seconds, {1: 1.0}, usual, arguments.longest, most_points, 1.0)
    batch = first.max_batch_size
    rates = concurrent_rates(answer, batch, usual, arguments.threads, arguments.rounds)
    lowest = min(rates)
    row = "  ".join(f"{t}: {rate / rates[lowest]:.2f}" for t, rate in rates.items())
    print(f"batches of {batch} x {usual}: {rates[lowest]:.1f} clouds/s; by threads {row}")
    found = derive(seconds, rates, usual, arguments.longest, most_points, arguments.queue_seconds)
    a_point = (peak["after"] - peak["before"]) / arguments.longest
    what = f"preset {arguments.preset}"
    command = "python -m bench.serving_batches"
    comment = (
        f"Written by `{command}` from times of {what}'s network on {machine()}.\n"
        f"Larger batches are not {1 / GOOD_ENOUGH - 1:.0%} faster for clouds of "
        f"{', '.join(map(str, arguments.points))} points,\nor would pass serving.most_points "
        f"({most_points:,}) with one of {arguments.longest:,} points in them.\n"
        "The rules stand in bench/serving_batches.py; see docs/serving.md."
    )
    text = found.text(comment)
    print(text)
    if arguments.write:
        Path(arguments.write).write_text(text, "utf-8")
        print(f"written: {arguments.write}")
    against = f"one cloud a call, {usual} points, {what}"
    alone = seconds[usual, 1]
    largest = max(b for n, b in seconds if n == usual)
    record(
        [
            Measurement(name, value, unit, baseline, command)
            for name, value, unit, baseline in (
                ("serving_batch_speedup", rates[found.num_batch_threads] * alone, "ratio", against),
                (
                    "serving_largest_batch_speedup",
                    largest * alone / seconds[usual, largest],
                    "ratio",
                    f"{against}; batches of {largest}",
                ),
                ("serving_max_batch_size", found.max_batch_size, "clouds", what),
                ("serving_batch_timeout", found.batch_timeout_micros, "us", what),
                ("serving_batch_threads", found.num_batch_threads, "threads", what),
                ("serving_max_enqueued_batches", found.max_enqueued_batches, "batches", what),
                ("serving_bytes_a_point", a_point, "bytes", "added to the memory held; " + what),
                ("serving_base_mib", peak["before"] / 2**20, "MiB", "held, model loaded"),
                (
                    "serving_most_gib",
                    (2 * peak["before"] + found.num_batch_threads * most_points * a_point) / 2**30,
                    "GiB",
                    "two versions loaded, and the largest batch in every thread",
                ),
            )
        ]
    )


if __name__ == "__main__":
    main()
