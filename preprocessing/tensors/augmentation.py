"""Random changes of a training cloud, new in each epoch: scale, shift and jitter.

No rotation: ShapeNet's shapes are aligned, so that "up" and "forward" carry information.
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing.settings import AugmentationSettings


def augment(points: tf.Tensor, seed: tf.Tensor, settings: AugmentationSettings) -> tf.Tensor:
    """Scales and shifts each cloud along each axis, and jitters each point: float32 [B, N, 3].

    The points are normalised; the same `seed`, int [2], gives the same result.
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    per_cloud = [tf.shape(points)[0], 1, 3]
    scale = tf.random.stateless_uniform(
        per_cloud, seeds[0], settings.scale_low, settings.scale_high
    )
    shift = tf.random.stateless_uniform(per_cloud, seeds[1], -settings.shift, settings.shift)
    jitter = tf.random.stateless_normal(tf.shape(points), seeds[2], stddev=settings.jitter_sigma)
    jitter = tf.clip_by_value(jitter, -settings.jitter_clip, settings.jitter_clip)
    return points * scale + shift + jitter
