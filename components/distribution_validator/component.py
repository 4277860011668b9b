"""TFX's component with our executor."""

from __future__ import annotations

from tfx.components.distribution_validator.component import (
    DistributionValidator as TfxDistributionValidator,
)
from tfx.dsl.components.base import executor_spec

from components.distribution_validator.executor import Executor


class DistributionValidator(TfxDistributionValidator):
    """TFX's own inputs, outputs and parameters; see this package for what is different."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
