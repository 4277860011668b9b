"""TFX's component with our executor."""

from __future__ import annotations

from tfx.dsl.components.base import executor_spec
from tfx.v1.extensions.google_cloud_ai_platform import Pusher

from components.endpoint_pusher.executor import Executor


class EndpointPusher(Pusher):
    """TFX's own inputs, outputs and parameters; see this package for what is added."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
