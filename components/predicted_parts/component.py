"""The component behind BulkInferrer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.predicted_parts.executor import Executor
from schema.categories import Category


class PredictedPartsFiles(types.Artifact):
    """`<id>.ply` and `<id>.labels` of each cloud, and `clouds.csv`, a row a cloud.

    No model was blessed: `clouds.csv` holds no row.
    """

    # Kubeflow's compiler demands a namespace, and refuses types with properties of their own.
    TYPE_NAME = "pointnet.PredictedParts"


class PredictedPartsSpec(types.ComponentSpec):
    """Typed inputs, outputs and parameters of PredictedParts."""

    # TFX reads these from the class and never writes them.
    PARAMETERS = {  # noqa: RUF012
        "categories": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "inference_result": ChannelParameter(type=standard_artifacts.InferenceResult),
    }
    OUTPUTS = {  # noqa: RUF012
        "predicted_parts": ChannelParameter(type=PredictedPartsFiles),
        "predicted_examples": ChannelParameter(type=standard_artifacts.Examples),
    }


class PredictedParts(base_component.BaseComponent):
    """Turns bulk inference into files that people open and Examples that programs read."""

    SPEC_CLASS = PredictedPartsSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        inference_result: types.BaseChannel,
        categories: Sequence[Category],
        code_fingerprint: str,
    ) -> None:
        """Makes the component.

        Args:
          inference_result: what BulkInferrer wrote with the signature `serve_examples`.
          categories: the model's, for the parts' names and colours.
          code_fingerprint: a hash of our sources; only makes changed code run anew.
        """
        super().__init__(
            PredictedPartsSpec(
                inference_result=inference_result,
                categories=json.dumps([category.to_json() for category in categories]),
                code_fingerprint=code_fingerprint,
                predicted_parts=types.Channel(type=PredictedPartsFiles),
                predicted_examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
