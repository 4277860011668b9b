"""The graph, compiled by other runners than the local one."""

from __future__ import annotations

import json

from tfx import v1 as tfx
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)

from pipeline.config import load_config
from pipeline.graph import Places, create_pipeline, evaluation_config
from schema.categories import SHAPENET_CATEGORIES


def places(root: str, **others) -> Places:
    return Places(
        examples=f"{root}/data",
        pipeline_root=f"{root}/artifacts",
        serving=f"{root}/serving",
        metadata=None,
        **{"categories": SHAPENET_CATEGORIES[:1], **others},
    )


def test_kubeflow_compiles_the_same_graph(tmp_path):
    pipeline = create_pipeline(
        load_config("airplane"), places("gs://bucket"), LatestBlessedModelStrategy
    )
    spec = tmp_path / "pipeline.json"
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(default_image="image"),
        output_dir=str(tmp_path),
        output_filename=spec.name,
    )
    runner.run(pipeline, write_out=True)
    written = json.loads(spec.read_text())
    tasks = written["pipelineSpec"]["root"]["dag"]["tasks"]
    assert {"Trainer", "Evaluator", "Pusher", "CloudValidator", "SegmentationReport"} <= set(tasks)


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
