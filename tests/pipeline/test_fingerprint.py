"""A fingerprint follows the code that a module imports, and no other."""

import ast
import sys

import pytest

from pipeline import fingerprint
from pipeline.fingerprint import code_fingerprint, own_imports

PACKAGE = "package_for_fingerprints"
FILES = {
    "__init__": '"""A package."""\n',
    "start": (
        f"import json\nfrom {PACKAGE} import direct\n\n\ndef late():\n    import {PACKAGE}.inside\n"
    ),
    "direct": f"from {PACKAGE}.far import VALUE\n",
    "far": f"VALUE = 1\n\n\ndef round():\n    import {PACKAGE}.start\n",
    "inside": "INSIDE = 1\n",
    "alien": "ALIEN = 1\n",
}


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A room of its own, importable while the test runs."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(fingerprint, "PACKAGES", (PACKAGE,))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("changed", "matters"),
    [("start", True), ("direct", True), ("far", True), ("inside", True), ("alien", False)],
)
def test_it_changes_with_what_is_imported_and_with_nothing_else(room, changed, matters):
    before = code_fingerprint(f"{PACKAGE}.start")
    assert code_fingerprint(f"{PACKAGE}.start") == before
    path = room / f"{changed}.py"
    path.write_text(path.read_text() + "# changed\n")
    assert (code_fingerprint(f"{PACKAGE}.start") != before) == matters


def test_a_new_name_for_the_same_code_is_other_code(room):
    (room / "inside.py").rename(room / "renamed.py")
    assert code_fingerprint(f"{PACKAGE}.renamed") != code_fingerprint(f"{PACKAGE}.alien")


def test_the_order_of_the_modules_does_not_matter(room):
    names = [f"{PACKAGE}.start", f"{PACKAGE}.alien"]
    assert code_fingerprint(*names) == code_fingerprint(*names[::-1])
    assert code_fingerprint(*names) != code_fingerprint(names[0])


def test_sixteen_hexadecimal_digits():
    found = code_fingerprint("preprocessing.tensors.transform")
    assert len(found) == 16
    int(found, 16)


def test_own_imports_are_those_of_our_rooms():
    text = "import os\nimport model.loss\nfrom schema import record\nfrom numpy import array\n"
    assert own_imports(ast.parse(text)) == ["model.loss", "schema", "schema.record"]


def test_a_page_template_beside_a_module_counts_as_its_source(tmp_path, monkeypatch):
    source, template = tmp_path / "page.py", tmp_path / "page.html"
    source.write_text("", "utf-8")
    monkeypatch.setattr("pipeline.fingerprint._source_file", lambda module: source)
    template.write_text("<p>old</p>", "utf-8")
    before = code_fingerprint("components.page")
    template.write_text("<p>new</p>", "utf-8")
    assert code_fingerprint("components.page") != before


def test_the_trainers_code_holds_no_network_but_the_one_that_is_named():
    """An edit of one family of networks does not train the others again."""
    trainer = code_fingerprint("model.training.trainer")
    network = "model.networks.pointnet.network"
    assert code_fingerprint("model.training.trainer", network) != trainer
    # The trainer's own imports are followed.
    assert code_fingerprint("model.training.trainer", "model.networks.layers") == trainer
