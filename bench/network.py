"""The published example's formulation and ours, side by side in one process.

    python -m bench.network [--batch 32 64] [--points 1024 2048] [--repeats 5]

Both networks have the example's widths, biases, losses (cross-entropy, and orthogonality per cloud)
and optimizer, and the same weights, so that only the formulation differs. The example's is built
from Keras's own layers: convolution, batch norm and ReLU one after the other, the global feature
tiled and joined. What is timed is one compiled call, without XLA on TensorFlow (on a CPU it is
slower for both) and with it on JAX: training is forward, backward and update; inference takes the
folded network. Calls of the two alternate, and medians are reported. Peak memory is what two
training steps add to the largest resident set of a fresh process. Runs on JAX with
KERAS_BACKEND=jax.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bench.results import Measurement, record
from model.folding import fold_batch_norm
from model.loss import cross_entropy, orthogonality
from model.network import PointNet
from model.settings import NetworkSettings, TrainingSettings

NUM_CLASSES = 5
SETTINGS = NetworkSettings(bias_before_batch_norm=True, dropout=0.0)
FORMULATIONS = ("example", "ours")
ORTHOGONALITY = TrainingSettings().orthogonality
_EXAMPLE = "the example's formulation in float32, same widths, weights and losses"
# Name, unit and what it is measured against.
FIGURES = (
    ("train_step_speedup", "ratio", _EXAMPLE),
    ("train_step_speedup_bfloat16", "ratio", _EXAMPLE),
    ("inference_speedup", "ratio", f"{_EXAMPLE}; ours with batch norm folded, as exported"),
    ("inference_speedup_bfloat16", "ratio", f"{_EXAMPLE}; ours folded"),
    ("train_peak_memory_ratio", "ratio", f"{_EXAMPLE}: what two steps add to a process"),
    ("train_step_seconds", "s", "ours"),
    ("example_train_step_seconds", "s", _EXAMPLE),
    ("inference_seconds", "s", "ours, folded"),
    ("example_inference_seconds", "s", _EXAMPLE),
    ("train_peak_mib", "MiB", "ours"),
    ("example_train_peak_mib", "MiB", _EXAMPLE),
    ("step_gflop", "GFLOP a cloud", "ours, counted"),
    ("example_step_gflop", "GFLOP a cloud", "the example's formulation, counted"),
    ("forward_gflop", "GFLOP a cloud", "ours, counted"),
    ("example_forward_gflop", "GFLOP a cloud", "the example's formulation, counted"),
)


def example_network(num_points: int) -> keras.Model:
    """The example's formulation in Keras's layers: points [B, N, 3] -> (logits, transform)."""

    def block(tensor: Any, width: int) -> Any:
        tensor = (
            layers.Conv1D(width, 1)(tensor) if tensor.ndim == 3 else layers.Dense(width)(tensor)
        )
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(tensor))

    def transformed(tensor: Any) -> tuple[Any, Any]:
        size = tensor.shape[-1]
        hidden = tensor
        for width in SETTINGS.transform_widths:
            hidden = block(hidden, width)
        hidden = layers.GlobalMaxPooling1D()(hidden)
        for width in SETTINGS.transform_dense_widths:
            hidden = block(hidden, width)
        identity = keras.initializers.Constant(np.eye(size).ravel())
        matrix = layers.Dense(size**2, kernel_initializer="zeros", bias_initializer=identity)(
            hidden
        )
        matrix = layers.Reshape((size, size))(matrix)
        return layers.Dot(axes=(2, 1))([tensor, matrix]), matrix

    points = keras.Input((num_points, 3))
    features, _ = transformed(points)
    joined = []
    for width in SETTINGS.local_widths:
        features = block(features, width)
        joined.append(features)
    features, matrix = transformed(features)
    joined.append(features)
    features = block(features, SETTINGS.global_widths[0])
    joined.append(features)
    overall = layers.MaxPooling1D(num_points)(block(features, SETTINGS.global_widths[1]))
    joined.append(ops.tile(overall, (1, num_points, 1)))
    features = block(layers.Concatenate()(joined), SETTINGS.head_widths[0])
    return keras.Model(points, [layers.Conv1D(NUM_CLASSES, 1)(features), matrix])


def our_network() -> PointNet:
    """Ours at the example's widths."""
    return PointNet(SETTINGS, NUM_CLASSES)


