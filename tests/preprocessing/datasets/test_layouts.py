import shutil

import pytest

from preprocessing.datasets.base import chosen_categories
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.categories import SHAPENET_CATEGORIES, Category
from schema.errors import UserError


@pytest.fixture
def own(tmp_path):
    """A folder of own clouds, alone in its folder."""
    folder = tmp_path / "all" / "own"
    folder.mkdir(parents=True)
    (folder / "clouds.yaml").write_text("categories:\n  Chair: [back]\n")
    return folder


def test_several_data_sets_are_refused(own, part_annotation_folder, refusal):
    source = own.parent
    (source / "notes").mkdir()
    assert open_reader(str(source), DataSettings()).layout == "own_clouds"
    part_annotation_folder(source / "planes")
    error = refusal(source)
    assert error.code == "several_data_sets"
    assert "own, planes" in error.message
    packed = shutil.make_archive(str(source.with_name("packed")), "zip", source)
    assert refusal(packed).code == "several_data_sets"
    shutil.rmtree(source / "planes")
    shutil.copytree(own, source / "second")
    assert "own, second" in refusal(source).message


def test_the_root_is_preferred_to_its_folders(own, part_annotation_folder):
    shutil.copy(own / "clouds.yaml", own.parent)
    part_annotation_folder(own.parent / "planes")
    assert open_reader(str(own.parent), DataSettings()).layout == "own_clouds"


def test_no_layout_lists_what_was_found_and_looked_for(tmp_path, refusal):
    assert refusal(tmp_path).code == "no_layout"
    # A list of categories alone is not a data set.
    for name in ("synsetoffset2category.txt", "clouds.yml", "a.zip"):
        (tmp_path / name).write_text("")
    (tmp_path / "02691156").mkdir()
    error = refusal(tmp_path)
    assert error.code == "no_layout"
    for name in ("02691156/", "clouds.yml", "a.zip", "metadata.json", "clouds.yaml", "points/"):
        assert name in error.message


def categories(*names):
    known = {category.name: category for category in SHAPENET_CATEGORIES}
    return {name: known.get(name, Category(name, name, ("a",))) for name in names}


@pytest.mark.parametrize(
    ("names", "setting", "chosen"),
    [
        (("Chair", "Airplane"), None, ["Airplane"]),
        (("Chair",), None, ["Chair"]),
        (("Chair", "Airplane"), "ALL", ["Chair", "Airplane"]),
        (("Chair", "Airplane"), "chAIR", ["Chair"]),
        (("chair", "Chair"), "Chair", ["Chair"]),
        (("St\u00fchle",), "Stu\u0308hle", ["St\u00fchle"]),
        (("Chair", "Table"), None, "choose_category"),
        (("Chair",), "Boat", "unknown_category"),
        (("Chair", "Table"), "Boat", "unknown_category"),
    ],
)
def test_chosen_categories(names, setting, chosen):
    if isinstance(chosen, list):
        assert chosen_categories(categories(*names), setting) == chosen
    else:
        with pytest.raises(UserError) as error:
            chosen_categories(categories(*names), setting)
        assert error.value.code == chosen
        assert ", ".join(names) in error.value.message
