"""The one config object: read once, checked before any work, printed, stored with the run."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pydantic
import yaml
from annotated_types import Ge

from components.evaluator.settings import EvaluationSettings
from components.settings import NotifySettings, ProbeSettings
from model.export.settings import ServingSettings
from model.networks.families import NetworkSettings
from model.training.settings import TrainingSettings, TuningSettings
from pipeline.beam_settings import BeamSettings
from pipeline.cluster_settings import KubeflowSettings, VertexSettings
from preprocessing.checks.settings import ValidationSettings
from preprocessing.settings import DataSettings, TransformSettings
from schema.errors import UserError
from schema.settings import Settings

# Sections on where a run works, not on what it makes: no page shows them, and none is made again
# when they change.
SURROUNDINGS = frozenset({"beam", "vertex", "kubeflow", "notify"})

Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class SpanSettings(Settings):
    """Data that grows by numbered deliveries."""

    window: Annotated[int, Ge(1)] = 3
    """Number of spans that a run with a span takes: that span and the newest before it."""


class PipelineConfig(Settings):
    """Everything that a run depends on.

    Each section is defined in the package that uses it. A YAML file may omit any key, which then
    has its default.
    """

    name: Name = "pointnet_parts"
    """Name of the pipeline and of the served model: small letters, digits and _."""

    data: DataSettings = DataSettings()
    """Which shapes are read, and how they are split."""

    spans: SpanSettings = SpanSettings()
    """Data that grows; used only if a run is given a span."""

    validation: ValidationSettings = ValidationSettings()
    """Which clouds are rejected, and how many are too many."""

    transform: TransformSettings = TransformSettings()
    """The sample of each cloud that training draws from."""

    network: NetworkSettings = NetworkSettings()
    """The network's family and layers."""

    training: TrainingSettings = TrainingSettings()
    """The training recipe."""

    tuning: TuningSettings = TuningSettings()
    """The search for a better recipe before training."""

    evaluation: EvaluationSettings = EvaluationSettings()
    """What a model must reach to be blessed."""

    infra_validation: Literal["auto", "docker", "probe", "none"] = "auto"
    """What checks, before the model is pushed, that a server can serve it. docker: TFX's
    InfraValidator with TensorFlow Serving's image; probe: ModelServerProbe, without Docker; auto:
    whichever this machine supports."""

    probe: ProbeSettings = ProbeSettings()
    """How ModelServerProbe tests the exported model."""

    serving: ServingSettings = ServingSettings()
    """Limits of the exported model and of the versions that are kept."""

    beam: BeamSettings = BeamSettings()
    """Where the Beam work runs."""

    vertex: VertexSettings = VertexSettings()
    """Vertex AI Pipelines."""

    kubeflow: KubeflowSettings = KubeflowSettings()
    """Kubeflow Pipelines."""

    notify: NotifySettings = NotifySettings()
    """Where a message is sent if a run does not end in a blessed model."""

    predict_unlabelled: bool = True
    """Predict the parts of unlabelled clouds with a blessed model."""

    demo_shapes: Annotated[int, Ge(0)] = 0
    """Made-up shapes of each category to create if no data is given; 0: none."""

    @property
    def pipeline_name(self) -> str:
        """The name in the only form that every platform takes: hyphens instead of underscores."""
        return self.name.replace("_", "-")

    @pydantic.model_validator(mode="after")
    def _draw_fits(self) -> PipelineConfig:
        draw = self.training.points_per_draw
        if draw is not None and draw > self.transform.points_per_cloud:
            raise ValueError(
                f"training.points_per_draw is {draw}, but Transform keeps only "
                f"{self.transform.points_per_cloud} points of a cloud "
                "(transform.points_per_cloud); lower the one or raise the other"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _batch_trains(self) -> PipelineConfig:
        least = self.network.min_clouds_per_device
        if self.training.batch_size < least:
            raise ValueError(
                f"training.batch_size is {self.training.batch_size}; this network trains with "
                f"batches of at least {least} clouds on a device"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _search_is_of_this_training(self) -> PipelineConfig:
        if self.tuning.trials and self.training.warm_start != "none":
            raise ValueError(
                "tuning.trials and training.warm_start exclude each other: trials start from "
                "random weights, so they do not show what suits a trained network; set one of "
                "them to its default"
            )
        return self


def with_category(config: PipelineConfig, category: str) -> PipelineConfig:
    """The config for another category; "" keeps its own."""
    if not category:
        return config
    data = config.data.model_copy(update={"category": category})
    return config.model_copy(update={"data": data})


def preset_names() -> list[str]:
    """The names that can stand for a file: airplane, all, demo, keras_example, ..."""
    folder = resources.files("pipeline") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_config(name_or_path: str) -> PipelineConfig:
    """Reads a preset by its name, or a YAML file by its path.

    Args:
      name_or_path: e.g. "demo", or "my_config.yaml".

    Returns:
      The config, defaults filled in.

    Raises:
      UserError: no such preset or file, not YAML, an unknown key, a value that cannot work.
    """
    if name_or_path in preset_names():
        text = (resources.files("pipeline") / "presets" / f"{name_or_path}.yaml").read_text("utf-8")
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(
                "bad_config",
                f"config {name_or_path!r} is neither a preset ({', '.join(preset_names())}) nor a "
                "YAML file that exists",
            )
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                "bad_config", f"config {name_or_path} cannot be read: {error}"
            ) from error
    return parse_config(text, name_or_path)


def parse_config(text: str, source: str) -> PipelineConfig:
    """Reads a config from YAML text; `source` is what error messages call it."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(
            "bad_config", f"config {source} is not YAML: {_what_and_where(error)}"
        ) from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UserError(
            "bad_config",
            f"config {source} holds a {type(values).__name__}; expected keys and values, "
            "such as `training: {epochs: 50}`",
        )
    try:
        return PipelineConfig.model_validate(
            _filled_in(PipelineConfig().model_dump(mode="json"), values)
        )
    except pydantic.ValidationError as error:
        raise UserError(
            "bad_config",
            f"config {source}: " + "; ".join(_describe(problem) for problem in error.errors()),
        ) from error


def _filled_in(defaults: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The defaults, with a file's values put in key by key: a section may name some of its keys."""
    filled = dict(defaults)
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(defaults.get(key), dict)
        filled[key] = _filled_in(defaults[key], value) if both else value
    return filled


def _describe(problem: Any) -> str:
    """One of pydantic's findings as a sentence."""
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _keys_at(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"
        return f"unknown key {where}{hint}"
    message = problem["msg"].removeprefix("Value error, ")
    if not where:
        return message
    # Values below notify may be secrets: they are not repeated.
    if problem["type"] == "value_error" or problem["loc"][:1] == ("notify",):
        return f"{where}: {message}"
    if problem["type"] == "model_type":
        keys = ", ".join(_keys_at(problem["loc"])[:3])
        return f"{where}: found {problem['input']!r}; expected a section with keys ({keys}, ...)"
    return f"{where}: found {problem['input']!r}; {message[0].lower()}{message[1:]}"


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """The keys that a section knows."""
    section: Any = PipelineConfig
    for part in location:
        if get_origin(section) is dict:  # a key of the user's own, such as a part's name
            section = get_args(section)[1]
            continue
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field is not None else None
    return sorted(getattr(section, "model_fields", {}))


def _what_and_where(error: yaml.YAMLError) -> str:
    """In one line; PyYAML says also where the construct began, and shows the text."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', '')}"


def to_yaml(config: PipelineConfig, without: Collection[str] = ()) -> str:
    """The config, defaults included, as YAML that `load_config` reads back; to print and store.

    Arguments of notify.command are masked: `load_config` asks for them. `without` leaves sections
    out.
    """
    values = {**config.model_dump(mode="json"), "notify": config.notify.masked()}
    shown = {name: value for name, value in values.items() if name not in without}
    return yaml.safe_dump(shown, sort_keys=False)


def describe_fields() -> str:
    """Every key with its default and its meaning, as a Markdown table."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key, default, meaning in _fields(PipelineConfig(), ""):
        rows.append(f"| `{key}` | `{default}` | {meaning} |")
    return "\n".join(rows)


def fields_for_terminal(width: int) -> str:
    """The same as text of that many columns: each key with its default, its meaning below it."""
    lines = []
    for key, default, meaning in _fields(PipelineConfig(), ""):
        lines += textwrap.wrap(f"{key}: {default}", width, subsequent_indent="    ")
        lines += textwrap.wrap(meaning, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def _choices(annotation: Any) -> list[str]:
    """The values that a Literal, alone or among other types, takes."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [choice for inner in get_args(annotation) for choice in _choices(inner)]


def _fields(section: Settings, prefix: str) -> list[tuple[str, str, str]]:
    """Key, default and meaning of each field; where only some values are taken, which."""
    rows = []
    for name, field in type(section).model_fields.items():
        default = getattr(section, name)
        if isinstance(default, Settings):
            rows += _fields(default, f"{prefix}{name}.")
        else:
            plain = list(default) if isinstance(default, tuple) else default
            text = yaml.safe_dump(plain, default_flow_style=True, width=1000)
            text = text.replace("...", "").strip()
            meaning = " ".join(str(field.description).split())
            if choices := _choices(field.annotation):
                meaning += f" One of: {', '.join(choices)}."
            rows.append((f"{prefix}{name}", text, meaning))
    return rows
