"""TFX's component with our executor."""

from __future__ import annotations

from tfx.dsl.components.base import executor_spec
from tfx.v1.components import Pusher as TfxPusher

from components.pusher.executor import Executor


class Pusher(TfxPusher):
    """TFX's own inputs, outputs and parameters; see this package for what is different."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
