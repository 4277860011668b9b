"""A double of Vertex AI's endpoint and model services: what google.cloud.aiplatform calls.

Everything before the calls is the real code, of TFX and of google.cloud.aiplatform. Like the
services, it refuses to undeploy a model with traffic, and traffic that does not add up to 100.
"""

from types import SimpleNamespace

from google.api_core.exceptions import FailedPrecondition
from google.cloud.aiplatform_v1 import types

# The services answer with the project's number where they are asked with its id.
PARENT = "projects/123/locations/europe-west4"
DEPLOYING = "0"


def done(result=None):
    """A long-running operation that has ended."""
    return SimpleNamespace(operation=SimpleNamespace(name="operation"), result=lambda **_: result)


class VertexServices:
    """Both services; an id is counted up.

    Attributes:
      endpoints: by resource name.
      models: by resource name.
      after_deployment, after_undeployment: what somebody does to the endpoint just then.
      unwilling: the ids of deployed models that cannot be undeployed.
      calls: the names of all calls, in order.
    """

    def __init__(self):
        self.endpoints, self.models = {}, {}
        self.after_deployment = self.after_undeployment = lambda endpoint: None
        self.unwilling, self.calls = set(), []

    def add_endpoint(self, display_name, **traffic):
        """An endpoint with one deployed model for each name given, with so much traffic.

        A deployed model's id is a number, the name's digits.
        """
        name = f"{PARENT}/endpoints/{len(self.endpoints) + 1}"
        ids = {key: "".join(filter(str.isdigit, key)) for key in traffic}
        self.endpoints[name] = types.Endpoint(
            name=name,
            display_name=display_name,
            deployed_models=[
                types.DeployedModel(id=ids[key], display_name=key, model=f"{PARENT}/models/{key}")
                for key in traffic
            ],
            # Vertex AI leaves a model without traffic out, or lists it with a 0: both are tried.
            traffic_split={
                ids[key]: percent for key, percent in traffic.items() if percent is not None
            },
        )
        return name

    def deployed(self, endpoint):
        """The display names of what is deployed to an endpoint."""
        return {model.display_name for model in self.endpoints[endpoint].deployed_models}

    def list_endpoints(self, request, **_):
        self.calls.append("list_endpoints")
        assert request["parent"] == "projects/example-project/locations/europe-west4"
        wanted = request["filter"]
        return [
            types.Endpoint(endpoint)
            for endpoint in self.endpoints.values()
            if wanted == f'display_name="{endpoint.display_name}"'
        ]

    def get_endpoint(self, name, **_):
        self.calls.append("get_endpoint")
        return types.Endpoint(self.endpoints[name])

    def create_endpoint(self, endpoint, **_):
        self.calls.append("create_endpoint")
        made = self.endpoints[self.add_endpoint(endpoint.display_name)]
        made.encryption_spec = endpoint.encryption_spec
        return done(made)

    def upload_model(self, request, **_):
        self.calls.append("upload_model")
        made = types.Model(request.model)
        made.name = f"{PARENT}/models/{900 + len(self.models)}"
        made.version_id = "1"
        made.supported_deployment_resources_types = [
            types.Model.DeploymentResourcesType.DEDICATED_RESOURCES
        ]
        self.models[made.name] = made
        return done(types.UploadModelResponse(model=made.name, model_version_id="1"))

    def get_model(self, name, **_):
        self.calls.append("get_model")
        return self.models[name.partition("@")[0]]

    def deploy_model(self, endpoint, deployed_model, traffic_split, **_):
        self.calls.append("deploy_model")
        made = types.DeployedModel(deployed_model)
        made.id = "99"
        # TFX's own display name is the time.
        made.display_name = "new"
        there = self.endpoints.pop(endpoint)
        there.deployed_models.append(made)
        there.traffic_split = {
            made.id if key == DEPLOYING else key: percent for key, percent in traffic_split.items()
        }
        # No order of a listing is promised: what was changed last is last here.
        self.endpoints[endpoint] = there
        self.after_deployment(there)
        return done(types.DeployModelResponse(deployed_model=made))

    def undeploy_model(self, endpoint, deployed_model_id, traffic_split, **_):
        self.calls.append("undeploy_model")
        there = self.endpoints[endpoint]
        if deployed_model_id in self.unwilling:
            raise FailedPrecondition("it is unwilling")
        if there.traffic_split.get(deployed_model_id):
            raise FailedPrecondition("it has traffic")
        assert sum(traffic_split.values()) == 100
        there.traffic_split = traffic_split
        there.deployed_models = [
            model for model in there.deployed_models if model.id != deployed_model_id
        ]
        self.after_undeployment(there)
        return done()