def copy_weights(network: PointNet, example: keras.Model) -> None:
    """Give the example's layers, which stand in the same order, our network's weights."""
    ours: list[tuple[Any, ...]] = []

    def blocks(chain: Any) -> None:
        for layer in chain:
            ours.append((layer.kernel, layer.bias))
            ours.append((layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance))

    def net(transform: Any) -> None:
        blocks((*transform.pointwise, transform.pooled, *transform.dense))
        ours.append((transform.kernel, transform.bias))

    net(network.input_transform)
    blocks(network.local_layers)
    net(network.feature_transform)
    blocks((*network.global_layers, network.pooled_layer, network.split_layer))
    ours.append((network.logits_kernel, network.logits_bias))
    theirs = [layer for layer in example.layers if layer.weights]
    for weights, layer in zip(ours, theirs, strict=True):
        for weight, target in zip(weights, layer.weights, strict=True):
            target.assign(ops.reshape(weight, target.shape))


def check_equal(networks: dict[str, keras.Model], points: np.ndarray) -> None:
    """Stops unless both answer the same; anything else would compare different functions."""
    answers = {name: network(points[:2], training=False) for name, network in networks.items()}
    logits = {
        name: np.asarray(a[0] if isinstance(a, list | tuple) else a) for name, a in answers.items()
    }
    if not np.allclose(logits["ours"], logits["example"], atol=1e-4):
        raise SystemExit("bench.network: the two formulations differ; copy_weights is wrong")


def make_network(formulation: str, num_points: int) -> keras.Model:
    """Either formulation, newly made."""
    return example_network(num_points) if formulation == "example" else our_network()


def training_step(
    network: keras.Model, points: np.ndarray, labels: np.ndarray
) -> Callable[[], Any]:
    """A compiled forward, backward and update; each call returns when the loss is known."""
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)
    options = {"return_transforms": True} if isinstance(network, PointNet) else {}

    def loss_of(points: Any, labels: Any) -> Any:
        logits, matrix = network(points, training=True, **options)
        matrix = matrix["feature"] if isinstance(matrix, dict) else matrix
        return cross_entropy(labels, logits) + orthogonality(matrix, ORTHOGONALITY)

    if keras.backend.backend() == "tensorflow":
        return _tensorflow_step(network, optimizer, loss_of, points, labels)
    return _jax_step(network, optimizer, loss_of, points, labels)


