"""What the Tuner may change of a config, and how a choice is put into it.

A hyperparameter's name is the config's own key, so that a result can be copied into a YAML file;
only WIDTH_FACTOR, which multiplies every width of the network, is none. Bounds follow the config:
whatever is drawn is a config that loads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model.settings import NetworkSettings, TrainingSettings

if TYPE_CHECKING:
    import keras_tuner

WIDTH_FACTOR = "network.width_factor"
WIDTH_FACTORS = (0.5, 1.0, 1.5)
_WIDTHS = (
    "local_widths",
    "global_widths",
    "transform_widths",
    "transform_dense_widths",
    "head_widths",
)


def search_space(
    network: NetworkSettings, training: TrainingSettings, points_per_cloud: int
) -> keras_tuner.HyperParameters:
    """What may be tried; the default of each hyperparameter is what the config says.

    Args:
      network: the config's.
      training: the config's.
      points_per_cloud: points of a cloud that Transform keeps.
    """
    import keras_tuner

    space = keras_tuner.HyperParameters()

    def number(name: str, low: float, high: float, default: float, log: bool = False) -> None:
        # A default outside the bounds widens them: the config's own recipe is always possible.
        space.Float(
            name,
            min(low, default),
            max(high, default),
            default=default,
            sampling="log" if log else "linear",
        )

    rate = training.learning_rate
    # The cosine decay must not rise.
    lowest = max(0.3 * rate, min(training.final_learning_rate, rate))
    number("training.learning_rate", lowest, 3 * rate, rate, log=True)
    if training.weight_decay > 0:
        decay = training.weight_decay
        number("training.weight_decay", decay / 10, decay * 10, decay, log=True)
    number("training.batch_norm_momentum", 0.8, 0.95, training.batch_norm_momentum)
    drawn = training.points_per_draw or points_per_cloud
    fewer = {max(1, points_per_cloud // part) for part in (1, 2, 4)}
    space.Choice("training.points_per_draw", sorted({*fewer, drawn}), default=drawn)
    augmentation = training.augmentation
    smallest, largest = augmentation.scale_low, augmentation.scale_high
    between = min(max(smallest, 1.0), largest)
    number("training.augmentation.scale_low", min(0.67, between), between, smallest)
    number("training.augmentation.scale_high", between, max(1.5, between), largest)
    number("training.augmentation.shift", 0.0, 0.2, augmentation.shift)
    # Noise is clipped at jitter_clip: more than that changes nothing.
    noise = max(augmentation.jitter_clip, augmentation.jitter_sigma)
    number("training.augmentation.jitter_sigma", 0.0, noise, augmentation.jitter_sigma)
    number("network.dropout", 0.0, 0.5, network.dropout)
    # Weights to start from fit the config's own widths only.
    if training.warm_start == "none":
        space.Choice(WIDTH_FACTOR, list(WIDTH_FACTORS), default=1.0)
    return space


def with_choice(
    network: NetworkSettings, training: TrainingSettings, values: Mapping[str, Any]
) -> tuple[NetworkSettings, TrainingSettings]:
    """The config's settings with chosen values put in.

    Args:
      network: the config's.
      training: the config's.
      values: by name, as the search space has them; {} changes nothing.

    Raises:
      ValueError: a name that the config does not know, or a value that it refuses.
    """
    settings = {
        "network": network.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
    }
    known = _by_name(network, training)
    for name, value in values.items():
        if name == WIDTH_FACTOR:
            for widths in _WIDTHS:
                settings["network"][widths] = [
                    max(1, round(value * width)) for width in settings["network"][widths]
                ]
            continue
        if name not in known:
            raise ValueError(f"{name} is no key of the config")
        *sections, key = name.split(".")
        section: Any = settings
        for part in sections:
            section = section[part]
        section[key] = value
    return (
        NetworkSettings.model_validate(settings["network"]),
        TrainingSettings.model_validate(settings["training"]),
    )


def changes(
    network: NetworkSettings, training: TrainingSettings, values: Mapping[str, Any]
) -> list[str]:
    """What a choice changes of the config, a line each: "training.shift: 0.1 -> 0.15"."""
    before = _by_name(network, training)
    return [
        f"{name}: {json.dumps(before[name])} -> {value:g}"
        for name, value in values.items()
        if before[name] != value
    ]


def _by_name(network: NetworkSettings, training: TrainingSettings) -> dict[str, Any]:
    """Every value of the two sections by its dotted name."""
    found: dict[str, Any] = {WIDTH_FACTOR: 1.0}

    def collect(prefix: str, section: dict[str, Any]) -> None:
        for key, value in section.items():
            if isinstance(value, dict):
                collect(f"{prefix}{key}.", value)
            else:
                found[f"{prefix}{key}"] = value

    collect("network.", network.model_dump(mode="json"))
    collect("training.", training.model_dump(mode="json"))
    return found
