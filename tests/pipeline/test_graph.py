"""The graph, compiled by other runners than the local one."""

from __future__ import annotations

import json

import pytest
from tfx import v1 as tfx
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy

from pipeline.config import load_config
from pipeline.graph import Places, create_pipeline
from pipeline.platforms import Platform
from schema.categories import SHAPENET_CATEGORIES

OPTIONAL = {"Tuner", "UnlabelledExampleGen", "BulkInferrer", "PredictedParts"}


def places(root: str, **others) -> Places:
    return Places(
        examples=f"{root}/data",
        pipeline_root=f"{root}/artifacts",
        serving=f"{root}/serving",
        **{"metadata": None, "categories": SHAPENET_CATEGORIES[:1], **others},
    )


def compiled(folder, pipeline):
    """The tasks of the pipeline's specification for Kubeflow, by name."""
    spec = folder / "pipeline.json"
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(default_image="image"),
        output_dir=str(folder),
        output_filename=spec.name,
    )
    runner.run(pipeline, write_out=True)
    return json.loads(spec.read_text())["pipelineSpec"]["root"]["dag"]["tasks"]


def producer(task, key):
    """The task that makes a task's input."""
    (found,) = (
        inputs["taskOutputArtifact"]["producerTask"]
        for name, inputs in task["inputs"]["artifacts"].items()
        if name == key
    )
    return found


@pytest.mark.parametrize("statistics_strategy", [LatestArtifactStrategy, None])
def test_kubeflow_compiles_the_same_graph(tmp_path, statistics_strategy):
    pipeline = create_pipeline(
        load_config("airplane"),
        places("gs://bucket"),
        Platform(False, statistics_strategy),
    )
    tasks = compiled(tmp_path, pipeline)
    assert {"Trainer", "Evaluator", "Pusher", "CloudValidator", "SegmentationReport"} <= set(tasks)
    drift = {"PreviousStatisticsResolver", "DriftValidator"}
    assert set(tasks) & drift == (drift if statistics_strategy else set())
    assert producer(tasks["SkewValidator"], "baseline_statistics") == "StatisticsGen"
    assert producer(tasks["Evaluator"], "baseline_model") == "ProductionModel"
    assert producer(tasks["ProductionModel"], "candidate") == "Trainer"
    # The page is there before data can stop the run.
    assert "DataReport" in tasks["CloudValidator"]["dependentTasks"]
    if statistics_strategy:
        assert "PreviousStatisticsResolver" in tasks["StatisticsGen"]["dependentTasks"]
    # What is optional is off.
    assert not OPTIONAL & set(tasks)
    assert "hyperparameters" not in tasks["Trainer"]["inputs"]["artifacts"]


def test_kubeflow_compiles_the_optional_nodes(tmp_path):
    config = load_config("airplane")
    tuning = config.tuning.model_validate({"trials": 3})
    notify = config.notify.model_validate({"webhook_file": "gs://bucket/webhook"})
    tasks = compiled(
        tmp_path,
        create_pipeline(
            config.model_copy(update={"tuning": tuning, "notify": notify}),
            places("gs://bucket", unlabelled=2),
            Platform(False, None),
        ),
    )
    assert set(tasks) >= OPTIONAL
    assert producer(tasks["Notification"], "evaluation") == "Evaluator"
    assert producer(tasks["Notification"], "report") == "SegmentationReport"
    assert producer(tasks["Tuner"], "examples") == "Transform"
    assert producer(tasks["Trainer"], "hyperparameters") == "Tuner"
    assert producer(tasks["BulkInferrer"], "model_blessing") == "Evaluator"
    assert producer(tasks["PredictedParts"], "inference_result") == "BulkInferrer"
    # Nothing but bulk inference sees the unlabelled clouds.
    users = {name for name, task in tasks.items() if "UnlabelledExampleGen" in json.dumps(task)}
    assert users == {"UnlabelledExampleGen", "BulkInferrer"}


def ids(config, **others):
    return {component.id for component in create_pipeline(config, places("x", **others)).components}


def test_prediction_can_be_declined_and_needs_unlabelled_clouds():
    config = load_config("airplane")
    declined = config.model_copy(update={"predict_unlabelled": False})
    assert ids(config, unlabelled=1) - ids(config) == OPTIONAL - {"Tuner"}
    assert ids(declined, unlabelled=1) == ids(config)


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_shifts_reach_cloud_validator_only_where_they_may_stop_the_run(action):
    config = load_config("airplane")
    limits = {"action": action, "points": 0.3}
    validation = config.validation.model_validate({"drift": limits, "skew": limits})
    pipeline = create_pipeline(config.model_copy(update={"validation": validation}), places("x"))
    (validator,) = (c for c in pipeline.components if c.id == "CloudValidator")
    assert ({"drift", "skew"} <= set(validator.inputs)) == (action == "stop")
    # Another limit alone must not validate, and train, anew.
    assert "0.3" not in validator.exec_properties["settings"]


def test_what_training_asks_of_the_graph_is_there_only_then():
    config = load_config("airplane")
    training = config.training.model_copy(
        update={"warm_start": "last_blessed", "class_weights": "inverse_sqrt"}
    )
    for asked, found in ((config, False), (config.model_copy(update={"training": training}), True)):
        pipeline = create_pipeline(asked, places("x", training_state="kept"))
        nodes = {node.id: node for node in pipeline.components}
        assert ("WarmStartResolver" in nodes) == found
        assert ("base_model" in nodes["Trainer"].inputs) == found
        assert (
            "count_class_points" in nodes["Transform"].exec_properties["custom_config"]
        ) == found
        assert '"training_state": "kept"' in nodes["Trainer"].exec_properties["custom_config"]


def test_a_cluster_gets_the_notification_as_a_node_and_the_local_runner_sends_it_itself():
    config = load_config("airplane")
    notify = config.notify.model_validate({"webhook_variable": "HOOK"})
    asked = config.model_copy(update={"notify": notify})
    assert ids(asked) - ids(config) == {"Notification"}
    assert ids(asked, metadata="x.sqlite") == ids(config)
    (node,) = (c for c in create_pipeline(asked, places("x")).components if c.id == "Notification")
    assert {"evaluation", "blessing", "report", "infra_blessing"} <= set(node.inputs)
