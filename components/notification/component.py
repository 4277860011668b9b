"""The component that tells people of a model that is not blessed, where a cluster runs it."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.notification.executor import Executor
from components.segmentation_report.component import SegmentationReportPage
from components.settings import NotifySettings


class SentNotification(types.Artifact):
    """`notification.json`: `event`, whether somebody was `told`, and the `problems` if not."""

    # Kubeflow's compiler demands a namespace, and refuses types with properties of their own.
    TYPE_NAME = "pointnet.Notification"


class NotificationSpec(types.ComponentSpec):
    """Typed inputs, outputs and parameters of Notification."""

    # TFX reads these from the class and never writes them.
    PARAMETERS = {  # noqa: RUF012
        "pipeline": ExecutionParameter(type=str),
        "settings": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "report": ChannelParameter(type=SegmentationReportPage),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "notification": ChannelParameter(type=SentNotification),
    }


class Notification(base_component.BaseComponent):
    """Sends a message where a model is not blessed; that it cannot be sent fails no run."""

    SPEC_CLASS = NotificationSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        evaluation: types.BaseChannel,
        blessing: types.BaseChannel,
        report: types.BaseChannel,
        infra_blessing: types.BaseChannel | None,
        pipeline: str,
        settings: NotifySettings,
        code_fingerprint: str,
    ) -> None:
        """Makes the component.

        Args:
          evaluation: the Evaluator's, with the verdict.
          blessing: the Evaluator's.
          report: the page that the message points to.
          infra_blessing: whether a server would answer; None where it was not asked.
          pipeline: the pipeline's name.
          settings: where to send it; no secret is in them.
          code_fingerprint: a hash of our sources; only makes changed code run anew.
        """
        super().__init__(
            NotificationSpec(
                evaluation=evaluation,
                blessing=blessing,
                report=report,
                infra_blessing=infra_blessing,
                pipeline=pipeline,
                settings=settings.model_dump_json(),
                code_fingerprint=code_fingerprint,
                notification=types.Channel(type=SentNotification),
            )
        )
