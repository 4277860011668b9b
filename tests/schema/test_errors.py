import pytest

from schema.errors import Finding, UserError, counted


@pytest.mark.parametrize(
    ("file", "line", "text"),
    [("", 0, "found x."), ("a.csv", 0, "a.csv: found x."), ("a.csv", 3, "a.csv, line 3: found x.")],
)
def test_an_error_names_its_place(file, line, text):
    error = UserError("bad", "found x.", file, line)
    assert str(error) == text
    assert str(Finding.of(error, "Chair", "1")) == text


def test_an_error_gets_a_place_later_and_keeps_its_line():
    error = UserError("bad", "found x.", "", 7).at("b.csv")
    assert (error.code, error.file, error.line) == ("bad", "b.csv", 7)
    assert UserError("bad", "", "", 7).at("b", 2).line == 2


def test_an_error_crosses_processes_whole():
    error = UserError("bad", "found x.", "a.csv", 3)
    kind, arguments = error.__reduce__()
    copy = kind(*arguments)
    assert vars(copy) == vars(error) and str(copy) == str(error)


def test_numbers_have_their_noun():
    assert [counted(n, "file") for n in (0, 1, 1200)] == ["0 files", "1 file", "1,200 files"]
