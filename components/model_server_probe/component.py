"""The component between Trainer and Pusher that says whether a server would answer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.model_server_probe.executor import Executor
from components.settings import ProbeSettings
from schema.categories import Category


class ModelServerProbeSpec(types.ComponentSpec):
    """Typed inputs, outputs and parameters of ModelServerProbe."""

    # TFX reads these from the class and never writes them.
    PARAMETERS = {  # noqa: RUF012
        "settings": ExecutionParameter(type=str),
        "categories": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {  # noqa: RUF012
        "blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
    }


class ModelServerProbe(base_component.BaseComponent):
    """Asks the exported model as a server would, and holds its answers against the network."""

    SPEC_CLASS = ModelServerProbeSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        settings: ProbeSettings,
        categories: Sequence[Category],
        code_fingerprint: str,
    ) -> None:
        """Makes the component.

        Args:
          model: what the Trainer exported.
          examples: the sound clouds, with a split `test`.
          settings: how many clouds, and what may be needed to answer.
          categories: the model's categories, in the order of its classes.
          code_fingerprint: a hash of our sources; only makes changed code run anew.
        """
        super().__init__(
            ModelServerProbeSpec(
                model=model,
                examples=examples,
                settings=settings.model_dump_json(),
                categories=json.dumps([category.to_json() for category in categories]),
                code_fingerprint=code_fingerprint,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
