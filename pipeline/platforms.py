"""What the graph needs to know of the platform that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode

from pipeline.previous_statistics import PreviousStatisticsStrategy


@dataclass(frozen=True)
class Platform:
    """The defaults are this machine's, with TFX's local engine.

    Attributes:
      resolves_models: whether a Resolver can find the blessed model by our strategy; otherwise
        ProductionModel takes the newest pushed version.
      statistics_strategy: how a Resolver finds the last run's statistics; None where the platform
        has no Resolver: no drift is looked for then.
      runtime_parameters: whether the data's folder, the training's steps and the evaluation's
        bounds are parameters that each run may set (runtime_parameters.py).
      trainer: TFX's Trainer, or the platform's kind of it.
      trainer_config: what that one wants in its `custom_config` besides.
      endpoint: `custom_config` of a Pusher to an online endpoint of the platform; None: there is
        none.
    """

    resolves_models: bool = True
    statistics_strategy: type | None = PreviousStatisticsStrategy
    runtime_parameters: bool = False
    trainer: Callable[..., BaseNode] = tfx.components.Trainer
    trainer_config: Mapping[str, Any] = field(default_factory=dict)
    endpoint: Mapping[str, Any] | None = None

    def adjustable(self, name: str, value: str) -> Any:
        """The value itself, or a runtime parameter of that name with the value as its default."""
        if not self.runtime_parameters:
            return value
        return tfx.dsl.experimental.RuntimeParameter(name=name, ptype=str, default=value)


THIS_MACHINE = Platform()
