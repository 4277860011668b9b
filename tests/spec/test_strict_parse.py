"""The compiled files hold what the backends' own messages have fields for, and nothing else."""

from __future__ import annotations

import copy
import json

import pytest
import yaml
from google.protobuf import json_format

from tests.spec.compiled_spec import from_documents, from_job


def test_the_schema_versions_are_those_that_the_backends_take(specs):
    assert specs["vertex"].pipeline.schema_version == "2.0.0"
    # Open-source Kubeflow refuses any other.
    assert specs["kubeflow"].pipeline.schema_version == "2.1.0"


def put(document, path, value):
    """The document with another value at a path."""
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


TASK = ("root", "dag", "tasks", "Trainer")
CONTAINER = ("deploymentSpec", "executors", "Trainer_executor", "container")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("retries",), 3),
        ((*TASK, "cacheOptions"), {}),
        ((*TASK, "cachingOptions", "enableCache"), "perhaps"),
        ((*TASK, "dependentTasks"), "StatisticsGen"),
        (("components", "Trainer", "inputs"), {}),
        ((*CONTAINER, "imagePullPolicy"), "Always"),
        ((*CONTAINER, "resources", "memory"), 16),
        ((*CONTAINER, "resources", "cpuLimit"), "many"),
    ],
)
@pytest.mark.parametrize("platform", ["vertex", "kubeflow"])
def test_a_field_that_the_messages_do_not_have_is_an_error(compiled, platform, path, value):
    text = compiled[platform].read_text("utf-8")
    if platform == "vertex":
        job = json.loads(text)
        broken = put(job, ("pipelineSpec", *path), value)
        read, sound = from_job, job
    else:
        documents = list(yaml.safe_load_all(text))
        broken = [put(documents[0], path, value), *documents[1:]]
        read, sound = from_documents, documents
    read(sound)
    with pytest.raises(json_format.ParseError):
        read(broken)


def test_a_field_that_a_job_does_not_have_is_an_error(compiled):
    job = json.loads(compiled["vertex"].read_text("utf-8"))
    with pytest.raises(json_format.ParseError, match="pipelineRoot"):
        from_job({**job, "pipelineRoot": "gs://bucket"})
