"""The pipeline's graph. Every runner builds it here; they differ only in where it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.utils import proto_utils

import schema
from components import segmentation_metrics
from components.cloud_validator.component import CloudValidator
from components.data_report.component import DataReport
from components.distribution_limits import DRIFT_PAIRS, SKEW_PAIRS, distribution_config
from components.distribution_validator.component import DistributionValidator
from components.endpoint_pusher.component import EndpointPusher
from components.evaluator.component import Evaluator
from components.evaluator.size_buckets import CLOUD_SIZE
from components.example_gen import ConvertedExampleGen, split_pattern
from components.model_server_probe.component import ModelServerProbe
from components.notification.component import Notification
from components.predicted_parts.bulk_inferrer import BulkInferrer
from components.predicted_parts.component import PredictedParts
from components.production_model.component import ProductionModel
from components.pusher.component import Pusher
from components.segmentation_metrics import DIFFERENCE_HIGH, DIFFERENCE_LOW
from components.segmentation_report.component import SegmentationReport
from components.settings import ErrorThreshold, HeadlineThreshold, Threshold
from components.transform.component import Transform
from model.bootstrap import HEADLINES
from model.export.signatures import EVALUATE_SIGNATURE
from pipeline.beam_settings import BeamSettings, beam_args
from pipeline.config import PipelineConfig, to_yaml
from pipeline.fingerprint import code_fingerprint
from pipeline.platforms import THIS_MACHINE, Platform
from pipeline.previous_statistics import PreviousStatisticsStrategy
from pipeline.runtime_parameters import DATA_ROOT, EVAL_CONFIG, TRAIN_ARGS
from schema.categories import Category, part_names
from schema.errors import UserError
from schema.record import CATEGORY, SPLITS, UNLABELLED
from serving.model_config import IMAGE_TAG

SCHEMA_FILE = str(Path(schema.__file__).parent / "schema.pbtxt")


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes, and what its data set holds.

    Attributes:
      examples: the folder that conversion wrote, with manifest.json.
      pipeline_root: where the components' artifacts go.
      serving: the folder in which each pushed model becomes a numbered version.
      metadata: ML Metadata's SQLite file; None where the platform has a store of its own.
      categories: the categories to segment, with their parts, in the order of the model's classes.
      test_parts: names (as in `part_names`) of the parts that occur in the test split; bounds on
        parts hold for these. None: not known, bounds hold for all parts.
      unlabelled: clouds that nobody labelled; a blessed model names their parts.
      data: which shapes these are, in a sentence for the report.
      training_state: where an unfinished training is kept, to be taken up by the next run; None:
        it starts anew.
      docker: whether a Docker daemon answers where the pipeline runs.
      schema_file: schema.pbtxt, as the machine that runs ImportSchemaGen sees it.
      span: the number of the span whose window is taken; `examples` then holds span-<n>/ folders,
        each with what is said there. None: the data does not come in spans.
    """

    examples: str
    pipeline_root: str
    serving: str
    metadata: str | None
    categories: tuple[Category, ...]
    test_parts: frozenset[str] | None = None
    unlabelled: int = 0
    data: str = ""
    training_state: str | None = None
    docker: bool = False
    schema_file: str = SCHEMA_FILE
    span: int | None = None


