"""A hash of the code that a component runs.

TFX's cache sees a component's inputs and parameters, not the code behind a dotted function name.
The hash is handed over as a parameter, so that changed code runs anew and all else is cached.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from pathlib import Path

PACKAGES = ("schema", "preprocessing", "model", "reports", "serving", "components", "pipeline")


def code_fingerprint(*modules: str) -> str:
    """Hashes the source of modules and of all that they import from our own rooms.

    Page templates that lie beside a module count as its source.

    Args:
      *modules: dotted names, e.g. "model.training.trainer".

    Returns:
      16 hexadecimal digits.
    """
    sources: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        path = _source_file(name)
        if path is None:
            continue  # a name that a module defines, not a module
        sources[name] = path.read_bytes()
        for template in path.parent.glob("*.html"):
            sources[f"{name}/{template.name}"] = template.read_bytes()
        waiting += own_imports(ast.parse(sources[name]))
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + sources[name] + b"\0")
    return digest.hexdigest()[:16]


def _source_file(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # what stands before the last dot is no package
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def own_imports(tree: ast.AST) -> list[str]:
    """Names of the modules in our rooms that a module imports, wherever the import stands."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.split(".")[0] in PACKAGES]
