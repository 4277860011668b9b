import json
import os
from pathlib import Path

import numpy as np
import pytest


class PartAnnotationFolder:
    """Writes a PartAnnotation folder, shape by shape."""

    def __init__(self, root: Path, metadata: dict | None = None) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.write_metadata(
            metadata or {"Airplane": {"directory": "planes", "lables": ["body", "wing", "tail"]}}
        )

    def write_metadata(self, metadata: dict) -> None:
        (self.root / "metadata.json").write_text(json.dumps(metadata))

    def points(self, shape: str, text: str | bytes, directory: str = "planes") -> Path:
        return self._write(self.root / directory / "points" / f"{shape}.pts", text)

    def part(self, shape: str, part: str, text: str | bytes, directory: str = "planes") -> Path:
        return self._write(self.root / directory / "points_label" / part / f"{shape}.seg", text)

    def verified(self, shape: str, text: str | bytes, directory: str = "planes") -> Path:
        folder = self.root / directory / "expert_verified" / "points_label"
        return self._write(folder / f"{shape}.seg", text)

    def shape(self, shape: str, points: int = 6, directory: str = "planes") -> None:
        """A good shape: half body, half wing."""
        rng = np.random.default_rng(len(shape) + points)
        rows = rng.uniform(-1, 1, (points, 3)).tolist()
        text = "".join(f"{x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in rows)
        self.points(shape, text, directory)
        half = points // 2
        self.part(shape, "body", "1\n" * half + "0\n" * (points - half), directory)
        self.part(shape, "wing", "0\n" * half + "1\n" * (points - half), directory)

    @staticmethod
    def _write(path: Path, text: str | bytes) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path


@pytest.fixture
def planes(tmp_path):
    """An empty PartAnnotation folder with the category Airplane (body, wing, tail)."""
    return PartAnnotationFolder(tmp_path / "source")


@pytest.fixture
def part_annotation_folder():
    return PartAnnotationFolder


@pytest.fixture
def real_data():
    folder = os.environ.get("POINTNET_REAL_DATA")
    if not folder:
        pytest.skip("POINTNET_REAL_DATA is not set: no real point clouds to test on")
    return Path(folder)
