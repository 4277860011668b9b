"""Predicted parts are put where a person looks; nothing else there is touched."""

from __future__ import annotations

import pytest

from pipeline.predictions import copy_predictions


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "predictions"


def made(folder, refused=None, **contents):
    """A folder as PredictedParts writes it: two files a cloud, and the table."""
    folder.mkdir()
    rows = ["shape_id,category,points,unanswered,mean_probability,file,reason"]
    rows += [f"{name},Tool,9,,,,{reason}" for name, reason in (refused or {}).items()]
    for stem, content in contents.items():
        (folder / f"{stem}.ply").write_text(content)
        (folder / f"{stem}.labels").write_text(content)
        rows.append(f"{stem},Tool,1,0,0.5,{stem}.ply,")
    (folder / "clouds.csv").write_text("\n".join(rows) + "\n")
    return str(folder)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_clouds_files_and_the_table_are_copied(tmp_path, folder):
    assert copy_predictions(made(tmp_path / "1", a="x", b="y"), folder) == (2, {})
    assert names(folder) == ["a.labels", "a.ply", "b.labels", "b.ply", "clouds.csv"]
    assert (folder / "b.ply").read_text() == "y"


def test_an_earlier_runs_files_give_way_and_the_users_own_stay(tmp_path, folder):
    copy_predictions(made(tmp_path / "1", a="x", b="y"), folder)
    (folder / "mine.ply").write_text("mine")
    assert copy_predictions(made(tmp_path / "2", b="new"), folder) == (1, {})
    assert names(folder) == ["b.labels", "b.ply", "clouds.csv", "mine.ply"]
    assert (folder / "b.ply").read_text() == "new"


def test_without_a_blessed_model_the_earlier_ones_stay(tmp_path, folder):
    assert copy_predictions(made(tmp_path / "1"), folder) == (0, {})
    assert not folder.exists()
    copy_predictions(made(tmp_path / "2", a="x"), folder)
    assert copy_predictions(made(tmp_path / "3"), folder) == (0, {})
    assert names(folder) == ["a.labels", "a.ply", "clouds.csv"]


def test_a_refused_cloud_has_its_reason_and_no_file(tmp_path, folder):
    refused = {"large": "too many points"}
    assert copy_predictions(made(tmp_path / "1", refused, a="x"), folder) == (1, refused)
    assert names(folder) == ["a.labels", "a.ply", "clouds.csv"]


def test_a_table_that_somebody_changed_leads_nowhere_else(tmp_path, folder):
    mine = tmp_path / "mine.ply"
    mine.write_text("mine")
    copy_predictions(made(tmp_path / "1", a="x"), folder)
    (folder / "clouds.csv").write_text("file\n../mine.ply\n")
    copy_predictions(made(tmp_path / "2", b="y"), folder)
    assert mine.read_text() == "mine"
