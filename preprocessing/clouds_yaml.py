"""clouds.yaml: the categories and parts of the user's own clouds, and how the files name them.

categories:
  Chair: [back, seat, leg, arm]    labels 0, 1, 2, 3 in this order
unlabelled: [-1, 255]              labels (or words) that mean nobody annotated the point; -1
first_label: 0                     what the first part is called in the files; 0
label: label                       name of the column, property or array with the labels; a
                                   common one
"""

from __future__ import annotations

from typing import Any

import pydantic
import yaml
from pydantic import Field

from preprocessing.cloud_columns import MAX_LABEL, is_number
from preprocessing.findings import BadInput
from preprocessing.part_annotation import is_plain
from preprocessing.settings import Settings
from schema.record import SPLITS

CLOUDS = "clouds.yaml"
_MAX_YAML_BYTES = 2**20
_MAX_DEPTH = 10


class Clouds(Settings):
    """What clouds.yaml says."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    categories: dict[str, list[str]] = Field(min_length=1)
    unlabelled: list[int | str] = Field([-1])
    first_label: int = Field(0, gt=-MAX_LABEL, lt=MAX_LABEL)
    label: str | None = Field(None, min_length=1)

    @pydantic.field_validator("unlabelled", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return value if isinstance(value, list) else [value]

    @pydantic.model_validator(mode="after")
    def _means_something(self) -> Clouds:
        for name, parts in self.categories.items():
            if not is_plain(name) or name in SPLITS:
                raise ValueError(
                    f"category {name!r} cannot be the name of its folder; take one without / that "
                    f"is none of {', '.join(SPLITS)} and begins with no dot"
                )
            if not parts or len(set(parts)) != len(parts):
                raise ValueError(f"category {name} has parts {parts}; name each once, at least one")
            for part in parts:
                if not is_plain(part) or is_number(part):
                    raise ValueError(
                        f"category {name} has a part {part!r}; give it a word that is no number"
                    )
                if part in self.unlabelled:
                    raise ValueError(f"{part} is a part of {name} and stands in unlabelled, too")
            last = self.first_label + len(parts) - 1
            for number in self.unlabelled:
                if isinstance(number, int) and self.first_label <= number <= last:
                    raise ValueError(
                        f"unlabelled has {number}, which is also the label of {name}'s part "
                        f"{parts[number - self.first_label]}; take another number there, or set "
                        "first_label"
                    )
        return self


def parse_clouds(text: bytes, file: str) -> Clouds:
    """Reads clouds.yaml.

    Args:
      text: its content.
      file: its name, for messages.

    Raises:
      BadInput: it is no YAML, lacks the categories, has a key that we do not know, or names a
        part, a category or a label twice.
    """
    if len(text) > _MAX_YAML_BYTES:
        raise _bad_yaml(f"is {len(text):,} bytes, expected a few lines", file)
    try:
        decoded = text.decode("utf-8-sig")
        _refuse_surprises(decoded, file)
        value = yaml.safe_load(decoded)
    except BadInput:
        raise
    except UnicodeDecodeError:
        raise _bad_yaml("is no text in UTF-8", file) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "a character that YAML does not know"
        raise _bad_yaml(f"is not YAML ({problem})", file, mark.line + 1 if mark else 0) from None
    # Dates that do not exist, numbers without end.
    except (ValueError, OverflowError, AttributeError, TypeError):
        raise _bad_yaml("holds a value that cannot be read", file) from None
    if not isinstance(value, dict):
        raise _bad_yaml(f"holds {str(value)[:40]!r}, expected categories: and their parts", file)
    try:
        return Clouds.model_validate(value)
    except pydantic.ValidationError as error:
        raise _bad_yaml("; ".join(map(_describe, error.errors()[:5])), file) from None


def _refuse_surprises(text: str, file: str) -> None:
    """A key that stands twice: YAML would keep the last. What can grow without end: it would."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise _bad_yaml(f"is nested more than {_MAX_DEPTH} deep", file)
        if isinstance(event, yaml.AliasEvent):
            raise _bad_yaml(
                f"has an alias (*{event.anchor}), expected plain values",
                file,
                event.start_mark.line + 1 if event.start_mark else 0,
            )
    nodes = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if key.value in seen:
                    raise _bad_yaml(f"names {key.value!r} twice", file, key.start_mark.line + 1)
                seen.add(key.value)
                nodes.append(value)
        elif isinstance(node, yaml.SequenceNode):
            nodes.extend(node.value)


def _describe(problem: Any) -> str:
    """One of pydantic's findings as words."""
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {where}; known here: {', '.join(Clouds.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not where or problem["type"] == "value_error":
        return message
    if problem["type"] == "missing":
        return f"has no {where}"
    return f"{where}: found {str(problem['input'])[:40]!r}; {message[0].lower()}{message[1:]}"


def _bad_yaml(what: str, file: str, line: int = 0) -> BadInput:
    return BadInput(
        "bad_clouds_yaml",
        f"{what}. Correct the file; the least it needs is `categories:` with a line such as "
        "`Chair: [back, seat, leg, arm]`.",
        file,
        line,
    )
