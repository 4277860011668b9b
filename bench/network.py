"""PointNet's training step and inference: ours against two other formulations, in one process.

    python -m bench.network [--widths example demo few_shapes] [--repeats 5]

example: the published example's formulation, Keras's layers one after the other, global feature
    tiled and concatenated.
plain: what a user who optimises would keep. Split head, TensorFlow's fused batch norm, folded for
    inference, but a plain maximum with TensorFlow's gradient in place of our pooled layer.
ours: the pooled layer with its gradient; folded for inference.

All have the same widths, biases, weights, loss and optimizer, float32, no XLA; logits, loss and
gradients are compared before anything is timed. The widths are those of the example, there also
with the input pipeline, and of the presets that CPUs train. Calls take turns, medians are reported.
Peak memory is what two calls add to a fresh process that has made the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from bench.keras_example import copy_weights, example_network, paired_weights
from bench.results import Measurement, alternate, in_process, options, peak_memory, record
from model.loss import cross_entropy
from model.networks.families import NetworkSettings
from model.networks.layers import PointwiseLayer, PooledLayer
from model.networks.pointnet.network import orthogonality
from pipeline.config import load_config

NUM_CLASSES = 5
# Clouds and points of a training step, by the preset whose widths are taken.
SIZES = {"example": (32, 1024), "demo": (16, 512), "few_shapes": (8, 1024)}
KINDS = ("training_step", "inference")
FORMS = {
    "example": "the published example's formulation",
    "plain": "plain maximum, fused batch norm, split head, folded for inference",
    "ours": "ours, folded for inference",
}


def settings_of(widths: str) -> NetworkSettings:
    """A preset's network, with the example's biases and without dropout."""
    network = load_config("keras_example" if widths == "example" else widths).network
    return network.model_copy(update={"bias_before_batch_norm": True, "dropout": 0.0})


def plain_maximum(layer: PooledLayer, inputs: Any, training: bool = False) -> Any:
    """A pooled layer's call that computes all features, then their maximum."""
    return ops.max(PointwiseLayer.call(layer, inputs, training), axis=1)


