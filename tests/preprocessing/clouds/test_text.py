"""Numbers worked out by hand, and errors with their line."""

import numpy as np
import pytest

from preprocessing.clouds.text import read_labels, read_numbers
from schema.errors import UserError

EXPECTED = np.array([[0.25, -1.5, 3.0], [0.125, 0.0, -0.5]])


@pytest.mark.parametrize(
    "text",
    [
        b"0.250 -1.500 3.000\n0.125 0.000 -0.500\n",
        b"0.25 -1.5 3\n0.125 0 -0.5\n",
        b"  0.25   -1.5 \t 3.0  \n 0.125 0.0 -.5\n\n \t\n",
        b"2.5e-1 -15e-1 +3E0\n1.25e-01 0e0 -5.0e-1\n",
        b"0.250 -1.500\v3.000\n\f0.125 0.000 -0.500\n\f",
    ],
)
def test_reads_every_way_of_writing_the_same_numbers(text):
    table = read_numbers(text, 3, "a.pts")
    assert table.dtype == np.float64
    np.testing.assert_array_equal(table, EXPECTED)


@pytest.mark.parametrize(
    ("text", "code", "line", "fact"),
    [
        (b"1 2 3\n\n4 5 6\n", "wrong_columns", 2, "0 columns"),
        (b"1 2 3 4\n5 6\n", "wrong_columns", 1, "4 columns"),
        (b"1 2\n3 4 5 6\n", "wrong_columns", 1, "2 columns"),
        (b"0.1 0.2 0.3\n0.4 wing 0.6\n", "not_a_number", 2, "wing"),
        (b"1 2 3\n1 nan 3\n", "not_finite", 2, "nan"),
        (b"1 2 1e39\n", "not_finite", 1, "1e+39"),
        (b"1 2 1e999\n", "not_finite", 1, "inf"),
        ("1 2 3\n1 2 \u0661\n".encode(), "wrong_encoding", 2, "0xd9"),
    ],
)
def test_a_fault_has_its_code_and_line(text, code, line, fact):
    with pytest.raises(UserError) as error:
        read_numbers(text, 3, "x/a.pts")
    assert (error.value.code, error.value.file, error.value.line) == (code, "x/a.pts", line)
    assert fact in error.value.message


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (b"1\n0\n0\n1\n", [1, 0, 0, 1]),
        (b"1.0\n0 \n 3\n1e0\n\n", [1, 0, 3, 1]),
        (b"12\n-1\n", [12, -1]),
    ],
)
def test_labels(text, labels):
    assert read_labels(text, "a.seg").tolist() == labels


@pytest.mark.parametrize(
    ("text", "code", "line", "fact"),
    [
        (b"0\nnan\n", "not_a_label", 2, "nan"),
        (b"0\n1 1\n1\n", "not_a_label", 2, "1 1"),
        (b"1\n1e99\n", "not_a_label", 2, "1e+99"),
        (b"1\n16777216\n", "not_a_label", 2, "16777216"),
        ("0\n1\n".encode("utf-16"), "wrong_encoding", 1, "UTF-16"),
        (b"0\n\0\n1\n", "not_text", 2, ""),
    ],
)
def test_a_fault_of_labels_has_its_code_and_line(text, code, line, fact):
    with pytest.raises(UserError) as error:
        read_labels(text, "a.seg")
    assert (error.value.code, error.value.file, error.value.line) == (code, "a.seg", line)
    assert fact in error.value.message
