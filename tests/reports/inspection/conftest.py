import json
from pathlib import Path

import numpy as np
import pytest

from preprocessing.conversion.records import Writer, to_example
from schema.record import Cloud


class Shapes:
    """Writes a PartAnnotation folder of tools (head, handle) and cups (body)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        tool = {"directory": "tools", "labels": ["head", "handle"]}
        cup = {"directory": "cups", "labels": ["body"]}
        self.file("metadata.json", json.dumps({"Tool": tool, "Cup": cup}))

    def tool(self, name, head, handle, unannotated=0, *, seed=0):
        """A tool with so many points of each part; none: all points are unlabelled."""
        parts = [head, handle, unannotated]
        self._write("tools", name, seed, dict(zip(["head", "handle", ""], parts, strict=True)))

    def cup(self, name, body, *, seed=0):
        self._write("cups", name, seed, {"body": body})

    def _write(self, directory, name, seed, parts):
        points = sum(parts.values())
        # `seed` makes clouds of one size differ.
        rng = np.random.default_rng([points, seed, *name.encode()])
        xyz = rng.uniform(-1, 1, (points, 3)).tolist()
        rows = "".join(f"{x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in xyz)
        self.file(f"{directory}/points/{name}.pts", rows)
        start = 0
        for part, count in parts.items():
            if part and count:
                mask = "0\n" * start + "1\n" * count + "0\n" * (points - start - count)
                self.file(f"{directory}/points_label/{part}/{name}.seg", mask)
            start += count

    def file(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def shapes(tmp_path):
    return Shapes(tmp_path / "source")


@pytest.fixture
def ten_tools(shapes):
    """Ten tools: by hand, 7 go to train, 1 to val and 2 to test; one more cloud is unlabelled.

    Tool i has 10 + i points of the head, 5 of the handle (none for tools 8 and 9), 2 unannotated.
    """
    for i in range(10):
        shapes.tool(f"tool{i}", 10 + i, 5 if i < 8 else 0, 2)
    shapes.tool("unlabelled", 0, 0, 30)
    return shapes


@pytest.fixture
def write_records():
    def write(path, *records):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            writer = Writer(file)
            for record in records:
                writer.write(to_example(record) if isinstance(record, Cloud) else record)
            writer.close()

    return write
