"""The one config object: read once, checked before any work, printed, stored with the run."""

from __future__ import annotations

import difflib
import textwrap
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pydantic
import yaml
from pydantic import Field

from components.settings import (
    EvaluationSettings,
    NotifySettings,
    ProbeSettings,
    ValidationSettings,
)
from model.settings import NetworkSettings, ServingSettings, TrainingSettings, TuningSettings
from pipeline.beam_settings import BeamSettings
from pipeline.cluster_settings import KubeflowSettings, VertexSettings
from pipeline.config_error import ConfigError as ConfigError
from preprocessing.settings import DataSettings, Settings, SpanSettings, TransformSettings


class PipelineConfig(Settings):
    """Everything that a run depends on.

    The sections stand in the room whose work they steer; a YAML file may leave out any key, and
    then has the default.
    """

    name: str = Field(
        "pointnet_parts",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="The pipeline's and the served model's name: small letters, digits and _.",
    )
    data: DataSettings = Field(DataSettings(), description="Which shapes, and how they are split.")
    spans: SpanSettings = Field(
        SpanSettings(), description="Data that grows; not used unless a run is given a span."
    )
    validation: ValidationSettings = Field(
        ValidationSettings(), description="Which clouds are refused, and how many are too many."
    )
    transform: TransformSettings = Field(
        TransformSettings(), description="The sample of each cloud that training draws from."
    )
    network: NetworkSettings = Field(NetworkSettings(), description="PointNet's layers.")
    training: TrainingSettings = Field(TrainingSettings(), description="The recipe.")
    tuning: TuningSettings = Field(
        TuningSettings(), description="The search for a better recipe before training."
    )
    evaluation: EvaluationSettings = Field(
        EvaluationSettings(), description="What a model must reach to be blessed."
    )
    infra_validation: Literal["auto", "docker", "probe", "none"] = Field(
        "auto",
        description="What sees to it that a server can serve the model before it is pushed: "
        "TFX's InfraValidator with TensorFlow Serving's image (docker), ModelServerProbe without "
        "Docker (probe), or whichever this machine has (auto).",
    )
    probe: ProbeSettings = Field(
        ProbeSettings(), description="What ModelServerProbe asks of the exported model."
    )
    serving: ServingSettings = Field(
        ServingSettings(), description="What the exported model answers."
    )
    beam: BeamSettings = Field(BeamSettings(), description="Where the Beam work runs.")
    vertex: VertexSettings = Field(VertexSettings(), description="Vertex AI Pipelines.")
    kubeflow: KubeflowSettings = Field(KubeflowSettings(), description="Kubeflow Pipelines.")
    notify: NotifySettings = Field(
        NotifySettings(),
        description="Who is told of a run that does not end in a blessed model.",
    )
    predict_unlabelled: bool = Field(
        True, description="Have a blessed model name the parts of clouds that nobody labelled."
    )
    demo_shapes: int = Field(
        0,
        ge=0,
        description="Made-up shapes of each category to make when no data is given; 0: none.",
    )

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
      ConfigError: no such preset or file, not YAML, an unknown key, a value that cannot work.
    """
    if name_or_path in preset_names():
        text = (resources.files("pipeline") / "presets" / f"{name_or_path}.yaml").read_text("utf-8")
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise ConfigError(
                f"config {name_or_path!r} is neither a preset ({', '.join(preset_names())}) nor a "
                "YAML file that exists"
            )
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"config {name_or_path} cannot be read: {error}") from error
    return parse_config(text, name_or_path)


def parse_config(text: str, source: str) -> PipelineConfig:
    """Reads a config from YAML text; `source` is what error messages call it."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"config {source} is not YAML: {_what_and_where(error)}") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"config {source} holds a {type(values).__name__}; expected keys and values, "
            "such as `training: {epochs: 50}`"
        )
    try:
        return PipelineConfig.model_validate(
            _filled_in(PipelineConfig().model_dump(mode="json"), values)
        )
    except pydantic.ValidationError as error:
        raise ConfigError(
            f"config {source}: " + "; ".join(_describe(problem) for problem in error.errors())
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
    if problem["type"] == "value_error":
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


def to_yaml(config: PipelineConfig) -> str:
    """The whole config, defaults included, as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


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
            meaning = str(field.description)
            if choices := _choices(field.annotation):
                meaning += f" One of: {', '.join(choices)}."
            rows.append((f"{prefix}{name}", text, meaning))
    return rows
