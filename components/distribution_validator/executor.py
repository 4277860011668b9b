"""TFX's executor, with the config that it wants as a message also given as JSON."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.distribution_validator import executor as tfx_distribution_validator
from tfx.proto import distribution_validator_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils


class Executor(tfx_distribution_validator.Executor):
    """Compares as TFX does, on every platform: Vertex and Kubeflow have no messages, only JSON."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """See the base class; the config may be JSON, and the baseline may be left out."""
        key = standard_component_specs.DISTRIBUTION_VALIDATOR_CONFIG_KEY
        config = exec_properties[key]
        if isinstance(config, str):
            message = distribution_validator_pb2.DistributionValidatorConfig()  # type: ignore[attr-defined]
            proto_utils.json_to_proto(config, message)
            exec_properties = {**exec_properties, key: message}
        inputs = {standard_component_specs.BASELINE_STATISTICS_KEY: [], **input_dict}
        return super().Do(inputs, output_dict, exec_properties)
