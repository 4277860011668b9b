"""Pushes a blessed model as TFX does, but whole at once, and keeps a number of old versions."""

from __future__ import annotations

import os
from typing import Any

from absl import logging
from tfx import types
from tfx import v1 as tfx
from tfx.components.pusher import executor as tfx_pusher
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, proto_utils

from components.pusher.versions import next_version, remove_old

KEEP = "keep_versions"
# Not a number: a server does not look at it.
_PARTIAL = ".partial-"


class Executor(tfx_pusher.Executor):
    """Copies beside the versions, renames, then removes what is too old."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class; `custom_config` may hold KEEP, how many versions stay."""
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
        version = next_version(base)
        target = os.path.join(base, str(version))
        model = self.GetModelPath(input_dict)
        if "://" in target:
            # Object stores have no rename; a server looks for saved_model.pb, which comes last.
            io_utils.copy_dir(model, target, deny_regex_patterns=[r"saved_model\.pb"])
            file = "saved_model.pb"
            io_utils.copy_file(os.path.join(model, file), os.path.join(target, file))
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
        keep = _keep(exec_properties)
        removed = remove_old(base, keep) if keep else []
        if removed:
            logging.info("Removed the versions %s: %d are kept.", removed, keep)


def _keep(exec_properties: dict[str, Any]) -> int | None:
    config = exec_properties.get(standard_component_specs.CUSTOM_CONFIG_KEY) or "null"
    return (json_utils.loads(config) or {}).get(KEEP)