def create_pipeline(
    config: PipelineConfig, places: Places, platform: Platform = THIS_MACHINE
) -> tfx.dsl.Pipeline:
    """Builds the graph from converted shapes to a pushed model.

    Args:
      config: what to do.
      places: where to read and write.
      platform: what runs it.

    Returns:
      The pipeline, for any of TFX's runners.
    """
    categories = [category.to_json() for category in places.categories]
    data_root = platform.adjustable(DATA_ROOT, places.examples)

    # The converted shapes, split as conversion split them.
    example_gen = ConvertedExampleGen(
        input_base=data_root,
        input_config=_input_config(places, SPLITS),
        range_config=_range_config(places),
    ).with_id("ImportExampleGen")

    # What the features look like, against what they should look like.
    schema_gen = tfx.components.ImportSchemaGen(schema_file=places.schema_file)
    statistics_gen = tfx.components.StatisticsGen(
        examples=example_gen.outputs["examples"], schema=schema_gen.outputs["schema"]
    )
    example_validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )

    # How far val and test differ from train, and train from the last run's.
    skew_validator = DistributionValidator(
        statistics=statistics_gen.outputs["statistics"],
        baseline_statistics=statistics_gen.outputs["statistics"],
        config=distribution_config(config.validation.skew),
        include_split_pairs=SKEW_PAIRS,
    ).with_id("SkewValidator")
    drift_nodes, drift = _drift_nodes(config, statistics_gen, platform)

    # One page on the data; made before CloudValidator, which may stop the run.
    data_report = DataReport(
        statistics=statistics_gen.outputs["statistics"],
        anomalies=example_validator.outputs["anomalies"],
        skew=skew_validator.outputs["anomalies"],
        drift=drift,
        categories=places.categories,
        data=places.data or places.examples,
        code_fingerprint=code_fingerprint("components.data_report.executor"),
    )

    # Stops the run on anomalies, sets unsound clouds aside, and lets only sound ones through.
    cloud_validator = CloudValidator(
        examples=example_gen.outputs["examples"],
        anomalies=example_validator.outputs["anomalies"],
        settings=config.validation,
        categories=places.categories,
        code_fingerprint=code_fingerprint("components.cloud_validator.executor"),
        # Only where they may stop the run: else other limits would mean training anew.
        drift=drift if config.validation.drift.action == "stop" else None,
        skew=skew_validator.outputs["anomalies"]
        if config.validation.skew.action == "stop"
        else None,
    )
    cloud_validator.add_upstream_node(data_report)
    sound_examples = cloud_validator.outputs["sound_examples"]

    # Normalises whole clouds and keeps a sample of fixed size.
    transform = Transform(
        examples=sound_examples,
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="preprocessing.tensors.transform.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=["train"], transform=["train", "val"]),
        custom_config={
            "transform": config.transform.model_dump(mode="json"),
            "categories": categories,
            "code_fingerprint": code_fingerprint("preprocessing.tensors.transform"),
            # Only where it is used: counting is one more pass over the training clouds.
            **({"count_class_points": True} if config.training.class_weights != "none" else {}),
        },
        disable_statistics=True,
    )

    # Looks for a better recipe by short trainings, where the config asks for it.
    recipe = {
        "network": config.network.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json"),
        "points_per_cloud": config.transform.points_per_cloud,
        "categories": categories,
    }
    tuner_nodes, hyperparameters = _tuner_nodes(config, recipe, transform)

    # Trains PointNet, where asked for from the last blessed model on; val chooses the epoch.
    production = None if platform.baseline_strategy else ProductionModel(serving=places.serving)
    warm_start_nodes, base_model = _warm_start_nodes(config, production)
    state = {"training_state": places.training_state} if places.training_state else {}
    trainer = platform.trainer(
        run_fn="model.training.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        hyperparameters=hyperparameters,
        base_model=base_model,
        train_args=_adjustable_message(platform, TRAIN_ARGS, tfx.proto.TrainArgs(splits=["train"])),
        eval_args=tfx.proto.EvalArgs(splits=["val"]),
        custom_config={
            **recipe,
            **state,
            **platform.trainer_config,
            "serving": {"most_points": config.serving.most_points},
            "code_fingerprint": code_fingerprint("model.training.trainer", *_network_code(config)),
        },
    )

    # The model in production, for the new one to be measured against.
    baseline: BaseNode = production or _baseline_resolver(platform, trainer)

    # Measures both on all points of the test clouds and decides.
    evaluator = Evaluator(
        examples=sound_examples,
        example_splits=["test"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=_adjustable_message(platform, EVAL_CONFIG, evaluation_config(config, places)),
        schema=schema_gen.outputs["schema"],
    )

    # One page that a person reads.
    report = SegmentationReport(
        evaluation=evaluator.outputs["evaluation"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        examples=sound_examples,
        data_report=data_report.outputs["data_report"],
        categories=places.categories,
        config_text=to_yaml(config),
        data=places.data or places.examples,
        code_fingerprint=code_fingerprint("components.segmentation_report.executor"),
    )

    # Sees to it that a server can answer with it.
    infra_nodes, infra_blessing = _infra_nodes(config, places, trainer, sound_examples)

    # Gives a blessed model to the server.
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_blessing,
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=places.serving)
        ),
        custom_config={"keep_versions": config.serving.keep_versions},
    )
    endpoint_nodes = _endpoint_nodes(platform, trainer, evaluator, infra_blessing)

    # Tells people of a model that is not blessed.
    notification_nodes = _notification_nodes(config, places, evaluator, report, infra_blessing)

    # Names the parts of the clouds that nobody labelled, where there are any.
    prediction_nodes = _prediction_nodes(config, places, data_root, trainer, evaluator)

    components: list[BaseNode] = [
        example_gen,
        schema_gen,
        statistics_gen,
        example_validator,
        skew_validator,
        *drift_nodes,
        data_report,
        cloud_validator,
        transform,
        *tuner_nodes,
        *warm_start_nodes,
        trainer,
        baseline,
        evaluator,
        report,
        *infra_nodes,
        pusher,
        *endpoint_nodes,
        *notification_nodes,
        *prediction_nodes,
    ]
    metadata = (
        tfx.orchestration.metadata.sqlite_metadata_connection_config(places.metadata)
        if places.metadata is not None
        else None
    )
    return tfx.dsl.Pipeline(
        pipeline_name=config.pipeline_name,
        pipeline_root=places.pipeline_root,
        components=components,
        enable_cache=True,
        metadata_connection_config=metadata,
        beam_pipeline_args=[*_place_beam_work(config.beam, components)],
    )


