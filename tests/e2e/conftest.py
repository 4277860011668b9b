"""Whole pipelines at a small size: made-up shapes, a narrow network, a few epochs."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

TINY = """
name: tiny
demo_shapes: 24
transform: {points_per_cloud: 256}
network:
  local_widths: [8, 16]
  global_widths: [16, 32]
  transform_widths: [8, 16]
  transform_dense_widths: [16]
  head_widths: [16]
training: {epochs: 2, batch_size: 8, points_per_draw: 128, warmup_epochs: 0}
evaluation:
  point_accuracy: {minimum: 0.0, largest_drop: 1.0}
  instance_miou: {minimum: 0.0, largest_drop: 1.0}
  part_accuracy: {minimum: 0.0, largest_drop: 1.0, optional: true}
  part_iou: {minimum: 0.0, largest_drop: 1.0, optional: true}
  margin_over_trivial: null
"""


class Runs:
    """Runs of one output folder: what each printed, and what each executed."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.out = folder / "out"

    def run(
        self, config: str = TINY, data: str = "", category: str = "", span: int | None = None
    ) -> tuple[int, str]:
        """Exit status, and what stood on the screen."""
        from pipeline.local_runner import run

        file = self.folder / "config.yaml"
        file.write_text(config, "utf-8")
        screen = Console(file=io.StringIO(), width=200)
        status = run(str(file), data, category, self.out, screen, span)
        return status, screen.file.getvalue()

    def executions(self) -> Counter[tuple[str, str]]:
        """How often each component was executed or taken from the cache, over all runs."""
        from ml_metadata.proto import metadata_store_pb2
        from tfx.orchestration import metadata

        connection = metadata.sqlite_metadata_connection_config(
            str(self.out / "pipeline" / "metadata.sqlite")
        )
        states = metadata_store_pb2.Execution.State
        counts: Counter[tuple[str, str]] = Counter()
        with metadata.Metadata(connection) as handle:
            for context in handle.store.get_contexts_by_type("node"):
                component = context.name.rpartition(".")[2]
                for execution in handle.store.get_executions_by_context(context.id):
                    counts[component, states.Name(execution.last_known_state)] += 1
        return counts

    def versions(self) -> list[str]:
        """Names of the pushed versions."""
        return sorted(path.name for path in (self.out / "serving_model").glob("*/*"))


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, int, str]:
    """A first run on made-up airplanes."""
    runs = Runs(tmp_path_factory.mktemp("made_up"))
    status, screen = runs.run()
    return runs, status, screen
