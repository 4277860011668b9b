"""The component that shows a run's data, before CloudValidator may stop the run."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.data_report.executor import Executor
from schema.categories import Category


class DataReportPage(types.Artifact):
    """`data_report.html`, one self-contained page, and `findings.json`.

    `findings.json` holds lists of sentences under anomalies, drift and skew.
    """

    # Kubeflow's compiler demands a namespace, and refuses types with properties of their own.
    TYPE_NAME = "pointnet.DataReport"


class DataReportSpec(types.ComponentSpec):
    """Typed inputs, outputs and parameters of DataReport."""

    # TFX reads these from the class and never writes them.
    PARAMETERS = {  # noqa: RUF012
        "categories": ExecutionParameter(type=str),
        "data": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "skew": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "drift": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "data_report": ChannelParameter(type=DataReportPage),
    }


class DataReport(base_component.BaseComponent):
    """Shows a person what the data holds, what is unusual about it, and what to do."""

    SPEC_CLASS = DataReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        anomalies: types.BaseChannel,
        skew: types.BaseChannel,
        categories: Sequence[Category],
        data: str,
        code_fingerprint: str,
        drift: types.BaseChannel | None = None,
    ) -> None:
        """Makes the component.

        Args:
          statistics: what StatisticsGen counted.
          anomalies: what ExampleValidator found.
          skew: what DistributionValidator found between splits, see distribution_limits.py.
          categories: those that the pipeline knows, for the names of labels.
          data: which shapes these are, in a sentence, shown on the page.
          code_fingerprint: a hash of our sources; only makes changed code run anew.
          drift: what DistributionValidator found against the last run; None where the platform
            cannot look for it.
        """
        super().__init__(
            DataReportSpec(
                statistics=statistics,
                anomalies=anomalies,
                skew=skew,
                drift=drift,
                categories=json.dumps([category.to_json() for category in categories]),
                data=data,
                code_fingerprint=code_fingerprint,
                data_report=types.Channel(type=DataReportPage),
            )
        )
