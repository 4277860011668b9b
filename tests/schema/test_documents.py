from typing import Annotated

import pytest
from annotated_types import Gt

from schema.documents import parse_json, parse_yaml, validate
from schema.errors import UserError
from schema.settings import Settings


class Inner(Settings):
    count: Annotated[int, Gt(0)] = 1
    """How many."""


class Outer(Settings):
    name: str
    inner: Inner = Inner()


def error_of(call, *arguments):
    with pytest.raises(UserError) as raised:
        call(*arguments, "bad_file", "a/file")
    assert (raised.value.code, raised.value.file) == ("bad_file", "a/file")
    return raised.value


@pytest.mark.parametrize(
    ("parse", "content", "line", "fact"),
    [
        (parse_json, b'{\n"a": 1,\n', 3, ""),
        (parse_json, b'{"a": {"b": 1, "b": 2}}', 0, "'b'"),
        (parse_json, b'\n{"\xff": 1}', 2, "0xff"),
        (parse_json, b'{"a": "\\ud800"}', 0, "surrogate"),
        (parse_json, b"[" * 100_000, 0, "recursion"),
        (parse_yaml, b"a: 1\nb: 2\na: 3\n", 3, "'a'"),
        (parse_yaml, b"a: {x: 1,\n  x: 2}\n", 2, "'x'"),
        (parse_yaml, b"a: [1,\nb: }\n", 2, ""),
        (parse_yaml, b"a: \xe9\n", 1, "0xe9"),
        (parse_yaml, b"a: \x00\n", 0, "special characters"),
        (parse_yaml, b"a: 2026-99-99\n", 0, "month"),
        (parse_yaml, b"!!python/object/apply:os.system [ls]\n", 1, "tag"),
    ],
)
def test_a_damaged_document_is_an_error_with_its_line(parse, content, line, fact):
    error = error_of(parse, content)
    assert error.line == line
    assert fact in error.message


def test_documents_are_read_with_and_without_a_byte_order_mark():
    for mark in (b"", b"\xef\xbb\xbf"):
        assert parse_json(mark + b'{"a": [1, "\xc3\xbc"]}', "", "") == {"a": [1, "ü"]}
        assert parse_yaml(mark + b"a: [1, \xc3\xbc]\nb: 1", "", "") == {"a": [1, "ü"], "b": 1}


def test_plain_values_become_a_settings_object():
    read = validate(Outer, {"name": "x", "inner": {"count": 3}}, "bad_file")
    assert read == Outer(name="x", inner=Inner(count=3))
    assert validate(dict[str, int], {"a": 1}, "bad_file") == {"a": 1}


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        ({}, ["name"]),
        ({"name": "x", "nmae": 1}, ["nmae", "name, inner"]),
        ({"name": "x", "inner": {"count": 0}}, ["inner.count", "0", "greater than 0"]),
        ({"name": 1, "inner": 2}, ["name", "1", "inner", "2"]),
        ([1], ["[1]"]),
    ],
)
def test_invalid_values_are_named(value, facts):
    error = error_of(validate, Outer, value)
    assert not [fact for fact in facts if fact not in error.message]


def test_only_the_first_problems_are_listed():
    error = error_of(validate, dict[str, int], {str(i): "x" for i in range(20)})
    assert "15 more" in error.message


def test_a_settings_object_describes_its_fields_and_never_changes():
    assert Inner.model_fields["count"].description == "How many."
    with pytest.raises(ValueError, match="frozen"):
        Inner().count = 2