def _place_beam_work(settings: BeamSettings, components: Iterable[BaseNode]) -> list[str]:
    """Gives each component its Beam options; returns those that the pipeline gives to all."""
    shared = beam_args(settings)
    nodes = [node for node in components if isinstance(node, BaseBeamComponent)]
    options = {node.id: beam_args(settings, node.id) for node in nodes}
    if all(own == shared for own in options.values()):
        return shared
    # TFX puts the pipeline's options before the component's; another runner must not see them.
    for node in nodes:
        node.with_beam_pipeline_args(options[node.id])
    return []


def _adjustable_message(platform: Platform, name: str, message: Any) -> Any:
    """A protobuf message that each run may replace, as JSON, where the platform offers that."""
    text = proto_utils.proto_to_json(message)
    adjustable = platform.adjustable(name, text)
    return message if adjustable is text else adjustable


def _baseline_resolver(platform: Platform, trainer: BaseNode) -> BaseNode:
    """The node that finds the blessed model in the metadata of earlier runs."""
    baseline = tfx.dsl.Resolver(
        strategy_class=platform.baseline_strategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("BaselineResolver")
    baseline.add_upstream_node(trainer)
    return baseline


def _input_config(places: Places, splits: Iterable[str]) -> tfx.proto.Input:
    """Where the record files of some splits are, as TFX's patterns."""
    folder = "" if places.span is None else "span-{SPAN}"
    return tfx.proto.Input(
        splits=[tfx.proto.Input.Split(name=s, pattern=split_pattern(s, folder)) for s in splits]
    )


def _range_config(places: Places) -> tfx.proto.RangeConfig | None:
    """The span to take, for TFX's driver; None where the data does not come in spans."""
    if places.span is None:
        return None
    return tfx.proto.RangeConfig(
        static_range=tfx.proto.StaticRange(
            start_span_number=places.span, end_span_number=places.span
        )
    )


def _drift_nodes(
    config: PipelineConfig, statistics_gen: BaseNode, platform: Platform
) -> tuple[list[BaseNode], tfx.types.BaseChannel | None]:
    """The nodes that hold the training clouds against the last run's, and what they find."""
    strategy = platform.statistics_strategy
    if strategy is None:
        return [], None
    previous = tfx.dsl.Resolver(
        strategy_class=strategy,
        statistics=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ExampleStatistics),
    ).with_id("PreviousStatisticsResolver")
    # Ours must know which statistics are this run's; TFX's own would take those for the last run's.
    if issubclass(strategy, PreviousStatisticsStrategy):
        previous.add_upstream_node(statistics_gen)
    else:
        statistics_gen.add_upstream_node(previous)
    validator = DistributionValidator(
        statistics=statistics_gen.outputs["statistics"],
        # A first run has nothing to compare with; the validator then finds nothing.
        baseline_statistics=previous.outputs["statistics"].as_optional(),
        config=distribution_config(config.validation.drift),
        include_split_pairs=DRIFT_PAIRS,
    ).with_id("DriftValidator")
    return [previous, validator], validator.outputs["anomalies"]


def _tuner_nodes(
    config: PipelineConfig, recipe: dict[str, Any], transform: BaseNode
) -> tuple[list[BaseNode], tfx.types.BaseChannel | None]:
    """The node that searches for a better recipe, and what it chose for the Trainer."""
    if config.tuning.trials == 0:
        return [], None
    tuner = tfx.components.Tuner(
        tuner_fn="model.training.tuner.tuner_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["val"]),
        custom_config={
            **recipe,
            "tuning": config.tuning.model_dump(mode="json"),
            "code_fingerprint": code_fingerprint("model.training.tuner", *_network_code(config)),
        },
    )
    return [tuner], tuner.outputs["best_hyperparameters"]


def _network_code(config: PipelineConfig) -> tuple[str, ...]:
    """The module of the config's network: an edit of another family trains nothing again."""
    return (f"model.networks.{config.network.family}.network",)


