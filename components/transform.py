"""TFX's Transform, for jobs that are started again after the graph was written.

A runner that loses a machine restarts a job, or a part of it. TensorFlow Transform 1.16 renames the
folders of its graph into place, which fails if they exist: every further attempt would fail. Newer
ones remove them first.
"""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tfx import types
from tfx import v1 as tfx
from tfx.components.transform import executor
from tfx.dsl.components.base import executor_spec


class WriteTransformFn(tft_beam.WriteTransformFn):
    """TensorFlow Transform's own, into a folder that an earlier attempt may have written."""

    def expand(self, transform_fn):  # type: ignore[no-untyped-def]
        saved_model_dir, metadata = transform_fn
        ready = saved_model_dir | "RemovePublished" >> beam.Map(_remove_published, self._path)
        return super().expand((ready, metadata))


def _remove_published(saved_model_dir: str, path: str) -> str:
    """Removes an earlier attempt's graph below `path`; returns `saved_model_dir`, for the order."""
    for name in (
        tft.TFTransformOutput.TRANSFORMED_METADATA_DIR,
        tft.TFTransformOutput.TRANSFORM_FN_DIR,
    ):
        folder = os.path.join(path, name)
        if tf.io.gfile.exists(folder):
            tf.io.gfile.rmtree(folder)
    return saved_model_dir


class Executor(executor.Executor):
    """TFX's own, except for how the graph is written."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class, which names the writing class in one long method."""
        with mock.patch.object(tft_beam, "WriteTransformFn", WriteTransformFn):
            super().Do(input_dict, output_dict, exec_properties)


class Transform(tfx.components.Transform):
    """TFX's own inputs, outputs and parameters."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
