"""Tensors as the JSON of TensorFlow Serving's REST `:predict`, in rows ("instances") and columns
("inputs"), with what it says of JSON that is none of these.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import numpy as np
import tensorflow as tf

from tests.serving.loopback.batching import Tensors
from tests.serving.loopback.refusal import Refusal, bad_argument

_KINDS = {np.floating: "fiu", np.integer: "iu", np.bool_: "b"}
_NAMES = {type(None): "Null", bool: "True", dict: "Object", list: "Array", str: "String"}


def parse_request(body: bytes) -> dict[str, Any]:
    """The request's object; exactly one of "instances" and "inputs" is in it."""
    if not body:
        raise bad_argument("JSON Parse error: The document is empty")
    try:
        request = json.loads(body)
    except json.JSONDecodeError as error:
        raise bad_argument(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise bad_argument(f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise bad_argument(f"JSON Value: {_short(request)} Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise bad_argument("not formatted correctly. 'signature_name' key must be a string value.")
    if "instances" in request and "inputs" in request:
        raise bad_argument(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if "instances" not in request and "inputs" not in request:
        raise bad_argument("Missing 'inputs' or 'instances' key")
    return request


def tensors_of_columns(inputs: Any, signature) -> Tensors:
    """The tensors of "inputs": each by its name, or the only one by itself."""
    known = signature.inputs
    if not isinstance(inputs, dict) or _is_base64(inputs):
        if len(known) > 1:
            raise bad_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        inputs = dict.fromkeys(known, inputs)
    found = {}
    for name in sorted(known):
        if name not in inputs:
            raise bad_argument(f"Missing named input: {name} in 'inputs' object.")
        found[name] = _tensor(inputs[name], tf.as_dtype(known[name].dtype))
    return found


def tensors_of_rows(instances: Any, signature) -> Tensors:
    """The tensors of "instances": a row each, all of one shape."""
    known = signature.inputs
    if not isinstance(instances, list):
        raise bad_argument("Excepting 'instances' to be an list/array")
    if not instances:
        raise bad_argument("No values in 'instances' array")
    named = isinstance(instances[0], dict) and not _is_base64(instances[0])
    if not named and len(known) > 1:
        raise bad_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    rows: dict[str, list[np.ndarray]] = {name: [] for name in sorted(known)}
    for number, item in enumerate(instances):
        place = f"Failed to process element: {number}"
        if named != (isinstance(item, dict) and not _is_base64(item)):
            raise bad_argument(f"Expecting {'object' if named else 'value/list'} at item {number}")
        values = item if named else dict.fromkeys(known, item)
        for name, value in values.items():
            place_of_key = f"{place} key: {name} of 'instances' list. Error: "
            if name not in known:
                raise bad_argument(f"{place_of_key}JSON object: does not have named input: {name}")
            try:
                row = _tensor(value, tf.as_dtype(known[name].dtype))
            except Refusal as refusal:
                raise bad_argument(f"{place_of_key}{refusal}") from None
            first = rows[name][0] if rows[name] else row
            if row.shape != first.shape:
                raise bad_argument(
                    f"{place_of_key}Expecting shape {_shape(first)} but got: {_shape(row)}"
                )
            rows[name].append(row)
        if set(values) != set(known):
            raise bad_argument(
                f"{place} of 'instances' list. JSON object: keys must be equal to: "
                f"{','.join(sorted(known))}"
            )
    return {name: np.stack(values) for name, values in rows.items()}


def columns(outputs: Tensors) -> dict[str, Any]:
    """The answer to "inputs": a single output stands by itself."""
    named = {name: _plain(value) for name, value in outputs.items()}
    return {"outputs": next(iter(named.values())) if len(named) == 1 else named}


def rows(outputs: Tensors) -> dict[str, Any]:
    """The answer to "instances": what each row got, a single output by itself."""
    if len({value.shape[:1] for value in outputs.values()}) != 1 or any(
        not value.ndim for value in outputs.values()
    ):
        raise bad_argument("Tensor batch size not the same for all outputs")
    named = {name: _plain(value) for name, value in outputs.items()}
    if len(named) == 1:
        return {"predictions": next(iter(named.values()))}
    split = zip(*named.values(), strict=True)
    return {"predictions": [dict(zip(named, row, strict=True)) for row in split]}


def _tensor(value: Any, dtype: tf.DType) -> np.ndarray:
    if dtype == tf.string:
        return _strings(value)
    wanted = np.dtype(dtype.as_numpy_dtype)
    kinds = next(kinds for kind, kinds in _KINDS.items() if np.issubdtype(wanted, kind))
    try:
        found = np.array(value)
    except (ValueError, OverflowError):
        found = np.array(None, object)
    if found.size and (found.dtype.kind not in kinds or _has_boolean(value, kinds)):
        _find_fault(value, kinds, dtype)
        raise bad_argument(f"JSON Value is not of expected type: {dtype.name}")
    with np.errstate(over="ignore"):
        made = found.astype(wanted)
    if made.dtype.kind == "f" and (np.isinf(made) & np.isfinite(found)).any():
        raise bad_argument("Cannot convert JSON value to float without loss of precision.")
    return made


def _has_boolean(value: Any, kinds: str) -> bool:
    """NumPy takes true among numbers for 1; the model server does not."""
    if isinstance(value, list):
        return any(_has_boolean(item, kinds) for item in value)
    return isinstance(value, bool) and "b" not in kinds


def _strings(value: Any) -> np.ndarray:
    """Strings, or base64 as {"b64": ...}, nested in lists."""
    if isinstance(value, list):
        inner = [_strings(item) for item in value]
        if len({item.shape for item in inner}) > 1:
            raise bad_argument("Encountered list at unexpected size")
        return np.array(inner, object)
    if _is_base64(value):
        try:
            return np.array(base64.b64decode(value["b64"], validate=True), object)
        except binascii.Error:
            raise bad_argument("Unable to base64 decode") from None
    if not isinstance(value, str):
        raise bad_argument(f"JSON Value: {_short(value)} is not of expected type: string")
    return np.array(value.encode(), object)


def _find_fault(value: Any, kinds: str, dtype: tf.DType) -> None:
    """Raises a Refusal at the first value that does not fit; the first ones give the shape."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None

    def walk(item: Any, level: int) -> None:
        if isinstance(item, list):
            if level >= len(shape):
                raise bad_argument(
                    f"Encountered list at unexpected level: {level} expected < {len(shape)}"
                )
            if len(item) != shape[level]:
                raise bad_argument(
                    f"Encountered list at unexpected size: {len(item)} at level: {level} "
                    f"expected size: {shape[level]}"
                )
            for inner in item:
                walk(inner, level + 1)
            return
        if level != len(shape):
            raise bad_argument(
                f"JSON Value: {_short(item)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        number = isinstance(item, int | float) and not isinstance(item, bool)
        fits = isinstance(item, bool) if "b" in kinds else number
        if not fits or ("f" not in kinds and isinstance(item, float)):
            kind = _NAMES.get(type(item), "Number")
            raise bad_argument(
                f"JSON Value: {_short(item)} Type: {kind} is not of expected type: {dtype.name}"
            )

    walk(value, 0)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _plain(value: np.ndarray) -> Any:
    if value.dtype.kind in "OS":
        return [{"b64": base64.b64encode(item).decode()} for item in value.ravel().tolist()]
    return value.tolist()


def _shape(value: np.ndarray) -> str:
    return f"[{','.join(map(str, value.shape))}]"


def _short(value: Any) -> str:
    return json.dumps(value)[:80]
