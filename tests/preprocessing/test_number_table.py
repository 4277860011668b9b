"""Numbers worked out by hand, and for any text: the right numbers or one clear error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing import number_table
from preprocessing.findings import BadInput
from preprocessing.number_table import parse_labels, parse_mask, parse_table

EXPECTED = np.array([[0.25, -1.5, 3.0], [0.125, 0.0, -0.5]], np.float32)


@pytest.mark.parametrize(
    "text",
    [
        b"0.250 -1.500 3.000\n0.125 0.000 -0.500\n",
        b"0.250 -1.500 3.000\n0.125 0.000 -0.500",
        b"0.25 -1.5 3\n0.125 0 -0.5\n",
        b"0.25\t-1.5\t3\n0.125\t0\t-0.5\n",
        b"  0.25   -1.5 \t 3.0  \n 0.125 0.0 -.5\n\n\n",
        b"\xef\xbb\xbf0.250 -1.500 3.000\r\n0.125 0.000 -0.500\r\n",
        b"2.5e-1 -15e-1 +3E0\n1.25e-01 0e0 -5.0e-1\n",
        b"0.250 -1.500 3.000\r0.125 0.000 -0.500\r",
    ],
    ids=["plain", "no end", "mixed", "tabs", "blanks", "windows", "scientific", "old mac"],
)
def test_reads_every_way_of_writing_the_same_numbers(text):
    for columns in (3, None):
        table = parse_table(text, columns, "a.pts")
        assert table.dtype == np.float32
        np.testing.assert_array_equal(table, EXPECTED)


@pytest.mark.parametrize(
    ("text", "code", "line", "words"),
    [
        (b"", "empty_file", 0, "expected one for each point"),
        (b"\n \n", "empty_file", 0, "expected one for each point"),
        (b"1 2 3\n4 5\n", "wrong_columns", 2, "found 2 numbers ('4 5'), expected 3"),
        (b"1 2 3\n\n4 5 6\n", "wrong_columns", 2, "found 0 numbers, expected 3"),
        (b"1 2 3 4\n", "wrong_columns", 1, "found 4 numbers"),
        (b"0.1 0.2 0.3\n0.4 wing 0.6\n", "not_a_number", 2, "found 'wing', expected a number"),
        (b"1 2 3_0\n", "not_a_number", 1, "'3_0'"),
        (b"1,2,3\n", "wrong_columns", 1, "found 1 number ('1,2,3')"),
        (b"1 2 3\n1 nan 3\n", "not_finite", 2, "found nan, expected a finite"),
        (b"1 2 -inf\n", "not_finite", 1, "found -inf"),
        (b"1 2 1e39\n", "not_finite", 1, "found 1e+39"),
        ("1 2 3\n".encode("utf-16"), "wrong_encoding", 1, "UTF-16"),
        (b"1 2 3\n1 2 \xb5\n", "wrong_encoding", 2, "the byte 0xb5"),
        (b"1 2 3\n\x00\x00\x00\n", "wrong_columns", 2, "expected 3"),
    ],
)
def test_says_what_is_wrong_and_where(text, code, line, words):
    with pytest.raises(BadInput) as error:
        parse_table(text, 3, "x/a.pts")
    assert (error.value.code, error.value.file, error.value.line) == (code, "x/a.pts", line)
    assert words in str(error.value)
    assert "x/a.pts" in str(error.value)


@pytest.mark.parametrize("path", ["_fixed_point_table", "_regular_table"])
@given(
    rows=st.lists(st.lists(st.decimals(-9, 9, places=5), min_size=3, max_size=3), min_size=1),
)
def test_fast_paths_give_what_the_tolerant_one_gives(path, rows):
    text = "".join(" ".join(f"{x:.5f}" for x in row) + "\n" for row in rows).encode()
    fast = getattr(number_table, path)(text, 3)
    np.testing.assert_array_equal(fast, number_table._table_by_line(text, 3, "a.pts"))
    np.testing.assert_array_equal(fast, np.array(rows, float).astype(np.float32))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_any_float32_comes_back(number):
    assert parse_table(f"{number!r} 1 1\n".encode(), 3, "a.pts")[0, 0] == np.float32(number)


ALMOST = st.lists(st.sampled_from("0123456789.-+eE \t\n\r_,\0nif\xff"), max_size=60).map(
    lambda letters: "".join(letters).encode("latin-1")
)


@given(st.one_of(ALMOST, st.binary(max_size=60)), st.sampled_from([None, 1, 3]))
def test_any_text_gives_the_right_count_or_a_clear_error(text, columns):
    try:
        table = parse_table(text, columns, "a.pts")
    except BadInput as error:
        assert error.code and "a.pts" in str(error) and str(error).endswith(".")
        return
    lines = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = lines.rstrip(b" \t\n").split(b"\n")
    assert table.shape == (len(lines), columns or len(lines[0].split()))
    assert np.isfinite(table).all()
    expected = np.array([[float(w) for w in line.split()] for line in lines]).astype(np.float32)
    np.testing.assert_array_equal(table, expected)


@given(
    st.one_of(
        st.lists(st.sampled_from("01\n \r2x."), max_size=30).map(
            lambda letters: "".join(letters).encode()
        ),
        st.binary(max_size=30),
    )
)
def test_any_mask_gives_the_right_count_or_a_clear_error(text):
    try:
        mask = parse_mask(text, "a.seg")
    except BadInput as error:
        assert "a.seg" in str(error) and str(error).endswith(".")
        return
    lines = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = lines.rstrip(b" \t\n").split(b"\n")
    assert mask.dtype == bool
    assert mask.tolist() == [bool(float(line)) for line in lines]


@pytest.mark.parametrize(
    "text", [b"1\n0\n0\n1\n", b"1\n0\n0\n1", b"1\r\n0\r\n0\r\n1\r\n", b"1.0\n0 \n 0\n1e0\n\n"]
)
def test_mask_forms(text):
    assert parse_mask(text, "a.seg").tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (b"", "empty_file", 0),
        (b"0\n1\n2\n", "not_a_mask", 3),
        (b"0\n-1\n", "not_a_mask", 2),
        (b"0\nyes\n", "not_a_label", 2),
        (b"0\n0.5\n", "not_a_label", 2),
        (b"0\n\n1\n", "not_a_label", 2),
    ],
)
def test_mask_errors(text, code, line):
    with pytest.raises(BadInput) as error:
        parse_mask(text, "a.seg")
    assert (error.value.code, error.value.line) == (code, line)


def test_labels():
    assert parse_labels(b"3\n0\n9\n", "a.seg").tolist() == [3, 0, 9]
    assert parse_labels(b"12\n0\n", "a.seg").tolist() == [12, 0]
    with pytest.raises(BadInput, match=r"a\.seg, line 2: found '1e99', expected one integer"):
        parse_labels(b"1\n1e99\n", "a.seg")
