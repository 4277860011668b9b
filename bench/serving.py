"""Serving: the exported signature's speed and memory, and what the client adds to the model's time.

    python -m bench.serving [--batch 32] [--points 1024] [--repeats 9] [--clouds 24]

The network has the published example's widths and random weights, and is asked through the
exported SavedModel. `serving_speedup` holds `serving_default` (checks, normalisation, network,
softmax, part) against what the example does with the same clouds and weights: `model.predict` of
its formulation, softmax inside, on the batch that was normalised beforehand; calls of the two
alternate. The exponent is the slope of log time over log N of single requests of 1,000 to 100,000
points, the peak that of the whole of a fresh process that answers 100,000. The client's share is
that of `pointnet-parts segment` on clouds of 2,600 points with its usual formats, PLY and CSV: all
of its time but the model's, as a ratio to the model's; the clouds come as .pts, the text of the
published data.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.results import Measurement, record

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
LARGEST = SIZES[-1]
CLIENT_POINTS = 2_600
FORMATS = ("ply", "csv")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--clouds", type=int, default=24)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        print(peak_mib(arguments.peak_of))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model" / "1"
        seconds = compare(model, arguments.batch, arguments.points, arguments.repeats)
        slope, of_sizes = exponent(model)
        peak = peak_in_a_process(model)
        share, clients, models = client_share(model, folder, arguments.clouds)
    command = (
        f"python -m bench.serving --batch {arguments.batch} --points {arguments.points} "
        f"--repeats {arguments.repeats} --clouds {arguments.clouds}"
    )
    what = f"B {arguments.batch}, N {arguments.points}, the example's widths"
    example = f"model.predict of the example's formulation, same weights; {what}"
    grows = f"log time over log N, {SIZES[0]:,} to {LARGEST:,} points in one request"
    whole = f"a fresh process that answers one request of {LARGEST:,} points"
    client = f"{arguments.clouds} clouds of {CLIENT_POINTS:,} points, {' and '.join(FORMATS)}"
    rows: list[tuple[str, float, str, str]] = [
        ("serving_speedup", seconds["example"] / seconds["signature"], "ratio", example),
        ("serving_seconds", seconds["signature"], "s", f"serving_default; {what}"),
        ("example_predict_seconds", seconds["example"], "s", example),
        ("serving_exponent", slope, "exponent", grows),
        ("serving_seconds_100k", of_sizes[LARGEST], "s", f"one request of {LARGEST:,} points"),
        ("serving_peak_mib_100k", peak, "MiB", whole),
        ("client_overhead_share", share, "ratio", f"the model's time; {client}"),
        ("client_seconds_a_cloud", clients, "s", f"without the model; {client}"),
        ("client_model_seconds_a_cloud", models, "s", client),
    ]
    record([Measurement(*row, command) for row in rows])


def compare(model: Path, batch: int, points: int, repeats: int) -> dict[str, float]:
    """Exports the network, and the median seconds of the signature and of the example's predict."""
    import keras
    import tensorflow as tf

    from bench.network import NUM_CLASSES, alternate, copy_weights, example_network, our_network
    from model.signatures import export
    from preprocessing.tensors.normalisation import normalise
    from schema.categories import Category

    network, example = our_network(), example_network(points)
    copy_weights(network, example)
    logits, _ = example.outputs
    # The example's model ends in softmax, and answers nothing else.
    predicting = keras.Model(example.inputs, keras.layers.Activation("softmax")(logits))
    parts = tuple(f"part {number}" for number in range(NUM_CLASSES))
    export(network, (Category("cloud", "0", parts),), str(model))
    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures["serving_default"]
    clouds = np.random.default_rng(0).normal(size=(batch, points, 3)).astype(np.float32) * 5 + 20
    tensor, normalised = tf.constant(clouds), normalise(tf.constant(clouds)).numpy()
    answers = {
        "signature": lambda: signature(points=tensor)["probability"].numpy(),
        "example": lambda: predicting.predict(normalised, batch_size=batch, verbose=0),
    }
    found = {name: call() for name, call in answers.items()}
    if not np.allclose(found["signature"], found["example"], atol=1e-4):
        raise SystemExit("bench.serving: the two formulations differ; copy_weights is wrong")
    return alternate(answers, repeats)


def exponent(model: Path, repeats: int = 5) -> tuple[float, dict[int, float]]:
    """How time grows with N, and the median seconds of each N; sizes alternate."""
    import tensorflow as tf

    from bench.network import alternate

    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures["serving_default"]
    rng = np.random.default_rng(0)
    calls: dict[str, Any] = {}
    for size in SIZES:
        tensor = tf.constant(rng.normal(size=(1, size, 3)).astype(np.float32))
        calls[str(size)] = lambda tensor=tensor: signature(points=tensor)["part"].numpy()
    seconds = {int(size): value for size, value in alternate(calls, repeats).items()}
    slope = np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0]
    return float(slope), seconds


def peak_in_a_process(model: Path) -> float:
    """What `peak_mib` finds, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.serving", "--peak-of", str(model)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    return float(done.stdout.split()[-1])


def peak_mib(model: str) -> float:
    """The largest resident set of this process, which loads the model and answers one request."""
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    cloud = np.random.default_rng(0).normal(size=(1, LARGEST, 3)).astype(np.float32)
    part = loaded.signatures["serving_default"](points=tf.constant(cloud))["part"].numpy()
    assert part.shape == (1, LARGEST) and (part >= 0).all()
    # getrusage would count what the parent had before this process was its own.
    status = Path("/proc/self/status").read_text()
    return float(next(x for x in status.splitlines() if x.startswith("VmHWM")).split()[1]) / 1024


def client_share(
    model: Path, folder: Path, clouds: int, repeats: int = 3
) -> tuple[float, float, float]:
    """The client's time over the model's, and both in seconds a cloud; medians of the runs."""
    from pipeline import cli
    from pipeline.segment import ALL_DONE, load_model, segment_clouds

    defaults = {option.name: option.default for option in cli.segment.params}
    sizes = {name: defaults[name] for name in ("batch_points", "batch_clouds", "mesh_points")}
    scans = folder / "scans"
    scans.mkdir()
    rng = np.random.default_rng(0)
    for number in range(clouds):
        np.savetxt(scans / f"{number}.pts", rng.normal(size=(CLIENT_POINTS, 3)), fmt="%.6f")
    asked = load_model(str(model), "")
    inside = [0.0]
    signature = asked.segmenter._answer

    def timed(**inputs: Any) -> Any:
        start = time.perf_counter()
        outputs = signature(**inputs)
        inside[0] += time.perf_counter() - start
        return outputs

    asked.segmenter._answer = timed
    shares, clients, models = [], [], []
    # The first run does not count.
    for run in range(repeats + 1):
        inside[0] = 0.0
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            output = folder / f"segmented{run}"
            status = segment_clouds([str(scans)], asked, FORMATS, output, **sizes)
        total = time.perf_counter() - start
        if status != ALL_DONE:
            raise SystemExit("bench.serving: the clouds were not segmented")
        if run:
            shares.append((total - inside[0]) / inside[0])
            clients.append((total - inside[0]) / clouds)
            models.append(inside[0] / clouds)
    return statistics.median(shares), statistics.median(clients), statistics.median(models)


if __name__ == "__main__":
    main()