def _endpoint_nodes(
    platform: Platform,
    trainer: BaseNode,
    evaluator: BaseNode,
    infra_blessing: tfx.types.BaseChannel | None,
) -> list[BaseNode]:
    """The node that deploys a blessed model to an online endpoint, where the config names one."""
    if platform.endpoint is None:
        return []
    pusher = EndpointPusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_blessing,  # type: ignore[arg-type]
        custom_config=dict(platform.endpoint),
    )
    return [pusher]


def _prediction_nodes(
    config: PipelineConfig,
    places: Places,
    data_root: Any,
    trainer: BaseNode,
    evaluator: BaseNode,
) -> list[BaseNode]:
    """The nodes that name the parts of the unlabelled clouds, with a blessed model only.

    These clouds come in by a node of their own: no statistic, no training and no evaluation sees
    them.
    """
    if places.unlabelled == 0 or not config.predict_unlabelled:
        return []
    example_gen = ConvertedExampleGen(
        input_base=data_root,
        input_config=_input_config(places, [UNLABELLED]),
        range_config=_range_config(places),
        # Left out, TFX would deal a single split into train and eval.
        output_config=tfx.proto.Output(
            split_config=tfx.proto.SplitConfig(
                splits=[tfx.proto.SplitConfig.Split(name=UNLABELLED, hash_buckets=1)]
            )
        ),
    ).with_id("UnlabelledExampleGen")
    inferrer = BulkInferrer(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        data_spec=tfx.proto.DataSpec(example_splits=[UNLABELLED]),
        model_spec=tfx.proto.ModelSpec(model_signature_name=["serve_examples"]),
    )
    predicted = PredictedParts(
        inference_result=inferrer.outputs["inference_result"],
        categories=places.categories,
        code_fingerprint=code_fingerprint("components.predicted_parts.executor"),
    )
    return [example_gen, inferrer, predicted]


def _notification_nodes(
    config: PipelineConfig,
    places: Places,
    evaluator: BaseNode,
    report: BaseNode,
    infra_blessing: tfx.types.BaseChannel | None,
) -> list[BaseNode]:
    """The node that sends a message, where no local runner sees the end of the run."""
    if not config.notify.wanted or places.metadata is not None:
        return []
    return [
        Notification(
            evaluation=evaluator.outputs["evaluation"],
            blessing=evaluator.outputs["blessing"],
            report=report.outputs["report"],
            infra_blessing=infra_blessing,
            pipeline=config.pipeline_name,
            settings=config.notify,
            code_fingerprint=code_fingerprint("components.notification.executor"),
        )
    ]


def _infra_nodes(
    config: PipelineConfig, places: Places, trainer: BaseNode, examples: tfx.types.BaseChannel
) -> tuple[list[BaseNode], tfx.types.BaseChannel | None]:
    """The node that asks the exported model as a server would, and its blessing."""
    kind = config.infra_validation
    if kind == "auto":
        kind = "docker" if places.docker else "probe"
    if kind == "none":
        return [], None
    node: BaseNode
    if kind == "docker":
        node = tfx.components.InfraValidator(
            model=trainer.outputs["model"],
            examples=examples,
            serving_spec=tfx.proto.ServingSpec(
                tensorflow_serving=tfx.proto.TensorFlowServing(tags=[IMAGE_TAG]),
                local_docker=tfx.proto.LocalDockerConfig(),
            ),
            request_spec=tfx.proto.RequestSpec(
                tensorflow_serving=tfx.proto.TensorFlowServingRequestSpec(
                    signature_names=["serve_examples"]
                ),
                split_name="test",
                num_examples=config.probe.clouds,
            ),
        )
    else:
        node = ModelServerProbe(
            model=trainer.outputs["model"],
            examples=examples,
            settings=config.probe,
            categories=places.categories,
            code_fingerprint=code_fingerprint("components.model_server_probe.executor"),
        )
    return [node], node.outputs["blessing"]


def _warm_start_nodes(
    config: PipelineConfig, production: ProductionModel | None
) -> tuple[list[BaseNode], tfx.types.BaseChannel | None]:
    """The node that finds the model to start from. Each blessed model makes the next run train."""
    if config.training.warm_start == "none":
        return [], None
    if production is not None:
        return [], production.outputs["model"]
    resolver = tfx.dsl.Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("WarmStartResolver")
    return [resolver], resolver.outputs["model"]


