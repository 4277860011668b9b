"""A hash of what code does: comments, docstrings and formatting do not change it."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from types import ModuleType


def hash_code(*packages: ModuleType | Path) -> str:
    """Hashes all modules of packages or folders by their syntax trees; 64 hexadecimal digits."""
    hashed = hashlib.sha256()
    for package in packages:
        folder = package if isinstance(package, Path) else Path(package.__path__[0])
        for file in sorted(folder.rglob("*.py")):
            tree = ast.parse(file.read_bytes())
            for node in ast.walk(tree):
                if hasattr(node, "body") and isinstance(node.body, list):
                    node.body = [item for item in node.body if not _is_docstring(item)]
            hashed.update(f"{file.relative_to(folder)}\n{ast.dump(tree)}\n".encode())
    return hashed.hexdigest()


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
