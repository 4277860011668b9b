"""What the Tuner may change of a config, and how a choice is applied.

A hyperparameter's name is the config's own key, so that a result can be copied into a YAML file;
the exception is WIDTH_FACTOR, which multiplies every width of the network. Every draw is a config
that loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model.networks.families import NetworkSettings
from model.training.settings import TrainingSettings
from schema.settings import Settings

if TYPE_CHECKING:
    import keras_tuner

WIDTH_FACTOR = "network.width_factor"
WIDTH_FACTORS = (0.5, 1.0, 1.5)


class Recipe(Settings):
    """The two sections of the config that the Tuner changes."""

    network: NetworkSettings
    training: TrainingSettings


def search_space(recipe: Recipe, points_per_cloud: int) -> keras_tuner.HyperParameters:
    """What may be tried, for clouds of so many points; the defaults are the recipe itself."""
    import keras_tuner

    training, augmentation = recipe.training, recipe.training.augmentation
    space = keras_tuner.HyperParameters()

    def number(name: str, low: float, high: float, default: float, log: bool = False) -> None:
        # A default outside the bounds widens them: the config's own recipe is always possible.
        low, high = min(low, default), max(high, default)
        space.Float(name, low, high, default=default, sampling="log" if log else "linear")

    rate, decay = training.learning_rate, training.weight_decay
    # The cosine decay must not rise.
    lowest = max(0.3 * rate, training.final_learning_rate)
    number("training.learning_rate", lowest, 3 * rate, rate, log=True)
    if decay > 0:
        number("training.weight_decay", decay / 10, decay * 10, decay, log=True)
    number("training.batch_norm_momentum", 0.8, 0.95, training.batch_norm_momentum)
    drawn = training.points_per_draw or points_per_cloud
    fewer = {max(1, points_per_cloud // part) for part in (1, 2, 4)}
    space.Choice("training.points_per_draw", sorted({*fewer, drawn}), default=drawn)
    smallest, largest = augmentation.scale_low, augmentation.scale_high
    between = min(max(smallest, 1.0), largest)
    number("training.augmentation.scale_low", min(0.67, between), between, smallest)
    number("training.augmentation.scale_high", between, max(1.5, between), largest)
    number("training.augmentation.shift", 0.0, 0.2, augmentation.shift)
    # Noise is clipped at jitter_clip: more than that changes nothing.
    noise = max(augmentation.jitter_clip, augmentation.jitter_sigma)
    number("training.augmentation.jitter_sigma", 0.0, noise, augmentation.jitter_sigma)
    number("network.dropout", 0.0, 0.5, recipe.network.dropout)
    space.Choice(WIDTH_FACTOR, list(WIDTH_FACTORS), default=1.0)
    return space


def with_choice(
    recipe: Recipe, values: Mapping[str, Any]
) -> tuple[NetworkSettings, TrainingSettings]:
    """The recipe's settings with chosen values, by the search space's names.

    Raises ValueError if a name is unknown or a value is refused.
    """
    chosen = recipe.with_values({k: v for k, v in values.items() if k != WIDTH_FACTOR})
    return chosen.network.scaled(values.get(WIDTH_FACTOR, 1.0)), chosen.training
