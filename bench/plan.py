"""The pipeline for millions of clouds, on paper: bytes, shards, workers, hours, cost by step.

    python -m bench.plan [--clouds 10000000] [--workers 10] [--epochs 5] [--gpus 8]

Rates come from bench/out/results.json where `make bench BENCH="components evaluation"` has put
them, else from RATES below, which were measured so. Nothing of this size was run. Prices are
assumptions, see PRICES.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

from bench.results import RESULTS

# Clouds of some 2,600 points: a core's clouds a second, and bytes a cloud. On two cores of an AMD
# EPYC with nothing beside it, all from one run of the command above, on a machine that evaluates
# half as fast as that of README's table. The two of memory are README's.
RATES = {
    "conversion_clouds_per_core_second": 871.0,
    "ingestion_clouds_per_core_second": 514.5,
    "statistics_clouds_per_core_second": 476.5,
    "validation_clouds_per_core_second": 282.0,
    "transform_clouds_per_core_second": 455.9,
    "raw_bytes_per_cloud": 85_650.0,
    "converted_bytes_per_cloud": 27_890.0,
    "transformed_bytes_per_cloud": 23_370.0,
    "evaluate_seconds": 23.3,
    "convert_peak_mib": 224.0,
    "convert_peak_memory_ratio": 1.14,
}
# bench.evaluation: clouds in `evaluate_seconds`, on two cores.
EVALUATED, EVALUATION_CORES = 340, 2
# bench.conversion: the sizes whose memory is compared.
SMALL, LARGE = 2_000, 20_000

# US dollars, list prices of Google Cloud's us-central1 as of 2025, on demand. ASSUMPTIONS: they
# were not looked up on the day; see cloud.google.com/dataflow/pricing, /compute/vm-instance-pricing
# and /storage/pricing before relying on them.
PRICES = {
    "Dataflow batch worker, vCPU an hour": 0.056,
    "Dataflow batch worker, GB of memory an hour": 0.003557,
    "Dataflow shuffle, GB": 0.011,
    "g2-standard-96 (8 L4, 96 vCPUs, 384 GB), an hour": 8.00,
    "Cloud Storage, standard, GB a month": 0.020,
}
_VCPU, _MEMORY, _SHUFFLE, _GPU_MACHINE, _STORAGE = PRICES.values()

# ASSUMPTIONS, too.
VCPUS_PER_WORKER, GB_PER_WORKER = 4, 16  # n2-standard-4
EFFICIENCY = (
    0.7  # of the workers' time: start, stragglers and reading from object storage take some
)
START_HOURS = 0.1  # until a job's workers are there and have imported TensorFlow, paid for as well
GPUS_PER_MACHINE = 8
L4_FLOPS = 121e12  # dense bfloat16, the chip's data sheet
L4_SHARE = 0.15  # of that, by a network that memory traffic limits; not measured
GPU_SCALING = 0.85  # eight replicas against eight times one

SHARD_BYTES = 128e6
TRAIN, TEST = 0.7, 0.2
POINTS, SAMPLE, DRAW = 2_600, 2_048, 1_024
TRAINING_FLOP = 3 * 3.754e9 * DRAW / 1_024  # a cloud, forward and backward, the example's widths
HELD_PER_CLOUD = SAMPLE * (3 * 4 + 4) + 4  # in the Trainer: points, labels, category
EXAMPLE_BYTES = POINTS * (3 * 4 + 1) + 100  # a tf.Example, not compressed, as shuffles see it
GB, TB, GIB = 1e9, 1e12, 2**30


@dataclass(frozen=True)
class Step:
    """One row.

    Attributes:
      name: what is done.
      clouds: how many go through it.
      rate: clouds a second of one core.
      read, written, shuffled: bytes.
    """

    name: str
    clouds: float
    rate: float
    read: float
    written: float
    shuffled: float

    @property
    def core_hours(self) -> float:
        return self.clouds / self.rate / 3600


def rates() -> dict[str, float]:
    """The measured ones, where there are any."""
    measured = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {name: measured.get(name, {}).get("value") or value for name, value in RATES.items()}


def beam_steps(clouds: float, rate: dict[str, float]) -> list[Step]:
    """Every step whose work is Beam's."""
    raw, converted = (clouds * rate[f"{kind}_bytes_per_cloud"] for kind in ("raw", "converted"))
    transformed = (1 - TEST) * clouds * rate["transformed_bytes_per_cloud"]
    evaluation = EVALUATED / rate["evaluate_seconds"] / EVALUATION_CORES

    def of(step: str) -> float:
        return rate[f"{step}_clouds_per_core_second"]

    return [
        Step("conversion", clouds, of("conversion"), raw, converted, 0),
        # TFX's ingestion deals the records anew; CloudValidator shuffles some 300 bytes a cloud.
        Step("ingestion", clouds, of("ingestion"), converted, converted, clouds * EXAMPLE_BYTES),
        Step("statistics", clouds, of("statistics"), converted, 0, 0),
        Step("validation", clouds, of("validation"), 2 * converted, converted, clouds * 300),
        Step("Transform", (1 - TEST) * clouds, of("transform"), converted, transformed, 0),
        Step("evaluation", TEST * clouds, evaluation, TEST * converted, 0, 0),
    ]


