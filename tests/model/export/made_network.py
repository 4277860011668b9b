"""A narrow network of random weights, clouds, and signatures in a session."""

from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from model.networks.families import NetworkSettings
from preprocessing.conversion.records import to_example
from preprocessing.tensors.normalisation import normalise
from schema.categories import Category
from schema.record import Cloud

MUG = Category("Mug", "1", ("handle", "body"))
ROCKET = Category("Rocket", "2", ("body", "fin", "nose"))
NARROW = NetworkSettings(
    local_widths=(6, 8),
    global_widths=(10, 16),
    transform_widths=(5, 12),
    transform_dense_widths=(7,),
    head_widths=(9,),
)


def make_network(num_classes, num_categories, seed=3, **changes):
    """A network whose weights give different points different parts."""
    network = NARROW.model_copy(update=changes).build(num_classes, num_categories)
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        value = rng.normal(size=weight.shape) / np.sqrt(weight.shape[0])
        positive = "variance" in weight.name or "gamma" in weight.name
        weight.assign(np.abs(value) + 0.5 if positive else value)
    # Features of single points outweigh those of the whole cloud.
    kernel = network.split_layer.kernel.numpy()
    kernel[sum(network.split_layer.local_widths) :] *= 0.05
    network.split_layer.kernel.assign(kernel)
    logits = network(normalise(cloud(200)[np.newaxis]), category=np.zeros(1, np.int64)).numpy()
    network.logits_bias.assign(network.logits_bias - logits.mean(axis=(0, 1)))
    return network


def network_of(categories, **changes):
    return make_network(sum(len(c.parts) for c in categories), len(categories), **changes)


def cloud(n, seed=0):
    return (np.random.default_rng(seed).normal(size=(n, 3)) * 5 + 20).astype(np.float32)


def example(points, labels=None, category="Rocket"):
    return to_example(Cloud("x", category, points, labels))


@contextmanager
def in_session(folder):
    """Answers as TensorFlow Serving does: the graph, restored by its own operation."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))

    def answer(name, **inputs):
        signature = graph.signature_def[name]
        outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
        return session.run(outputs, {signature.inputs[k].name: v for k, v in inputs.items()})

    yield answer
    session.close()
