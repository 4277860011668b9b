"""TFX's Pusher, writing versions as a server that watches the folder has to find them."""

from __future__ import annotations

import os
from typing import Any

from absl import logging
from tfx import types
from tfx import v1 as tfx
from tfx.components.pusher import executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, proto_utils

from components.production_model import same_model
from serving.versions import GRAPH_FILE, complete_versions, next_version, remove_old

# A server ignores what is not a number.
_PARTIAL = ".partial-"


class Executor(executor.Executor):
    """Copies beside the versions, renames, then removes old ones."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class; `custom_config` may have `keep_versions`, how many are kept."""
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = tfx.proto.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        base = destination.filesystem.base_directory
        model = self.GetModelPath(input_dict)
        newest = complete_versions(base)[-1:]
        pushed_before = bool(newest) and same_model(os.path.join(base, str(newest[0])), model)
        version = newest[0] if pushed_before else next_version(base)
        target = os.path.join(base, str(version))
        if pushed_before:  # by an earlier run that evaluated it against something else
            logging.info("%s is this model already.", target)
        elif "://" in target:
            # Object stores have no rename; a server looks for saved_model.pb, which comes last.
            io_utils.copy_dir(model, target, deny_regex_patterns=[r"saved_model\.pb"])
            io_utils.copy_file(os.path.join(model, GRAPH_FILE), os.path.join(target, GRAPH_FILE))
        else:
            partial = os.path.join(base, f"{_PARTIAL}{version}")
            io_utils.copy_dir(model, partial)
            os.rename(partial, target)
            for name in os.listdir(base):
                if name.startswith(_PARTIAL):  # of a push that was cut off
                    fileio.rmtree(os.path.join(base, name))
        io_utils.copy_dir(model, pushed.uri)
        self._MarkPushed(pushed, pushed_destination=target, pushed_version=str(version))
        logging.info("Model pushed to %s.", target)
        config = exec_properties.get(standard_component_specs.CUSTOM_CONFIG_KEY) or "null"
        if keep := (json_utils.loads(config) or {}).get("keep_versions"):
            logging.info("Removed the versions %s: %d are kept.", remove_old(base, keep), keep)


class Pusher(tfx.components.Pusher):
    """TFX's own inputs, outputs and parameters."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