def main() -> None:
    """Prints the plan as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--clouds", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--gpus", type=int, default=GPUS_PER_MACHINE)
    asked = parser.parse_args()
    rate = rates()
    measured = RESULTS.exists()
    print(f"Rates: {RESULTS.name if measured else 'RATES in bench/plan.py'}.")
    vcpus = asked.workers * VCPUS_PER_WORKER
    print(
        f"{asked.clouds:,} clouds of {POINTS:,} points; {asked.workers} workers of "
        f"{VCPUS_PER_WORKER} vCPUs, {asked.gpus} GPUs, {asked.epochs} epochs.\n"
    )
    print("| step | reads | writes | shards | clouds/s a core | core hours | hours | cost |")
    print("|---|---|---|---|---|---|---|---|")
    total_hours = total_cost = 0.0
    steps = beam_steps(asked.clouds, rate)
    for step in steps[:-1]:
        hours, cost = beam_cost(step, vcpus)
        total_hours, total_cost = total_hours + hours, total_cost + cost
        print(row(step, hours, cost))
    hours, cost, speed = training(asked.clouds, asked.epochs, asked.gpus)
    total_hours, total_cost = total_hours + hours, total_cost + cost
    print(
        f"| training | {size(TRAIN * asked.clouds * rate['transformed_bytes_per_cloud'])} | - | - "
        f"| {speed:,.0f} a GPU (assumed) | - | {hours:.1f} | ${cost:,.0f} |"
    )
    hours, cost = beam_cost(steps[-1], vcpus)
    total_hours, total_cost = total_hours + hours, total_cost + cost
    print(row(steps[-1], hours, cost))
    kept = sum(step.written for step in steps)
    storage = kept / GB * _STORAGE
    print(f"| storage, a month | - | {size(kept)} kept | - | - | - | - | ${storage:,.0f} |")
    print(f"| all | | | | | | {total_hours:.1f} | ${total_cost + storage:,.0f} |\n")
    if (million := asked.clouds / 1e6) >= 1:  # below, the jobs' fixed start would be most of it
        print(f"Cost of a million clouds: ${(total_cost + storage) / million:,.2f}.\n")
    print_memory(asked.clouds, rate)


def beam_cost(step: Step, vcpus: int) -> tuple[float, float]:
    """Hours on the workers, and dollars."""
    hours = START_HOURS + step.core_hours / vcpus / EFFICIENCY
    worker = VCPUS_PER_WORKER * _VCPU + GB_PER_WORKER * _MEMORY
    return hours, hours * vcpus / VCPUS_PER_WORKER * worker + step.shuffled / GB * _SHUFFLE


def training(clouds: int, epochs: int, gpus: int) -> tuple[float, float, float]:
    """Hours, dollars, and clouds a second of one GPU."""
    speed = L4_FLOPS * L4_SHARE / TRAINING_FLOP
    together = speed * (gpus * GPU_SCALING if gpus > 1 else 1)
    hours = TRAIN * clouds * epochs / together / 3600
    return hours, hours * _GPU_MACHINE * -(-gpus // GPUS_PER_MACHINE), speed


def row(step: Step, hours: float, cost: float) -> str:
    """A step's line of the table."""
    written = size(step.written) if step.written else "-"
    shards = f"{-(-step.written // SHARD_BYTES):,.0f}" if step.written else "-"
    return (
        f"| {step.name} | {size(step.read)} | {written} | {shards} | {step.rate:,.0f} "
        f"| {step.core_hours:,.1f} | {hours:.2f} | ${cost:,.2f} |"
    )


def print_memory(clouds: int, rate: dict[str, float]) -> None:
    """What a single process must hold, which no number of workers makes less."""
    growth = rate["convert_peak_mib"] * (rate["convert_peak_memory_ratio"] - 1) / (LARGE - SMALL)
    listed = (rate["convert_peak_mib"] + growth * (clouds - SMALL)) / 1024
    held = 2 * TRAIN * HELD_PER_CLOUD
    print("| what one process holds | a cloud | memory for all | clouds that 64 GiB allow |")
    print("|---|---|---|---|")
    print(
        f"| Trainer: the training split, twice while it is read | {held / 1024:,.0f} KiB "
        f"| {held * clouds / GIB:,.0f} GiB | {64 * GIB / held:,.0f} |"
    )
    print(
        f"| conversion: the list of shapes | {growth * 1024:,.1f} KiB | {listed:,.0f} GiB "
        f"| {64 * 1024 / growth:,.0f} |"
    )


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / TB:,.2f} TB" if count >= TB else f"{count / GB:,.0f} GB"


if __name__ == "__main__":
    main()
