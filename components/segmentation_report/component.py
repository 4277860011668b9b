"""The component that writes a run's page, after the Evaluator."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.data_report.component import DataReportPage
from components.segmentation_report.executor import Executor
from schema.categories import Category


class SegmentationReportPage(types.Artifact):
    """`report.html`, one self-contained page, and `clouds/*.png`, its pictures of clouds."""

    # Kubeflow's compiler demands a namespace, and refuses types with properties of their own.
    TYPE_NAME = "pointnet.SegmentationReport"


class SegmentationReportSpec(types.ComponentSpec):
    """Typed inputs, outputs and parameters of SegmentationReport."""

    # TFX reads these from the class and never writes them.
    PARAMETERS = {  # noqa: RUF012
        "categories": ExecutionParameter(type=str),
        "config": ExecutionParameter(type=str),
        "data": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "data_report": ChannelParameter(type=DataReportPage),
    }
    OUTPUTS = {  # noqa: RUF012
        "report": ChannelParameter(type=SegmentationReportPage),
    }


class SegmentationReport(base_component.BaseComponent):
    """Shows a person how good the model is, where it errs, and whether it may serve."""

    SPEC_CLASS = SegmentationReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        evaluation: types.BaseChannel,
        model: types.BaseChannel,
        model_run: types.BaseChannel,
        examples: types.BaseChannel,
        data_report: types.BaseChannel,
        categories: Sequence[Category],
        config_text: str,
        data: str,
        code_fingerprint: str,
    ) -> None:
        """Makes the component.

        Args:
          evaluation: what the Evaluator measured, and its verdict.
          model: the model that it measured.
          model_run: the folder with the learning curves.
          examples: the sound clouds, with a split `test`.
          data_report: the page on the data, with what is unusual about it.
          categories: the model's categories, in the order of its classes.
          config_text: the run's config as YAML, shown on the page.
          data: which shapes these are, in a sentence, shown on the page.
          code_fingerprint: a hash of our sources; only makes changed code run anew.
        """
        super().__init__(
            SegmentationReportSpec(
                evaluation=evaluation,
                model=model,
                model_run=model_run,
                examples=examples,
                data_report=data_report,
                categories=json.dumps([category.to_json() for category in categories]),
                config=config_text,
                data=data,
                code_fingerprint=code_fingerprint,
                report=types.Channel(type=SegmentationReportPage),
            )
        )