class Form:
    """A network in one of FORMS, newly made."""

    def __init__(self, name: str, widths: str) -> None:
        self.name = name
        self.settings = settings_of(widths)
        self.network: Any = (
            example_network(self.settings, NUM_CLASSES, SIZES[widths][1])
            if name == "example"
            else self.settings.build(NUM_CLASSES)
        )

    def __call__(self, points: Any, training: bool = False) -> tuple[Any, Any]:
        """Logits [B, N, K], and in training the loss of the feature transform."""
        if self.name == "example":
            logits, transform = self.network(points, training=training)
            return logits, self.settings.orthogonality * orthogonality(transform)
        plain = mock.patch.object(PooledLayer, "call", plain_maximum)
        with plain if self.name == "plain" else nullcontext():
            return self.network(points, training=training), sum(self.network.losses)

    def loss_and_gradients(
        self, points: Any, labels: Any, variables: list[Any]
    ) -> tuple[Any, list[Any]]:
        """The loss in training, and its gradients by the variables."""
        with tf.GradientTape() as tape:
            logits, penalty = self(points, training=True)
            loss = cross_entropy(labels, logits) + penalty
        return loss, tape.gradient(loss, [variable.value for variable in variables])

    def compiled(self, kind: str, points: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
        """A function that runs one of KINDS and returns when its result is known."""
        if kind == "inference":
            if self.name != "example":
                self.network = self.network.for_inference()
            classes = tf.function(lambda x: ops.argmax(self(x)[0], axis=-1))
            tensor = tf.constant(points)
            return lambda: classes(tensor).numpy()
        optimizer, variables = keras.optimizers.Adam(1e-3), self.network.trainable_variables
        optimizer.build(variables)

        @tf.function
        def step(points: Any, labels: Any) -> Any:
            loss, gradients = self.loss_and_gradients(points, labels, variables)
            optimizer.apply(gradients, variables)
            return loss

        tensors = tf.constant(points), tf.constant(labels)
        return lambda: float(step(*tensors))


def random_batch(batch: int, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [B, N, 3] in the unit ball and labels [B, N]."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(batch, num_points, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=-1).max(axis=1)[:, None, None]
    return points, rng.integers(0, NUM_CLASSES, (batch, num_points)).astype(np.int32)


def equal_forms(widths: str) -> dict[str, Form]:
    """All forms with equal weights; fails unless logits, losses and gradients are equal."""
    forms = {name: Form(name, widths) for name in FORMS}
    ours, example = forms["ours"].network, forms["example"].network
    forms["plain"].network.set_weights(ours.get_weights())
    copy_weights(ours, example)
    batch = random_batch(8, SIZES[widths][1])

    def pairs(name: str) -> list[tuple[Any, Any]]:
        return [pair for pair in paired_weights(forms[name].network, example) if pair[1].trainable]

    variables = {name: [weight for weight, _ in pairs(name)] for name in ("plain", "ours")}
    variables["example"] = [weight for _, weight in pairs("ours")]
    losses, gradients, logits = {}, {}, {}
    for name, form in forms.items():
        losses[name], found = form.loss_and_gradients(*batch, variables[name])
        gradients[name] = np.concatenate([np.ravel(gradient) for gradient in found])
        # The moving averages, too, have made a step.
        logits[name] = form(batch[0])[0]
        np.testing.assert_allclose(losses[name], losses["example"], rtol=1e-5)
        np.testing.assert_allclose(logits[name], logits["example"], atol=1e-4)
        # Rounding decides which of two almost equal points is a channel's maximum.
        difference = np.linalg.norm(gradients[name] - gradients["example"])
        if difference > 1e-2 * np.linalg.norm(gradients["example"]):
            raise SystemExit(f"bench.network: the gradients of {name} and the example differ")
    return forms


def measure(widths: str, repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds by kind and form."""
    forms, batch = equal_forms(widths), random_batch(*SIZES[widths])
    return {
        kind: alternate(
            {name: form.compiled(kind, *batch) for name, form in forms.items()}, repeats
        )
        for kind in KINDS
    }


def added_memory(kind: str, name: str, widths: str) -> float:
    """MiB that two training steps or inferences add to this process, which must be a new one."""
    form, batch = Form(name, widths), random_batch(*SIZES[widths])
    before = peak_memory()
    call = form.compiled(kind, *batch)
    call()
    call()
    return peak_memory() - before


def operations(widths: str) -> dict[str, float]:
    """Operations of the products over points, calculated, in GFLOP a cloud."""
    network: Any = settings_of(widths).build(NUM_CLASSES)
    nets = network.input_transform, network.feature_transform
    once_a_cloud = {id(layer) for net in nets for layer in net.dense}
    layers = [x for x in network._flatten_layers() if isinstance(x, PointwiseLayer)]
    shapes = [x.kernel.shape for x in layers if id(x) not in once_a_cloud]
    pooled = [x.kernel.shape for x in layers if isinstance(x, PooledLayer)]
    tiled = network.pooled_layer.width * network.split_layer.width
    shapes += [network.logits_kernel.shape, *((net.size, net.size) for net in nets)]
    example, maxima = sum(i * o for i, o in shapes), sum(i * o for i, o in pooled)
    plain = example - tiled
    counts = {
        "example_forward": example,
        "example_step": 3 * example,
        "forward": plain,
        "plain_step": 3 * plain,
        "step": 3 * (plain - maxima) + maxima + 2 * sum(i * i for i, _ in pooled),
    }
    return {name: 2 * SIZES[widths][1] * count / 1e9 for name, count in counts.items()}


def with_input_pipeline(what: str, steps: int = 8, stored: int = 2048) -> list[Measurement]:
    """A training step of ours with its input pipeline, against the step and the pipeline alone."""
    from model.training.input_pipeline import TransformedClouds, training_batches
    from model.training.optimizer import make_optimizer
    from model.training.settings import TrainingSettings
    from model.training.step import TrainingStep

    batch, num_points = SIZES["example"]
    settings = TrainingSettings(batch_size=batch, points_per_draw=num_points)
    count = batch * (steps + 1)
    rng = np.random.default_rng(0)
    clouds = TransformedClouds(
        tf.constant(rng.normal(size=(count, stored, 3)), tf.float32),
        tf.constant(rng.integers(0, NUM_CLASSES, (count, stored)), tf.int32),
        tf.zeros([count], tf.int32),
    )
    optimizer = make_optimizer(settings, steps, warmup_steps=0)
    step = TrainingStep(settings_of("example").build(NUM_CLASSES), optimizer)
    batches = iter(training_batches(clouds, settings))
    first = next(batches)
    calls = {"alone": lambda: step(first), "together": lambda: step(next(batches))}
    seconds = alternate(calls, steps)
    # Many more than are prefetched, so that the mean is that of making them.
    start = time.perf_counter()
    for _ in range(10 * steps):
        next(batches)
    made = (time.perf_counter() - start) / (10 * steps)
    alone, together = seconds["alone"], seconds["together"]
    step_alone = f"a training step without its input pipeline; {what}"
    return [
        ("input_pipeline_speedup", alone / made, "ratio", step_alone),
        ("epoch_step_ratio", together / alone, "ratio", step_alone),
        ("epoch_clouds_per_second", batch / together, "clouds/s", what),
    ]


def comparisons(values: dict[str, dict[str, float]], unit: str, what: str) -> list[Measurement]:
    """Each form's values by kind, and ours against the others as speed-ups or shares of memory."""
    ratio, suffix = ("speedup", "seconds") if unit == "s" else ("memory_ratio", "mib")
    rows = []
    for kind, by_form in values.items():
        for name, label in (("example", ""), ("plain", "_over_plain")):
            quotient = (by_form[name] / by_form["ours"]) ** (1 if unit == "s" else -1)
            rows.append((f"{kind}_{ratio}{label}", quotient, "ratio", f"{FORMS[name]}; {what}"))
        for name, value in by_form.items():
            rows.append((f"{name}_{kind}_{suffix}", value, unit, f"{FORMS[name]}; {what}"))
    return rows


def main() -> None:
    """Measures, prints and records."""
    arguments = options(__doc__, widths=tuple(SIZES), repeats=5)
    for widths in arguments.widths:
        batch, points = SIZES[widths]
        what = f"{widths}'s widths, B {batch}, N {points}, float32"
        # A new process each, so that no case uses what another left in memory.
        seconds = in_process(measure, widths, arguments.repeats)
        memory = {k: {f: in_process(added_memory, k, f, widths) for f in FORMS} for k in KINDS}
        rows = [*comparisons(seconds, "s", what), *comparisons(memory, "MiB", what)]
        if widths == "example":
            for name, value in operations(widths).items():
                rows.append((f"{name}_gflop", value, "GFLOP a cloud", f"calculated; {what}"))
            rows += with_input_pipeline(what)
        suffix = "" if widths == "example" else f"_{widths}"
        record(*((name + suffix, value, unit, text) for name, value, unit, text in rows))


if __name__ == "__main__":
    main()
