"""The graph, compiled by other runners than the local one."""

from __future__ import annotations

import json

import pytest
from tfx import v1 as tfx
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)

from pipeline.config import load_config
from pipeline.graph import Places, create_pipeline, evaluation_config
from pipeline.platforms import Platform
from schema.categories import SHAPENET_CATEGORIES
from schema.errors import UserError

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
        Platform(LatestBlessedModelStrategy, statistics_strategy),
    )
    tasks = compiled(tmp_path, pipeline)
    assert {"Trainer", "Evaluator", "Pusher", "CloudValidator", "SegmentationReport"} <= set(tasks)
    drift = {"PreviousStatisticsResolver", "DriftValidator"}
    assert set(tasks) & drift == (drift if statistics_strategy else set())
    assert producer(tasks["SkewValidator"], "baseline_statistics") == "StatisticsGen"
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
            Platform(LatestBlessedModelStrategy, None),
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


def test_bounds_hold_for_the_parts_that_the_test_split_has():
    config = load_config("airplane")
    found = evaluation_config(config, places("x", test_parts=frozenset({"wing"})))
    bounds = set(found.metrics_specs[0].per_slice_thresholds)
    assert bounds == {"point_accuracy", "instance_miou", "part_accuracy/wing", "part_iou/wing"}


def test_a_part_may_have_a_bound_of_its_own():
    config = load_config("airplane")
    evaluation = config.evaluation.model_validate({"part_iou_of": {"wing": {"minimum": 0.9}}})
    config = config.model_copy(update={"evaluation": evaluation})
    found = evaluation_config(config, places("x"))
    bounds = found.metrics_specs[0].per_slice_thresholds

    def floor(key: str) -> float:
        return bounds[key].thresholds[0].threshold.value_threshold.lower_bound.value

    assert floor("part_iou/wing") == 0.9
    assert floor("part_iou/body") == evaluation.part_iou.minimum


def with_bounds(**bounds):
    config = load_config("airplane")
    evaluation = config.evaluation.model_validate(bounds)
    return config.model_copy(update={"evaluation": evaluation})


def test_bounds_on_slices_errors_and_differences_in_tfmas_terms():
    config = with_bounds(
        instance_miou={"difference": "better"},
        calibration_error={"maximum": 0.1, "largest_rise": 0.02},
        slices={
            "cloud_size": {"point_accuracy": {"minimum": 0.6}},
            "category=Chair": {"instance_miou": {"minimum": 0.7}},
        },
    )
    both = places("x", categories=SHAPENET_CATEGORIES)
    bounds = evaluation_config(config, both).metrics_specs[0].per_slice_thresholds
    difference = bounds["difference_low/instance_miou"].thresholds[0].threshold.change_threshold
    assert difference.absolute.value == 0
    error = bounds["calibration_error"].thresholds[0].threshold
    assert error.value_threshold.upper_bound.value == 0.1
    assert error.change_threshold.absolute.value == 0.02
    overall, by_size = bounds["point_accuracy"].thresholds
    assert not overall.slicing_specs[0].feature_keys
    assert list(by_size.slicing_specs[0].feature_keys) == ["cloud_size"]
    (chairs,) = bounds["instance_miou"].thresholds
    assert dict(chairs.slicing_specs[0].feature_values) == {"category": "Chair"}


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"part_iou_of": {"engin": {"minimum": 0.5}}}, "part_iou_of names 'engin', which"),
        ({"slices": {"category=Boat": {}}}, "evaluation.slices names 'Boat', which the data does"),
    ],
)
def test_a_bound_on_what_the_data_does_not_have_is_refused(bounds, words):
    with pytest.raises(UserError, match=words):
        evaluation_config(with_bounds(**bounds), places("x"))


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