def evaluation_config(config: PipelineConfig, places: Places) -> tfma.EvalConfig:
    """What TFMA measures, and the bounds that decide the blessing.

    Each bound names its slices; without one, TFMA would apply it to every slice.

    Raises:
      UserError: a bound is on a part or a category that the data does not have.
    """
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name=EVALUATE_SIGNATURE)],
        slicing_specs=[
            tfma.SlicingSpec(),
            tfma.SlicingSpec(feature_keys=[CLOUD_SIZE]),
            *([tfma.SlicingSpec(feature_keys=[CATEGORY])] if len(places.categories) > 1 else []),
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(
                        class_name=segmentation_metrics.SegmentationMetrics.__name__,
                        module=segmentation_metrics.__name__,
                        config=json.dumps(
                            {
                                "categories": [c.to_json() for c in places.categories],
                                "code_fingerprint": code_fingerprint(
                                    "components.evaluator.executor"
                                ),
                            }
                        ),
                    )
                ],
                per_slice_thresholds=_thresholds(config, places),
            )
        ],
    )


def _thresholds(
    config: PipelineConfig, places: Places
) -> dict[str, config_pb2.PerSliceMetricThresholds]:
    """Every bound of the config in TFMA's terms, by metric."""
    found: dict[str, config_pb2.PerSliceMetricThresholds] = {}

    def add(metric: str, bound: Threshold | ErrorThreshold, spec: tfma.SlicingSpec) -> None:
        for name, threshold in _tfma_thresholds(metric, bound):
            found.setdefault(name, config_pb2.PerSliceMetricThresholds()).thresholds.add(
                slicing_specs=[spec], threshold=threshold
            )

    bounds, everywhere = config.evaluation, tfma.SlicingSpec()
    for metric in (*HEADLINES, "mean_class_accuracy", "calibration_error"):
        add(metric, getattr(bounds, metric), everywhere)
    parts = part_names(places.categories)
    for metric, general, own in (
        ("part_accuracy", bounds.part_accuracy, bounds.part_accuracy_of),
        ("part_iou", bounds.part_iou, bounds.part_iou_of),
    ):
        _refuse_unknown(f"evaluation.{metric}_of", own, parts, "parts")
        for part in parts:
            if places.test_parts is None or part in places.test_parts:
                add(f"{metric}/{part}", own.get(part, general), everywhere)
    for name, thresholds in bounds.slices.items():
        feature, _, value = name.partition("=")
        if feature == CATEGORY:
            known = [category.name for category in places.categories]
            _refuse_unknown("evaluation.slices", [value] if value else [], known, "categories")
            if len(known) == 1:
                continue  # The slice would be all clouds.
        spec = (
            tfma.SlicingSpec(feature_values={feature: value})
            if value
            else tfma.SlicingSpec(feature_keys=[feature])
        )
        for metric in type(thresholds).model_fields:
            add(metric, getattr(thresholds, metric), spec)
    return found


def _refuse_unknown(key: str, named: Iterable[str], known: Sequence[str], what: str) -> None:
    unknown = [name for name in named if name not in known]
    if unknown:
        raise UserError(
            "bad_config",
            f"{key} names {unknown[0]!r}, which the data does not have; its {what} are "
            f"{', '.join(known)}.",
        )


def _tfma_thresholds(
    metric: str, bound: Threshold | ErrorThreshold
) -> Iterator[tuple[str, tfma.MetricThreshold]]:
    """One bound in TFMA's terms: the metric that is held against it, and the threshold."""
    value = change = None
    if isinstance(bound, ErrorThreshold):
        if bound.maximum is not None:
            value = tfma.GenericValueThreshold(upper_bound={"value": bound.maximum})
        if bound.largest_rise is not None:
            change = tfma.GenericChangeThreshold(
                direction=tfma.MetricDirection.LOWER_IS_BETTER,
                absolute={"value": bound.largest_rise},
            )
    else:
        if bound.minimum is not None:
            value = tfma.GenericValueThreshold(lower_bound={"value": bound.minimum})
        if bound.largest_drop is not None:
            change = _rises_by(-bound.largest_drop)
    if value is not None or change is not None:
        yield metric, tfma.MetricThreshold(value_threshold=value, change_threshold=change)
    wanted = bound.difference if isinstance(bound, HeadlineThreshold) else "any"
    if wanted != "any":
        end = DIFFERENCE_LOW if wanted == "better" else DIFFERENCE_HIGH
        yield f"{end}/{metric}", tfma.MetricThreshold(change_threshold=_rises_by(0.0))


def _rises_by(least: float) -> tfma.GenericChangeThreshold:
    return tfma.GenericChangeThreshold(
        direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={"value": least}
    )
