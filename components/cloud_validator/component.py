"""The component that stands between ExampleValidator and Transform."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.cloud_validator.executor import Executor
from components.settings import ValidationSettings
from schema.categories import Category


class CloudQuarantine(types.Artifact):
    """The refused clouds and why.

    `Split-<name>/` holds the refused records as they were, `findings.jsonl` one finding a line
    (code, severity, split, shape_id, sentence), `summary.json` the counts by split.
    """

    # Kubeflow's compiler demands a namespace, and refuses types with properties of their own.
    TYPE_NAME = "pointnet.CloudQuarantine"


class CloudValidatorSpec(types.ComponentSpec):
    """Typed inputs, outputs and parameters of CloudValidator."""

    # TFX reads these from the class and never writes them.
    PARAMETERS = {  # noqa: RUF012
        "settings": ExecutionParameter(type=str),
        "categories": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "drift": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
        "skew": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
    }
    # TFX wants names that no input has.
    OUTPUTS = {  # noqa: RUF012
        "sound_examples": ChannelParameter(type=standard_artifacts.Examples),
        "quarantine": ChannelParameter(type=CloudQuarantine),
    }


class CloudValidator(base_beam_component.BaseBeamComponent):
    """Lets sound clouds through, sets the others aside with their reasons.

    A run whose data does not fit the schema or, where that is asked for, has shifted, or with too
    many refused clouds, stops here.
    """

    SPEC_CLASS = CloudValidatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        anomalies: types.BaseChannel,
        settings: ValidationSettings,
        categories: Sequence[Category],
        code_fingerprint: str,
        drift: types.BaseChannel | None = None,
        skew: types.BaseChannel | None = None,
    ) -> None:
        """Makes the component.

        Args:
          examples: what ExampleGen brought in.
          anomalies: what ExampleValidator found in their statistics.
          settings: limits.
          categories: the categories that the pipeline knows.
          code_fingerprint: a hash of our sources; only makes changed code run anew.
          drift: what DistributionValidator found against the last run; given, it may stop the run.
          skew: the same between splits.
        """
        super().__init__(
            CloudValidatorSpec(
                examples=examples,
                anomalies=anomalies,
                drift=drift,
                skew=skew,
                # The limits of shifts act in DistributionValidator: changing them is no reason to
                # validate, and then train, anew.
                settings=settings.model_dump_json(exclude={"drift", "skew"}),
                categories=json.dumps([category.to_json() for category in categories]),
                code_fingerprint=code_fingerprint,
                sound_examples=types.Channel(type=standard_artifacts.Examples),
                quarantine=types.Channel(type=CloudQuarantine),
            )
        )
