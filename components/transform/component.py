"""TFX's component with our executor."""

from __future__ import annotations

from tfx.dsl.components.base import executor_spec
from tfx.v1.components import Transform as TfxTransform

from components.transform.executor import Executor


class Transform(TfxTransform):
    """TFX's own inputs, outputs and parameters; see this package for what is added."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
