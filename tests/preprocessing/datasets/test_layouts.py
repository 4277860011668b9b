import shutil

import pytest

from preprocessing.datasets.base import chosen_categories
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.errors import UserError


@pytest.fixture
def own(tmp_path, write):
    """A folder of own clouds, alone in its folder."""
    folder = tmp_path / "all" / "own"
    write(folder / "clouds.yaml", "categories:\n  Chair: [back]\n")
    return folder


def test_several_data_sets_are_refused(own, part_annotation_folder, refusal):
    source = own.parent
    (source / "notes").mkdir()
    assert open_reader(str(source), DataSettings()).layout == "own_clouds"
    part_annotation_folder(source / "planes")
    packed = shutil.make_archive(str(source.with_name("packed")), "zip", source)
    for place in (source, packed):
        error = refusal(place)
        assert error.code == "several_data_sets"
        assert "own, planes" in error.message
    # The root is preferred to its folders.
    shutil.copy(own / "clouds.yaml", source)
    assert open_reader(str(source), DataSettings()).layout == "own_clouds"


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
        (("Chair", "Table"), "", "unknown_category"),
    ],
)
def test_chosen_categories(names, setting, chosen):
    if isinstance(chosen, list):
        assert chosen_categories(names, setting) == chosen
    else:
        with pytest.raises(UserError) as error:
            chosen_categories(dict.fromkeys(names), setting)
        assert error.value.code == chosen
        assert ", ".join(names) in error.value.message
