"""The rooms: who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The table of the rooms: what each of them may import besides itself.
MAY_IMPORT = {
    "schema": set(),
    "preprocessing": {"schema"},
    "model": {"schema", "preprocessing"},
    "components": {"schema", "preprocessing", "model"},
    "pipeline": {"schema", "preprocessing", "model", "components", "serving"},
    "serving": {"schema"},
}
NO_ROOM = {"tests", "bench", "deploy", "requirements"}
MODULES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]


def imported_tops(path):
    """The first names of all imports in a file, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import; write the room's name"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    forbidden = (set(MAY_IMPORT) | NO_ROOM) - MAY_IMPORT[room] - {room}
    found = [
        f"{path.relative_to(ROOT)} imports {top}"
        for path in files
        for top in imported_tops(path)
        if top in forbidden
    ]
    assert not found


def test_init_files_hold_a_docstring_and_no_code():
    files = [path for path in MODULES if path.name == "__init__.py"]
    assert {path.parent.name for path in files} >= set(MAY_IMPORT)
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        assert ast.get_docstring(tree), f"{path} has no docstring"
        assert len(tree.body) == 1, f"{path} holds code"


def test_the_schema_imports_without_tensorflow():
    names = [
        "schema" if path.stem == "__init__" else f"schema.{path.stem}"
        for path in sorted((ROOT / "schema").glob("*.py"))
    ]
    assert len(names) > 1
    program = (
        f"import sys, {', '.join(names)}\n"
        "print(*{name.split('.')[0] for name in sys.modules} & {'tensorflow', 'keras', 'tfx'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "common", "misc", "helpers"}
    assert not [path for path in MODULES if drawers & {path.stem, path.parent.name}]
