"""Numbered versions grow, are kept to a number, and can be withdrawn."""

import os

import pytest

from schema.errors import UserError
from serving import versions
from serving.versions import complete_versions, next_version, remove_old, withdraw


def made(base, *names):
    for name in names:
        (base / str(name)).mkdir(parents=True)
        (base / str(name) / "saved_model.pb").write_text(str(name))
    return str(base)


def test_old_complete_versions_are_removed_and_nothing_else(tmp_path):
    base = made(tmp_path / "serving", 3, 10, 200, "notes")
    (tmp_path / "serving" / "1").mkdir()  # a push that was cut off, or somebody's own
    (tmp_path / "serving" / "²").mkdir()  # a digit, but not a number
    assert versions.versions(base) == [1, 3, 10, 200]
    assert complete_versions(base) == [3, 10, 200]
    assert remove_old(base, 2) == [3]
    assert sorted(os.listdir(base)) == ["1", "10", "200", "notes", "²"]
    assert remove_old(base, 5) == []


def test_a_version_is_withdrawn_and_its_number_is_not_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(versions.time, "time", lambda: 5.0)
    base = made(tmp_path / "serving", 8, 9)
    assert withdraw(base) == (9, 8)
    assert (tmp_path / "serving" / "withdrawn-9" / "saved_model.pb").read_text() == "9"
    assert versions.versions(base) == [8]
    assert next_version(base) == 10


@pytest.mark.parametrize(
    ("folder", "version", "fact"),
    [
        ("one", None, "8"),
        ("two", 7, "8, 9"),
        ("nowhere", None, "nowhere"),
        ("gs://a-bucket/serving_model/pointnet_parts", None, "bucket"),
        ("two", 9, "Directory not empty"),
    ],
)
def test_a_version_that_cannot_be_withdrawn_is_a_user_error(tmp_path, folder, version, fact):
    made(tmp_path / "one", 8)
    made(tmp_path / "two", 8, 9, "withdrawn-9")
    with pytest.raises(UserError, match=fact) as error:
        withdraw(folder if "://" in folder else str(tmp_path / folder), version)
    assert error.value.code == "no_version"
    assert versions.versions(str(tmp_path / "two")) == [8, 9]
