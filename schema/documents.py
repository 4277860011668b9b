"""JSON and YAML files that people write or edit: parsed, validated, with errors they can act on."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from schema.errors import UserError

T = TypeVar("T")
_PROBLEMS_SHOWN = 5


def parse_json(content: bytes, code: str, file: str) -> Any:
    """Parses UTF-8 JSON; UserError with `code` if it is invalid or a key occurs twice."""
    text = _decoded(content, code, file)
    try:
        return _writable(json.loads(text, object_pairs_hook=_unique_keys))
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        message = f"invalid JSON ({error!s:.80}). Correct or restore the file."
        raise UserError(code, message, file, line) from None


def parse_yaml(content: bytes, code: str, file: str) -> Any:
    """Parses UTF-8 YAML of plain values; UserError with `code` as in `parse_json`."""
    text = _decoded(content, code, file)
    try:
        return _writable(yaml.load(text, Loader=_UniqueKeysLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UserError(code, f"invalid YAML ({error.problem}).", file, line) from None
    # Control characters, dates that do not exist, recursion without end.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise UserError(code, f"invalid YAML ({first:.80}).", file) from None


def validate(kind: type[T], value: object, code: str, file: str = "") -> T:
    """Plain values as a pydantic model or other annotated type; UserError names up to 5 fields."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problems = error.errors()
        described = [_describe(problem, kind) for problem in problems[:_PROBLEMS_SHOWN]]
        more = len(problems) - len(described)
        message = "; ".join(described) + (f"; and {more} more problems" if more else "")
        raise UserError(code, f"{message}.", file) from None


def _decoded(content: bytes, code: str, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"found the byte 0x{content[error.start]:02x}, expected text in UTF-8."
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(code, message, file, line) from None


def _writable(value: Any) -> Any:
    r"""The value; ValueError where an escape such as \\ud800 is half a character."""
    json.dumps(value, ensure_ascii=False, default=str, skipkeys=True).encode()
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {repeated!r:.60} occurs twice")
    return value


class _UniqueKeysLoader(yaml.SafeLoader):
    """PyYAML's safe loader keeps the last of two equal keys; this one refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value!r:.60} occurs twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _describe(problem: Any, kind: Any) -> str:
    """One of pydantic's problems as: field: found X; what is expected."""
    field = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = ", ".join(getattr(kind, "model_fields", ()))
        return f"unknown key {field}" + (f" (known: {known})" if known and "." not in field else "")
    if problem["type"] == "missing":
        return f"{field} is missing"
    if problem["type"] == "value_error":
        return f"{field}: {message}" if field else message
    return f"{field or 'value'}: found {problem['input']!r:.60}; {message[0].lower()}{message[1:]}"
