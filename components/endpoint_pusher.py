"""TFX's Pusher to an endpoint of Vertex AI, which undeploys former models without traffic.

TFX's own leaves every model that it ever deployed on the endpoint, and their machines are billed.
"""

from __future__ import annotations

from typing import Any

from absl import logging
from google.cloud import aiplatform
from tfx import types
from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec
from tfx.extensions.google_cloud_ai_platform import constants
from tfx.extensions.google_cloud_ai_platform.pusher import executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

# A key of ours in `custom_config`: a key of Cloud KMS, for a new model and a new endpoint.
ENCRYPTION_KEY = "pointnet_encryption_key"


class Executor(executor.Executor):
    """Deploys a blessed model, and then undeploys what has no traffic."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class; its `custom_config` has to be one for Vertex AI."""
        config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        # TFX's executor passes no key; Google's client uses this one as the default.
        aiplatform.init(encryption_spec_key_name=config.get(ENCRYPTION_KEY))
        super().Do(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not pushed.get_int_custom_property("pushed"):
            return
        arguments = config[constants.SERVING_ARGS_KEY]
        name, region = arguments["endpoint_name"], config[constants.VERTEX_REGION_KEY]
        model = pushed.get_string_custom_property("pushed_destination")
        try:
            undeploy_idle(name, arguments["project"], region, model)
        except Exception as error:  # the model is served, whatever Vertex AI answers now
            _warn(f"Endpoint {name} cannot be checked for models without traffic", region, error)


def undeploy_idle(name: str, project: str, region: str, model: str) -> None:
    """Undeploys what has no traffic from the endpoint `name` that `model` was deployed to.

    `model`: the resource name of the Model just deployed, which stays in any case. What cannot be
    undeployed stays, and is logged.
    """
    # Several endpoints may have the name. TFX takes the first of a listing without an order.
    for endpoint in aiplatform.Endpoint.list(
        filter=f'display_name="{name}"', project=project, location=region
    ):
        deployed = endpoint.list_models()
        former = [other for other in deployed if _model_id(other.model) != _model_id(model)]
        if len(former) < len(deployed):
            for other in former:
                _undeploy_if_idle(endpoint, other.id, region)
            return
    _warn(f"No endpoint named {name} has the model {model}: nothing was undeployed", region)


def _undeploy_if_idle(endpoint: aiplatform.Endpoint, deployed_id: str, region: str) -> None:
    what = f"the deployed model {deployed_id} of endpoint {endpoint.resource_name}"
    try:
        # Read again for each: undeploying takes minutes, in which traffic may be moved.
        traffic = {key: percent for key, percent in endpoint.traffic_split.items() if percent}
        if deployed_id in traffic:
            return
        # Given explicitly: the client's own rounding can move a percent between the others.
        endpoint.undeploy(deployed_id, traffic_split=traffic)
    except Exception as error:  # the model just deployed is served, whatever Vertex AI answers
        command = f"undeploy-model {endpoint.name} --deployed-model-id {deployed_id}"
        command += f" --region {region}"
        _warn(f"Cannot undeploy {what}; run `gcloud ai endpoints {command}`", region, error)
    else:
        logging.info("Undeployed %s: it had no traffic.", what)


def _warn(problem: str, region: str, error: Exception | None = None) -> None:
    logging.error(
        "%s%s. Models without traffic are still billed; see `gcloud ai endpoints list --region %s`",
        problem,
        f" ({error})" if error else "",
        region,
    )


def _model_id(resource_name: str) -> str:
    """A Model's id without its version; a name may have the project's id or its number."""
    return resource_name.rpartition("/")[2].partition("@")[0]


class EndpointPusher(tfx.extensions.google_cloud_ai_platform.Pusher):
    """TFX's own inputs, outputs and parameters."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
