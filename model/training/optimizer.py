"""AdamW and its schedules."""

from __future__ import annotations

import keras

from model.training.settings import TrainingSettings


def make_optimizer(
    settings: TrainingSettings, steps: int, warmup_steps: int, replicas: int = 1
) -> keras.optimizers.Optimizer:
    """AdamW under a linear warm-up and a cosine decay, gradients clipped by their global norm.

    `steps` are those of the whole training. Each replica gets the batch's mean gradients and the
    sum of the replicas' clipped ones is applied, so the norm is divided among them.
    """
    rate = settings.learning_rate
    warmup = min(warmup_steps, max(steps - 1, 0))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / warmup if warmup else rate,
        decay_steps=max(steps - warmup, 1),
        alpha=settings.final_learning_rate / rate,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm / replicas,
        use_ema=settings.ema_decay is not None,
        ema_momentum=settings.ema_decay or 0.0,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def batch_norm_momentum(settings: TrainingSettings, epoch: int) -> float:
    """Momentum of batch norm's moving averages in an epoch.

    Early statistics are forgotten soon, late ones are averaged over many steps.
    """
    share = epoch / max(settings.epochs - 1, 1)
    first, last = settings.batch_norm_momentum, settings.final_batch_norm_momentum
    return first + (last - first) * share
