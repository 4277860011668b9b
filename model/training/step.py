"""One training step on all replicas.

On several GPUs each replica takes its share of a batch. Loss and gradients are those of the whole
batch on one device; batch norm takes a step's statistics from each replica's share, and those for
inference are the replicas' mean. Dropout is the same on each replica.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from model.loss import cross_entropy, point_weights
from model.networks.interface import SegmentationNetwork
from schema.record import CATEGORY, POINTS, UNANNOTATED


class TrainingStep:
    """Loss, gradients and new weights; made under the strategy's scope.

    `weights` are K class weights, None for equal ones.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        optimizer: keras.optimizers.Optimizer,
        weights: Sequence[float] | None = None,
    ):
        self.strategy = tf.distribute.get_strategy()
        self.replicas = self.strategy.num_replicas_in_sync
        self.network = network
        self.class_weights = weights
        self.adamw = self.optimizer = optimizer
        if network.compute_dtype == "float16":
            # Small gradients would be 0 in float16: the loss is scaled up, the gradients down.
            self.optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.optimizer.build(network.trainable_variables)
        self.loss = keras.metrics.Mean(name="loss")
        self.accuracy = keras.metrics.Mean(name="point_accuracy")
        # XLA takes no collective operations of several replicas.
        compiled = bool(tf.config.list_physical_devices("GPU")) and self.replicas == 1
        self._run = tf.function(self._on_all_replicas, jit_compile=compiled, reduce_retracing=True)
        self._means = tf.function(self._mean_statistics)

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a step changes: weights, statistics, seeds, the optimizer's, the epoch's."""
        parts = (self.network, self.optimizer, self.loss, self.accuracy)
        return [variable for part in parts for variable in part.variables]

    def __call__(self, batch: tuple[Any, Any]) -> float:
        """Trains on a batch of (inputs, labels) and returns its loss before the step.

        The loss is NaN if it or its gradients are not finite.
        """
        return float(self._run(batch))

    def _on_all_replicas(self, batch: tuple[Any, Any]) -> Any:
        losses = self.strategy.run(self._on_one_replica, args=batch)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _on_one_replica(self, inputs: dict[str, Any], labels: Any) -> Any:
        """This replica's share of the batch's loss, so that the shares add up to it."""
        share = self._share(labels)
        trained = [variable.value for variable in self.network.trainable_variables]
        with tf.GradientTape() as tape:
            logits = self.network(inputs[POINTS], category=inputs[CATEGORY], training=True)
            loss = share * cross_entropy(labels, logits, self.class_weights)
            loss += sum(self.network.losses) / self.replicas
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, trained)
        if self.replicas > 1:
            # Keras clips each replica's gradients and then adds them up. Given their mean on each,
            # and the norm that goes with it, the sum is that of the whole batch, clipped.
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        self.optimizer.apply(gradients, self.network.trainable_variables)
        self.loss.update_state(loss * self.replicas)
        correct = ops.equal(ops.cast(ops.argmax(logits, axis=-1), labels.dtype), labels)
        annotated = ops.cast(ops.not_equal(labels, UNANNOTATED), "float32")
        self.accuracy.update_state(correct, sample_weight=annotated)
        if self.network.compute_dtype == "float16":
            return loss  # Gradients too large for float16 are usual: the step is left out.
        # relu(NaN) is 0 on some CPUs: a bad batch may show in its gradients alone.
        finite = ops.isfinite(tf.linalg.global_norm(gradients))
        return tf.where(finite, loss, float("nan"))

    def _share(self, labels: Any) -> Any:
        """How much of the batch's points, by weight, are this replica's."""
        if self.replicas == 1:
            return 1.0
        weight = ops.sum(point_weights(labels, self.class_weights))
        context = tf.distribute.get_replica_context()
        return tf.math.divide_no_nan(weight, context.all_reduce(tf.distribute.ReduceOp.SUM, weight))

    def sync_moving_statistics(self) -> None:
        """Averages batch norm's moving statistics over the replicas, each of which moves its own.

        They are linear, so it does not matter when; it must be done before they are used or saved.
        """
        if self.replicas == 1:
            return
        for variable, value in zip(self._statistics(), self._means(), strict=True):
            variable.assign(value)

    def _statistics(self) -> list[Any]:
        return [v.value for v in self.network.variables if v.name.startswith("moving_")]

    def _mean_statistics(self) -> list[Any]:
        values = self.strategy.run(lambda: [tf.identity(v) for v in self._statistics()])
        mean = tf.distribute.ReduceOp.MEAN
        return [self.strategy.reduce(mean, value, axis=None) for value in values]

    def is_stuck(self) -> bool:
        """Whether float16 cannot hold the gradients: the loss would have to be scaled down."""
        scale = getattr(self.optimizer, "dynamic_scale", None)
        return scale is not None and float(scale) < 1

    def start_epoch(self) -> None:
        """Resets the epoch's loss and accuracy."""
        self.loss.reset_state()
        self.accuracy.reset_state()

    def epoch_results(self) -> dict[str, float]:
        """Loss and point accuracy of the epoch so far."""
        return {m.name: float(m.result()) for m in (self.loss, self.accuracy)}

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Puts the weights' moving average in their place, if there is one.

        Not Keras's SwapEMAWeights: it swaps by adding and subtracting, which leaves its rounding in
        the weights after each epoch.
        """
        if not self.adamw.use_ema:
            yield
            return
        weights = self.network.trainable_variables
        averages = self.adamw._model_variables_moving_average
        raw = [weight.numpy() for weight in weights]
        for weight, average in zip(weights, averages, strict=True):
            weight.assign(average.numpy())
        try:
            yield
        finally:
            for weight, value in zip(weights, raw, strict=True):
                weight.assign(value)
