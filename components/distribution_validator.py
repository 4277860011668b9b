"""TFX's DistributionValidator, also on platforms that pass its config as JSON."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.distribution_validator import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import distribution_validator_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils


class Executor(executor.Executor):
    """Vertex AI and Kubeflow have no messages, only text; and the baseline may be missing."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """See the base class."""
        key = standard_component_specs.DISTRIBUTION_VALIDATOR_CONFIG_KEY
        if isinstance(config := exec_properties[key], str):
            message = distribution_validator_pb2.DistributionValidatorConfig()  # type: ignore[attr-defined]
            proto_utils.json_to_proto(config, message)
            exec_properties = {**exec_properties, key: message}
        inputs = {standard_component_specs.BASELINE_STATISTICS_KEY: [], **input_dict}
        return super().Do(inputs, output_dict, exec_properties)


class DistributionValidator(component.DistributionValidator):
    """TFX's own inputs, outputs and parameters."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
