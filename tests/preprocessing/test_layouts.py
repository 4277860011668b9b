"""Choosing a layout by looking: what is nearly a data set, or more than one, is told as that."""

import shutil

import pytest

from preprocessing.findings import BadInput
from preprocessing.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES


@pytest.fixture
def own(tmp_path):
    """A folder of own clouds, alone in its folder."""
    folder = tmp_path / "all" / "own"
    folder.mkdir(parents=True)
    (folder / "clouds.yaml").write_text("categories:\n  Chair: [back]\n")
    return folder


def refusal(source, **settings):
    with pytest.raises(BadInput) as error:
        open_reader(str(source), DataSettings(**settings))
    return error.value


def test_several_data_sets_are_refused(own, part_annotation_folder):
    source = own.parent
    (source / "notes").mkdir()
    assert open_reader(str(source), DataSettings()).layout == "own_clouds"
    part_annotation_folder(source / "planes")
    error = refusal(source)
    assert error.code == "several_data_sets"
    assert f"holds several data sets: own, planes. Give one, such as {source}/own." in str(error)
    # Only one of them is in the layout that is asked for.
    assert open_reader(str(source), DataSettings(layout="own_clouds")).layout == "own_clouds"
    packed = shutil.make_archive(str(source.with_name("packed")), "zip", source)
    assert "own, planes. Unpack it, give one." in str(refusal(packed))
    # Two of one layout.
    shutil.rmtree(source / "planes")
    shutil.copytree(own, source / "second")
    assert "own, second" in str(refusal(source))


def test_categories_are_no_data_sets_of_their_own(tmp_path):
    for category in SHAPENET_CATEGORIES[:2]:
        (tmp_path / "set" / category.directory / "points").mkdir(parents=True)
    (tmp_path / "set" / "synsetoffset2category.txt").write_text("")
    assert open_reader(str(tmp_path), DataSettings()).layout == "benchmark_v0"
    assert open_reader(str(tmp_path / "set"), DataSettings()).layout == "benchmark_v0"


def test_a_zip_in_a_folder_is_named(own):
    packed = shutil.make_archive(str(own.parent / "pa"), "zip", own)
    shutil.rmtree(own)
    (own.parent / "another.zip").write_text("no archive")
    error = refusal(own.parent)
    assert (error.code, f"Did you mean {packed}?" in str(error)) == ("zip_in_folder", True)


@pytest.mark.parametrize("name", ["clouds.yml", "Clouds.yaml"])
def test_nearly_clouds_yaml(own, name):
    (own / "clouds.yaml").rename(own / name)
    assert str(refusal(own)) == f"{name}: is not read. Rename it clouds.yaml."
    assert refusal(own, layout="benchmark_v0").code == "no_layout"


def test_a_converted_data_set_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "manifest.json").write_text("{}")
    error = refusal(tmp_path)
    assert error.code == "converted_already"
    assert "is a converted data set already (manifest.json)" in str(error)
