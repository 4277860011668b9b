"""A tiny made set to train on, and a network that learns it in a second."""

import numpy as np
import tensorflow as tf

from model.input_pipeline import TransformedClouds
from model.settings import NetworkSettings, TrainingSettings
from schema.categories import Category

ROCKET = (Category("Rocket", "1", ("body", "nose")),)
NARROW = NetworkSettings(
    local_widths=(8, 8),
    global_widths=(8, 16),
    transform_widths=(8, 8),
    transform_dense_widths=(8,),
    head_widths=(16,),
    dropout=0.1,
)
# Without T-Nets, for what does not depend on them: most of a short training is making its graph.
PLAIN = NARROW.model_copy(update={"input_transform": False, "feature_transform": False})
SETTINGS = TrainingSettings(
    epochs=5,
    batch_size=4,
    points_per_draw=24,
    learning_rate=0.02,
    warmup_epochs=1,
    precision="float32",
)

# Mid-epoch checkpoints, and all that a step draws or averages.
RESUMED = SETTINGS.model_copy(update={"epochs": 3, "checkpoint_steps": 2, "ema_decay": 0.9})


def made(count, seed, points=32):
    """Clouds in which a point is nose where it is above the middle, and one in ten unannotated."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(-0.6, 0.6, (count, points, 3)).astype(np.float32)
    labels = np.where(rng.random((count, points)) < 0.1, -1, places[..., 2] > 0)
    return TransformedClouds(
        tf.constant(places), tf.constant(labels, tf.int32), tf.zeros([count], tf.int32)
    )
