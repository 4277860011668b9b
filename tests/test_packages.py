"""The packages: which imports which, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Data flows one way: a package imports only those before it. `serving` is the client's side of a
# request and stays free of TensorFlow's graph code in `model`.
ORDER = ("schema", "preprocessing", "model", "reports", "serving", "components", "pipeline")
OUTSIDE = ("tests", "bench", "deploy", "requirements")
MODULES = [path for package in ORDER for path in sorted((ROOT / package).rglob("*.py"))]
# Within preprocessing the same holds for its sub-packages.
PREPROCESSING = ("clouds", "datasets", "conversion", "checks")


def imported_modules(path):
    """Dotted names of all imports in a file, at any level of the code."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import; write the package's name"
            yield node.module


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_those_above_it(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    forbidden = {*ORDER[ORDER.index(package) + 1 :], *OUTSIDE}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported_modules(path)
        if name.split(".")[0] in forbidden
    ]
    assert not wrong


@pytest.mark.parametrize("package", PREPROCESSING)
def test_a_sub_package_of_preprocessing_imports_only_those_before_it(package):
    files = sorted((ROOT / "preprocessing" / package).rglob("*.py"))
    assert files
    later = PREPROCESSING[PREPROCESSING.index(package) + 1 :]
    forbidden = {f"preprocessing.{name}" for name in (*later, "tensors")}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported_modules(path)
        if ".".join(name.split(".")[:2]) in forbidden
    ]
    assert not wrong


def test_init_files_hold_a_docstring_and_no_code():
    files = [path for path in MODULES if path.name == "__init__.py"]
    assert {path.parent.name for path in files} >= set(ORDER)
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        assert ast.get_docstring(tree), f"{path} has no docstring"
        assert len(tree.body) == 1, f"{path} holds code"


def test_a_finished_package_has_few_short_modules():
    for package in ("schema", "preprocessing", "reports"):
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
            modules = list(folder.glob("*.py"))
            assert len(modules) <= 12, folder
            assert all(len(path.read_text("utf-8").splitlines()) <= 300 for path in modules)


@pytest.mark.parametrize("package", ["schema", "preprocessing/clouds", "preprocessing/datasets"])
def test_reading_clouds_needs_no_tensorflow(package):
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.stem != "__init__"
    ]
    assert len(names) > 1
    program = (
        f"import sys, {', '.join(names)}\n"
        "print(*{name.split('.')[0] for name in sys.modules} & "
        "{'tensorflow', 'keras', 'tfx', 'apache_beam'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "common", "misc", "helpers"}
    assert not [path for path in MODULES if drawers & {path.stem, path.parent.name}]
