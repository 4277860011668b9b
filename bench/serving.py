"""Serving: the exported signature's speed and memory, and what the client adds to the model's time.

    python -m bench.serving [--batch 32] [--points 1024] [--repeats 9] [--clouds 24]

The network has the example's widths and random weights and is called through the SavedModel.

serving_speedup: `serving_default` (checks, normalisation, network, softmax, part) against what the
    example does with the same clouds and weights: `model.predict` of its formulation, unfolded,
    softmax inside, on a batch normalised beforehand. Keras's cost of a `predict` call is in it.
serving_exponent: slope of log time over log N of single requests of 1,000 to 100,000 points; the
    peak is that of a fresh process that answers the largest one.
client_overhead_share: all of the time of `pointnet-parts segment` but the model's, as a ratio to
    the model's, on clouds of 2,600 points given as .pts, with its usual formats, PLY and CSV.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.results import alternate, in_process, options, peak_memory, record

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
LARGEST = SIZES[-1]
CLIENT_POINTS = 2_600
FORMATS = ("ply", "csv")


def main() -> None:
    """Measures, prints and records."""
    arguments = options(__doc__, batch=32, points=1024, repeats=9, clouds=24)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model" / "1"
        seconds = compare(model, arguments.batch, arguments.points, arguments.repeats)
        slope, largest = exponent(model)
        peak = in_process(peak_of_largest, str(model))
        share, clients, models = client_share(model, folder, arguments.clouds)
    what = f"B {arguments.batch}, N {arguments.points}, the example's widths"
    example = f"model.predict of the example's formulation, same weights; {what}"
    grows = f"log time over log N, {SIZES[0]:,} to {LARGEST:,} points in one request"
    whole = f"a fresh process that answers one request of {LARGEST:,} points"
    client = f"{arguments.clouds} clouds of {CLIENT_POINTS:,} points, {' and '.join(FORMATS)}"
    record(
        ("serving_speedup", seconds["example"] / seconds["signature"], "ratio", example),
        ("serving_seconds", seconds["signature"], "s", f"serving_default; {what}"),
        ("example_predict_seconds", seconds["example"], "s", example),
        ("serving_exponent", slope, "exponent", grows),
        ("serving_seconds_100k", largest, "s", f"one request of {LARGEST:,} points"),
        ("serving_peak_mib_100k", peak, "MiB", whole),
        ("client_overhead_share", share, "ratio", f"the model's time; {client}"),
        ("client_seconds_a_cloud", clients, "s", f"without the model; {client}"),
        ("client_model_seconds_a_cloud", models, "s", client),
    )


def compare(model: Path, batch: int, points: int, repeats: int) -> dict[str, float]:
    """Exports the network, and the median seconds of the signature and of the example's predict."""
    import keras
    import tensorflow as tf

    from bench.keras_example import copy_weights, example_network
    from bench.network import NUM_CLASSES, settings_of
    from model.export.signatures import export
    from preprocessing.tensors.normalisation import normalise
    from schema.categories import Category

    settings = settings_of("example")
    network, example = settings.build(NUM_CLASSES), example_network(settings, NUM_CLASSES, points)
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
    calls = {
        "signature": lambda: signature(points=tensor)["probability"].numpy(),
        "example": lambda: predicting.predict(normalised, batch_size=batch, verbose=0),
    }
    np.testing.assert_allclose(calls["signature"](), calls["example"](), atol=1e-4)
    return alternate(calls, repeats)


def exponent(model: Path, repeats: int = 5) -> tuple[float, float]:
    """How time grows with N, and the median seconds of the largest N; sizes alternate."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures["serving_default"]
    rng = np.random.default_rng(0)
    calls: dict[str, Any] = {}
    for size in SIZES:
        tensor = tf.constant(rng.normal(size=(1, size, 3)).astype(np.float32))
        calls[str(size)] = lambda tensor=tensor: signature(points=tensor)["part"].numpy()
    seconds = alternate(calls, repeats)
    slope = np.polyfit(np.log(SIZES), np.log([seconds[str(size)] for size in SIZES]), 1)[0]
    return float(slope), seconds[str(LARGEST)]


def peak_of_largest(model: str) -> float:
    """Peak memory in MiB of this process, which loads the model and answers one request."""
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    cloud = np.random.default_rng(0).normal(size=(1, LARGEST, 3)).astype(np.float32)
    part = loaded.signatures["serving_default"](points=tf.constant(cloud))["part"].numpy()
    assert part.shape == (1, LARGEST) and (part >= 0).all()
    return peak_memory()


def client_share(model: Path, folder: Path, clouds: int) -> tuple[float, ...]:
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
    loaded = load_model(str(model), "")
    in_model = 0.0
    signature = loaded.segmenter._answer

    def timed(**inputs: Any) -> Any:
        nonlocal in_model
        start = time.perf_counter()
        outputs = signature(**inputs)
        in_model += time.perf_counter() - start
        return outputs

    loaded.segmenter._answer = timed
    runs = []
    for run in range(4):
        in_model = 0.0
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            output = folder / f"segmented{run}"
            status = segment_clouds([str(scans)], loaded, FORMATS, output, **sizes)
        rest = time.perf_counter() - start - in_model
        if status != ALL_DONE:
            raise SystemExit("bench.serving: the clouds were not segmented")
        runs.append((rest / in_model, rest / clouds, in_model / clouds))
    # The first run does not count.
    return tuple(statistics.median(values) for values in zip(*runs[1:], strict=True))


if __name__ == "__main__":
    main()
