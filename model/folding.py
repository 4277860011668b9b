"""Batch norm folded into the weights before it, for the exported graph.

At rest batch norm scales and shifts each feature by fixed numbers, which the kernel and a bias can
do as well: relu((x W - mean) s + beta) = relu(x (W s) + (beta - mean s)).
"""

from __future__ import annotations

import keras

from model.layers import PointwiseLayer, TransformNet
from model.network import PointNet


def fold_batch_norm(network: PointNet) -> PointNet:
    """A network without batch norm that predicts the same, for inference only.

    Args:
      network: any PointNet; it stays as it is.

    Returns:
      A new PointNet of the same settings with folded weights.
    """
    config = {**network.get_config(), "name": f"{network.name}_folded", "normalize": False}
    folded = PointNet.from_config(config)
    for target, source in zip(_with_weights(folded), _with_weights(network), strict=True):
        if isinstance(source, PointwiseLayer):
            kernel, offset = source.folded_weights()
            target.kernel.assign(kernel)
            target.bias.assign(offset)
        else:
            target.kernel.assign(source.kernel)
            target.bias.assign(source.bias)
    folded.logits_kernel.assign(network.logits_kernel)
    folded.logits_bias.assign(network.logits_bias)
    folded.trainable = False
    return folded


def _with_weights(network: PointNet) -> list[keras.layers.Layer]:
    return [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, PointwiseLayer | TransformNet)
    ]
