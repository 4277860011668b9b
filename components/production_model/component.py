"""The component that stands in for the Resolver of the blessed model."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.production_model.executor import Executor


class ProductionModelSpec(types.ComponentSpec):
    """Typed inputs, outputs and parameters of ProductionModel."""

    # TFX reads these from the class and never writes them.
    PARAMETERS = {"serving": ExecutionParameter(type=str)}  # noqa: RUF012
    INPUTS = {}  # noqa: RUF012
    OUTPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}  # noqa: RUF012


class ProductionModel(base_component.BaseComponent):
    """Finds the newest pushed version. It must never come from a cache: it reads a folder."""

    SPEC_CLASS = ProductionModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, serving: str) -> None:
        """Makes the component.

        Args:
          serving: the folder with the numbered versions that Pusher wrote; gs:// and the like.
        """
        model = types.Channel(type=standard_artifacts.Model)
        super().__init__(ProductionModelSpec(serving=serving, model=model))