def _tensorflow_step(
    network: keras.Model, optimizer: Any, loss_of: Any, points: np.ndarray, labels: np.ndarray
) -> Callable[[], Any]:
    import tensorflow as tf

    @tf.function
    def step(points: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(points, labels)
        variables = network.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return loss

    tensors = tf.constant(points), tf.constant(labels)
    return lambda: float(step(*tensors))


def _jax_step(
    network: keras.Model, optimizer: Any, loss_of: Any, points: np.ndarray, labels: np.ndarray
) -> Callable[[], Any]:
    import jax

    def loss_and_state(trainable: Any, state: Any, points: Any, labels: Any) -> Any:
        pairs = [*zip(network.trainable_variables, trainable, strict=True)]
        pairs += [*zip(network.non_trainable_variables, state, strict=True)]
        with keras.StatelessScope(pairs) as scope:
            loss = loss_of(points, labels)
        return loss, [scope.get_current_value(v) for v in network.non_trainable_variables]

    @jax.jit
    def step(trainable: Any, state: Any, slots: Any, points: Any, labels: Any) -> Any:
        gradient = jax.value_and_grad(loss_and_state, has_aux=True)
        (loss, state), gradients = gradient(trainable, state, points, labels)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return loss, trainable, state, slots

    current = [
        [variable.value for variable in variables]
        for variables in (
            network.trainable_variables,
            network.non_trainable_variables,
            optimizer.variables,
        )
    ]
    points, labels = jax.device_put((points, labels))

    def call() -> float:
        loss, *current[:] = step(*current, points, labels)
        return float(loss)

    return call


def inference(network: keras.Model, points: np.ndarray) -> Callable[[], Any]:
    """A compiled call at rest; each call returns when the labels are known."""

    def labels_of(points: Any) -> Any:
        logits = network(points, training=False)
        return ops.argmax(logits[0] if isinstance(logits, list | tuple) else logits, axis=-1)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled, tensor = tf.function(labels_of), tf.constant(points)
    else:
        import jax

        compiled, tensor = jax.jit(labels_of), jax.device_put(points)
    return lambda: np.asarray(compiled(tensor))


def alternate(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each call; the calls take turns, after two that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if repeat >= 2:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def operations(num_points: int) -> dict[str, float]:
    """Floating-point operations a cloud of the products, in GFLOP: forward, and a training step."""
    local = [3, *SETTINGS.local_widths]
    pairs = list(itertools.pairwise(local))
    net = [(SETTINGS.transform_widths[i], SETTINGS.transform_widths[i + 1]) for i in range(2)]
    pointwise = [*pairs, (3, net[0][0]), net[0], (local[-1], net[0][0]), net[0]]
    pointwise.append((local[-1], SETTINGS.global_widths[0]))
    pooled = [net[1], net[1], tuple(SETTINGS.global_widths)]
    joined = sum(SETTINGS.local_widths) + local[-1] + SETTINGS.global_widths[0]
    head, overall = SETTINGS.head_widths[0], SETTINGS.global_widths[1]
    plain = 3 * 3 + local[-1] ** 2 + joined * head + head * NUM_CLASSES
    products = sum(i * o for i, o in pointwise)
    maxima = sum(i * o for i, o in pooled)
    moments = sum(i * i for i, o in pointwise if i <= o)
    pooled_moments = sum(i * i for i, _ in pooled)
    gigaflop = 2 * num_points / 1e9
    return {
        "example_forward_gflop": gigaflop * (products + maxima + plain + overall * head),
        "example_step_gflop": gigaflop * 3 * (products + maxima + plain + overall * head),
        "forward_gflop": gigaflop * (products + maxima + plain),
        "step_gflop": gigaflop
        * (3 * (products + plain) + 2 * moments + maxima + 2 * pooled_moments),
    }


def peak_memory(formulation: str, batch: int, num_points: int) -> float:
    """MiB that two training steps add to a fresh process that imported the backend."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.network", "--memory-of", formulation),
            *("--batch", str(batch), "--points", str(num_points)),
        ],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def measure_memory(formulation: str, batch: int, num_points: int) -> float:
    """The same in this process, which must be a fresh one."""
    before = _largest_resident_set()
    step = training_step(make_network(formulation, num_points), *random_batch(batch, num_points))
    step()
    step()
    return _largest_resident_set() - before


def _largest_resident_set() -> float:
    """MiB, of this process alone: getrusage would count what its parent had before it."""
    status = Path("/proc/self/status").read_text()
    return float(next(x for x in status.splitlines() if x.startswith("VmHWM")).split()[1]) / 1024


def random_batch(batch: int, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [B, N, 3] in the unit ball and labels [B, N]."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(batch, num_points, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=-1).max(axis=1)[:, None, None]
    return points, rng.integers(0, NUM_CLASSES, (batch, num_points)).astype(np.int32)


def measure(
    batch: int = 32, num_points: int = 1024, repeats: int = 5, memory: bool = True
) -> dict[str, Any]:
    """All measurements of one batch size and number of points, by name."""
    points, labels = random_batch(batch, num_points)
    networks = {name: make_network(name, num_points) for name in FORMULATIONS}
    copy_weights(networks["ours"], networks["example"])
    check_equal(networks, points)
    at_rest = {"example": networks["example"], "ours": fold_batch_norm(networks["ours"])}
    asked = alternate({k: inference(n, points) for k, n in at_rest.items()}, repeats)
    trained = alternate({k: training_step(n, points, labels) for k, n in networks.items()}, repeats)
    results: dict[str, Any] = {
        "backend": keras.backend.backend(),
        "batch": batch,
        "points": num_points,
        "example_train_step_seconds": trained["example"],
        "train_step_seconds": trained["ours"],
        "train_step_speedup": trained["example"] / trained["ours"],
        "example_inference_seconds": asked["example"],
        "inference_seconds": asked["ours"],
        "inference_speedup": asked["example"] / asked["ours"],
        **operations(num_points),
    }
    if memory:
        peaks = {name: peak_memory(name, batch, num_points) for name in FORMULATIONS}
        results |= {
            "example_train_peak_mib": peaks["example"],
            "train_peak_mib": peaks["ours"],
            "train_peak_memory_ratio": peaks["ours"] / peaks["example"],
        }
    return results | measure_bfloat16(networks["ours"], points, labels, trained, asked, repeats)


def measure_bfloat16(
    network: PointNet,
    points: np.ndarray,
    labels: np.ndarray,
    trained: dict[str, float],
    asked: dict[str, float],
    repeats: int,
) -> dict[str, Any]:
    """Speedups of ours in bfloat16 over the example in float32; null where the CPU lacks AMX."""
    names = ("train_step_speedup_bfloat16", "inference_speedup_bfloat16")
    cpu = Path("/proc/cpuinfo")
    if not cpu.exists() or "amx_bf16" not in cpu.read_text():
        return dict.fromkeys(names) | {"bfloat16_reason": "the CPU has no AMX (amx_bf16)"}
    rounded = PointNet(SETTINGS, NUM_CLASSES, dtype="mixed_bfloat16")
    rounded.set_weights(network.get_weights())
    at_rest = alternate({"ours": inference(fold_batch_norm(rounded), points)}, repeats)
    step = alternate({"ours": training_step(rounded, points, labels)}, repeats)
    values = (trained["example"] / step["ours"], asked["example"] / at_rest["ours"])
    return dict(zip(names, values, strict=True))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--points", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", choices=FORMULATIONS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(measure_memory(arguments.memory_of, arguments.batch[0], arguments.points[0]))
        return
    sizes = list(itertools.product(arguments.batch, arguments.points))
    if len(sizes) == 1:
        ((batch, points),) = sizes
        record(measurements(measure(batch, points, arguments.repeats), batch, points))
        return
    for batch, points in sizes:
        # Each in a process of its own: what one size leaves in memory is not the next one's.
        options = ["--batch", str(batch), "--points", str(points)]
        repeats = ["--repeats", str(arguments.repeats)]
        done = subprocess.run(
            [sys.executable, "-m", "bench.network", *options, *repeats],
            cwd=Path(__file__).resolve().parents[1],
        )
        if done.returncode == -signal.SIGKILL:
            print(f"B {batch}, N {points}: the system stopped it; memory seems to be too small")
        elif done.returncode:
            sys.exit(done.returncode)


def measurements(values: dict[str, Any], batch: int, points: int) -> list[Measurement]:
    """What results.json gets; the figures of 32 clouds of 1,024 points have the plain names."""
    headline = (batch, points) == (32, 1024)
    suffix = "" if headline else f"_b{batch}_n{points}"
    what = f"B {batch}, N {points}, {values['backend']}"
    reason = values.get("bfloat16_reason")
    rows = []
    for name, unit, baseline in FIGURES:
        if name not in values:
            continue
        against = f"{baseline}; {what}" + (
            f"; not measured: {reason}" if values[name] is None else ""
        )
        command = f"python -m bench.network --batch {batch} --points {points}"
        rows.append(Measurement(name + suffix, values[name], unit, against, command))
    return rows


if __name__ == "__main__":
    main()
