"""A fake of Vertex AI's endpoint and model services: what google.cloud.aiplatform calls.

Everything before the calls is the real code, of TFX and of google.cloud.aiplatform. Like the
services, it refuses to undeploy a model with traffic, and traffic that does not add up to 100.
"""

from types import SimpleNamespace

from google.api_core.exceptions import FailedPrecondition
from google.cloud.aiplatform_v1 import types

# The services answer with the project's number where a request has its id.
PARENT = "projects/123/locations/europe-west4"
DEPLOYING = "0"


def done(result=None):
    """A long-running operation that has ended."""
    return SimpleNamespace(operation=SimpleNamespace(name="operation"), result=lambda **_: result)


class VertexServices:
    """Both services, `endpoints` and `models` by resource name, and all `calls` in order.

    `after_deployment`, `after_undeployment`: what somebody does to the endpoint just then;
    `unwilling`: ids of deployed models that cannot be undeployed.
    """

    def __init__(self):
        self.endpoints, self.models, self.calls, self.unwilling = {}, {}, [], set()
        self.after_deployment = self.after_undeployment = lambda endpoint: None

    def add_endpoint(self, display_name, **traffic):
        """An endpoint with a deployed model for each name, "v1" with id 1, and its traffic."""
        name = f"{PARENT}/endpoints/{len(self.endpoints) + 1}"
        self.endpoints[name] = types.Endpoint(
            name=name,
            display_name=display_name,
            deployed_models=[
                types.DeployedModel(id=key[1:], display_name=key, model=f"{PARENT}/models/{key}")
                for key in traffic
            ],
            # Vertex AI omits a model without traffic, or lists it with 0: both are tried.
            traffic_split={key[1:]: n for key, n in traffic.items() if n is not None},
        )
        return name

    def deployed(self, endpoint):
        """The display names of an endpoint's deployed models."""
        return {model.display_name for model in self.endpoints[endpoint].deployed_models}

    def list_endpoints(self, request, **_):
        self.calls.append("list_endpoints")
        assert request["parent"] == "projects/example-project/locations/europe-west4"
        return [
            types.Endpoint(endpoint)
            for endpoint in self.endpoints.values()
            if request["filter"] == f'display_name="{endpoint.display_name}"'
        ]

    def get_endpoint(self, name, **_):
        return types.Endpoint(self.endpoints[name])

    def create_endpoint(self, endpoint, **_):
        made = self.endpoints[self.add_endpoint(endpoint.display_name)]
        made.encryption_spec = endpoint.encryption_spec
        return done(made)

    def upload_model(self, request, **_):
        self.calls.append("upload_model")
        made = types.Model(request.model)
        made.name, made.version_id = f"{PARENT}/models/{900 + len(self.models)}", "1"
        made.supported_deployment_resources_types = [
            types.Model.DeploymentResourcesType.DEDICATED_RESOURCES
        ]
        self.models[made.name] = made
        return done(types.UploadModelResponse(model=made.name, model_version_id="1"))

    def get_model(self, name, **_):
        return self.models[name.partition("@")[0]]

    def deploy_model(self, endpoint, deployed_model, traffic_split, **_):
        made = types.DeployedModel(deployed_model)
        made.id, made.display_name = "99", "new"
        changed = self.endpoints.pop(endpoint)
        changed.deployed_models.append(made)
        changed.traffic_split = {
            made.id if key == DEPLOYING else key: percent for key, percent in traffic_split.items()
        }
        # No order of a listing is promised: what was changed last is last here.
        self.endpoints[endpoint] = changed
        self.after_deployment(changed)
        return done(types.DeployModelResponse(deployed_model=made))

    def undeploy_model(self, endpoint, deployed_model_id, traffic_split, **_):
        changed = self.endpoints[endpoint]
        if deployed_model_id in self.unwilling or changed.traffic_split.get(deployed_model_id):
            raise FailedPrecondition("it is unwilling, or has traffic")
        assert sum(traffic_split.values()) == 100
        changed.traffic_split = traffic_split
        left = [model for model in changed.deployed_models if model.id != deployed_model_id]
        changed.deployed_models = left
        self.after_undeployment(changed)
        return done()
