"""Undeploys models that no request reaches: their machines are billed like those that answer."""

from __future__ import annotations

from absl import logging
from google.cloud import aiplatform


def undeploy_idle(name: str, project: str, region: str, model: str) -> None:
    """Undeploys what has no traffic from the endpoint that a model was just deployed to.

    What cannot be undeployed stays, and the log says so.

    Args:
      name: the endpoint's display name.
      project: the Google Cloud project's id.
      region: where the endpoint is.
      model: the resource name of the Model just deployed; it stays in any case.
    """
    # Several endpoints may have the name. TFX takes the first of a listing that has no order.
    for endpoint in aiplatform.Endpoint.list(
        filter=f'display_name="{name}"', project=project, location=region
    ):
        deployed = endpoint.list_models()
        former = [other for other in deployed if _model_id(other.model) != _model_id(model)]
        if len(former) < len(deployed):
            for other in former:
                _undeploy_if_idle(endpoint, other.id, other.display_name, region)
            return
    logging.error(
        "No endpoint named %s has the model %s, which was just deployed to it: nothing was "
        "undeployed, and models without traffic are still billed; look with "
        "`gcloud ai endpoints list --region %s`",
        name,
        model,
        region,
    )


def _undeploy_if_idle(
    endpoint: aiplatform.Endpoint, deployed_id: str, display_name: str, region: str
) -> None:
    try:
        # Asked for each anew: undeploying takes minutes, in which somebody may move traffic.
        traffic = {key: percent for key, percent in endpoint.traffic_split.items() if percent}
        if deployed_id in traffic:
            return
        # Given explicitly: the client's own rounding can move a percent between the others.
        endpoint.undeploy(deployed_id, traffic_split=traffic)
    except Exception as error:  # the model just deployed is served, whatever Vertex AI answers
        logging.error(
            "Endpoint %s (%s): the deployed model %s (%s) could not be undeployed (%s) and is "
            "still billed; undeploy it with `gcloud ai endpoints undeploy-model %s --region %s "
            "--deployed-model-id %s`",
            endpoint.display_name,
            endpoint.resource_name,
            deployed_id,
            display_name,
            error,
            endpoint.name,
            region,
            deployed_id,
        )
        return
    logging.info(
        "Endpoint %s (%s): undeployed %s (%s), which had no traffic.",
        endpoint.display_name,
        endpoint.resource_name,
        deployed_id,
        display_name,
    )


def _model_id(resource_name: str) -> str:
    """A Model's id, without its version; a name may give the project by its id or its number."""
    return resource_name.rpartition("/")[2].partition("@")[0]
