"""A narrow network of each family, with weights that show if one is left out."""

import numpy as np

from model.networks.pointnet.settings import PointNetSettings

POINTNET = PointNetSettings(
    local_widths=(6, 8, 7),
    global_widths=(12, 20),
    transform_widths=(5, 6, 16),
    transform_dense_widths=(9, 8),
    head_widths=(10, 6),
    dropout=0.0,
)
FAMILIES = {"pointnet": POINTNET}
TINY = FAMILIES | {
    "pointnet_with_biases": POINTNET.model_copy(update={"bias_before_batch_norm": True}),
    "pointnet_without_transforms": POINTNET.model_copy(
        update={"input_transform": False, "feature_transform": False, "global_widths": (20,)}
    ),
}


def randomise(layer, seed=0):
    """Sets every weight: positive variances, scales of both signs, T-Nets near the identity."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        value = rng.normal(size=weight.shape) / np.sqrt(weight.shape[0])
        if weight.name in ("moving_variance", "gamma"):
            value = np.abs(value) + 0.5
        if weight.name == "gamma":
            value[::3] *= -1
        if "_transform/" in weight.path and weight.path.count("/") == 1:
            # Float32's rounding would be blown up by an arbitrary matrix.
            identity = np.eye(round(weight.shape[-1] ** 0.5)).ravel()
            value = 0.1 * value + identity * (weight.name == "bias")
        weight.assign(value)
    return layer


def make(settings, num_categories=1, dtype="float64"):
    """A network of four classes."""
    return randomise(settings.build(4, num_categories, dtype))


def clouds(batch=3, points=17, seed=0):
    """Points [B, N, 3]."""
    return np.random.default_rng(seed).normal(size=(batch, points, 3))


def assert_equal(actual, expected, tolerance):
    """Each value differs by at most `tolerance` times the largest expected number, or 1."""
    largest = max(1.0, *(float(np.abs(value).max()) for value in expected))
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, np.reshape(b, a.shape), rtol=0, atol=tolerance * largest)
