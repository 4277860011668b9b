"""TFX's BulkInferrer with an upper bound on the clouds that the network sees at once.

TFX leaves the batch to Beam, which lets it grow as long as a batch is quick: thousands of clouds on
a GPU, each padded to the longest, which no memory holds.
"""

from __future__ import annotations

from typing import Any

from tfx.components.bulk_inferrer import executor
from tfx.dsl.components.base import executor_spec
from tfx.v1.components import BulkInferrer as TfxBulkInferrer
from tfx_bsl.public.proto import model_spec_pb2

MOST_CLOUDS = 16


class Executor(executor.Executor):
    """TFX's own, with the bound."""

    def _get_inference_spec(
        self, model_path: str, exec_properties: dict[str, Any]
    ) -> model_spec_pb2.InferenceSpecType:
        spec = super()._get_inference_spec(model_path, exec_properties)
        spec.batch_parameters.max_batch_size = MOST_CLOUDS
        return spec


class BulkInferrer(TfxBulkInferrer):
    """TFX's own, with the bound."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
