"""The pipeline's graph. Every runner builds it here; they differ only in where it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.utils import proto_utils

import schema
from components.anomalies import DRIFT_PAIRS, SKEW_PAIRS, distribution_config
from components.artifacts import categories_json
from components.bulk_inferrer import BulkInferrer
from components.cloud_validator import CloudValidator
from components.data_report import DataReport
from components.distribution_validator import DistributionValidator
from components.endpoint_pusher import EndpointPusher
from components.evaluator.bounds import evaluation_config
from components.evaluator.component import Evaluator
from components.example_gen import ConvertedExampleGen, split_pattern
from components.model_server_probe import ModelServerProbe
from components.notification import Notification
from components.predicted_parts import PredictedParts
from components.production_model import ProductionModel
from components.pusher import Pusher
from components.segmentation_report import SegmentationReport
from components.transform import Transform
from pipeline.baseline import (
    BLESSING,
    MODEL,
    LatestBlessedStrategy,
    LatestOtherBlessedStrategy,
)
from pipeline.beam_settings import BeamSettings, beam_args
from pipeline.config import SURROUNDINGS, PipelineConfig, to_yaml
from pipeline.fingerprint import code_fingerprint
from pipeline.platforms import THIS_MACHINE, Platform
from pipeline.previous_statistics import PreviousStatisticsStrategy
from pipeline.runtime_parameters import DATA_ROOT, EVAL_CONFIG, TRAIN_ARGS
from schema.categories import Category
from schema.record import SPLITS, UNLABELLED
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
        categories=categories_json(places.categories),
        data=places.data or data_root,
        code_fingerprint=code_fingerprint("components.data_report"),
    )

    # Stops the run on anomalies, sets unsound clouds aside, and lets only sound ones through.
    cloud_validator = CloudValidator(
        examples=example_gen.outputs["examples"],
        anomalies=example_validator.outputs["anomalies"],
        # The limits of shifts act in DistributionValidator: changing them must not train again.
        settings=config.validation.model_dump_json(exclude={"drift", "skew"}),
        categories=categories_json(places.categories),
        code_fingerprint=code_fingerprint("components.cloud_validator"),
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
    warm_start_nodes, base_model = _warm_start_nodes(config, places, platform)
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

    # The model in production, for the new one to be compared with.
    if platform.resolves_models:
        baseline = _model_resolver(places, LatestOtherBlessedStrategy, "BaselineResolver")
        baseline.add_upstream_node(trainer)
    else:
        baseline = ProductionModel(serving=places.serving, candidate=trainer.outputs["model"])

    # Measures both on all points of the test clouds and decides.
    eval_config = evaluation_config(
        config.evaluation, places.categories, code_fingerprint("components.evaluator.component")
    )
    evaluator = Evaluator(
        examples=sound_examples,
        example_splits=["test"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=_adjustable_message(platform, EVAL_CONFIG, eval_config),
        schema=schema_gen.outputs["schema"],
    )

    # One page that a person reads.
    report = SegmentationReport(
        evaluation=evaluator.outputs["evaluation"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        examples=sound_examples,
        data_report=data_report.outputs["data_report"],
        config=to_yaml(config, SURROUNDINGS),
        data=places.data or data_root,
        code_fingerprint=code_fingerprint("components.segmentation_report"),
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


def _model_resolver(places: Places, strategy: type[LatestBlessedStrategy], name: str) -> BaseNode:
    """The node that finds a blessed model in the metadata of earlier runs."""
    return tfx.dsl.Resolver(
        strategy_class=strategy,
        config={"serving": places.serving, "artifacts": places.pipeline_root},
        **{
            MODEL: tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
            BLESSING: tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
        },
    ).with_id(name)


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
        categories=categories_json(places.categories),
        code_fingerprint=code_fingerprint("components.predicted_parts"),
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
            settings=config.notify.model_dump_json(),
            code_fingerprint=code_fingerprint("components.notification"),
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
            settings=config.probe.model_dump_json(),
            code_fingerprint=code_fingerprint("components.model_server_probe"),
        )
    return [node], node.outputs["blessing"]


def _warm_start_nodes(
    config: PipelineConfig, places: Places, platform: Platform
) -> tuple[list[BaseNode], tfx.types.BaseChannel | None]:
    """The node that finds the model to start from. Each blessed model makes the next run train."""
    if config.training.warm_start == "none":
        return [], None
    if platform.resolves_models:
        node = _model_resolver(places, LatestBlessedStrategy, "WarmStartResolver")
    else:
        node = ProductionModel(serving=places.serving).with_id("WarmStartModel")
    return [node], node.outputs["model"]
