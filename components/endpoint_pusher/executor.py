"""TFX's executor, which deploys a blessed model, and then undeploys what it took the place of."""

from __future__ import annotations

from typing import Any

from absl import logging
from google.cloud import aiplatform
from tfx import types
from tfx.extensions.google_cloud_ai_platform import constants
from tfx.extensions.google_cloud_ai_platform.pusher import executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

from components.endpoint_pusher.undeployment import undeploy_idle

# What TFX's executor writes of a push.
_PUSHED = "pushed"
_DESTINATION = "pushed_destination"
# A key of ours in its `custom_config`: a key of Cloud KMS, for a model and an endpoint newly made.
ENCRYPTION_KEY = "pointnet_encryption_key"


class Executor(executor.Executor):
    """TFX's own leaves every model it ever deployed on the endpoint, each with its machines."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class; its `custom_config` has to be one for Vertex AI."""
        config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        # TFX's executor asks for no key; Google's client takes this one where it is asked for none.
        aiplatform.init(encryption_spec_key_name=config.get(ENCRYPTION_KEY))
        super().Do(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not pushed.get_int_custom_property(_PUSHED):
            return
        arguments = config[constants.SERVING_ARGS_KEY]
        name, region = arguments["endpoint_name"], config[constants.VERTEX_REGION_KEY]
        model = pushed.get_string_custom_property(_DESTINATION)
        try:
            undeploy_idle(name, arguments["project"], region, model)
        except Exception as error:  # the model is served, whatever Vertex AI answers now
            logging.error(
                "Endpoint %s could not be looked through for models without traffic (%s): if it "
                "has some, they are still billed; look with `gcloud ai endpoints list --region %s`",
                name,
                error,
                region,
            )
