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
        root.mkdir()
        metadata = {
            "Tool": {"directory": "tools", "labels": ["head", "handle"]},
            "Cup": {"directory": "cups", "labels": ["body"]},
        }
        (root / "metadata.json").write_text(json.dumps(metadata))

    def tool(self, name, head, handle, unannotated=0, *, seed=0):
        """A tool with so many points of each part; (0, 0, 0): unlabelled."""
        masks = {"head": [1] * head, "handle": [0] * head + [1] * handle}
        self._write("tools", name, head + handle + unannotated, masks, seed)

    def cup(self, name, body, *, seed=0):
        self._write("cups", name, body, {"body": [1] * body}, seed)

    def unlabelled(self, name, points):
        self._write("tools", name, points, {}, 0)

    def _write(self, directory, name, points, masks, seed):
        # `seed` makes clouds of one size differ.
        rng = np.random.default_rng([points, seed, *name.encode()])
        rows = rng.uniform(-1, 1, (points, 3)).tolist()
        self.file(
            f"{directory}/points/{name}.pts",
            "".join(f"{x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in rows),
        )
        for part, mask in masks.items():
            if any(mask):
                mask = mask + [0] * (points - len(mask))
                text = "".join(f"{digit}\n" for digit in mask)
                self.file(f"{directory}/points_label/{part}/{name}.seg", text)

    def file(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def shapes(tmp_path):
    return Shapes(tmp_path / "source")


@pytest.fixture
def ten_tools(shapes):
    """Ten tools, of which by hand: 7 go to train, 1 to val, 2 to test; one cloud is unlabelled.

    Tool i has 10 + i points of the head, 5 of the handle (none for tools 8 and 9) and 2 that
    nobody annotated.
    """
    for i in range(10):
        shapes.tool(f"tool{i}", 10 + i, 5 if i < 8 else 0, 2)
    shapes.unlabelled("nobody", 30)
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
        return path

    return write
