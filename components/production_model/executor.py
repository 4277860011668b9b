"""Copies the newest pushed version out of the serving folder."""

from __future__ import annotations

import os
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.pusher.versions import versions


class Executor(base_executor.BaseExecutor):
    """Gives out what serves now."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copies the largest version; nothing where there is none.

        Args:
          input_dict: nothing.
          output_dict: model.
          exec_properties: serving.
        """
        model = artifact_utils.get_single_instance(output_dict["model"])
        serving = exec_properties["serving"]
        there = versions(serving)
        if not there:
            logging.info("No model was pushed to %s yet.", serving)
            return
        newest = os.path.join(serving, str(there[-1]))
        # A copy: Pusher may remove the version while it is compared with.
        io_utils.copy_dir(newest, path_utils.serving_model_dir(model.uri))
        logging.info("The model in production is %s.", newest)
