"""Which model a new one is measured against."""

from __future__ import annotations

from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import standard_artifacts


class LatestOtherBlessedModelStrategy(LatestBlessedModelStrategy):
    """The latest blessed model, other than the one that this run has just trained.

    When nothing changed, Trainer's cached model is the latest blessed one. Measured against itself
    it would be evaluated and pushed anew on every repeated run; without it, the repeated Evaluator
    has the inputs that it had before, and is cached.
    """

    def resolve_artifacts(
        self, store: Any, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """See the base class; `store` is the ML Metadata store."""
        candidate = self._latest_trained(store, input_dict)
        others = {
            key: [artifact for artifact in artifacts if artifact.id != candidate]
            for key, artifacts in input_dict.items()
        }
        return super().resolve_artifacts(store, others)

    def _latest_trained(
        self, store: Any, input_dict: dict[str, list[types.Artifact]]
    ) -> int | None:
        """Id of the model that the newest execution gave out, cached or not."""
        models = [
            artifact.id
            for artifacts in input_dict.values()
            for artifact in artifacts
            if artifact.type_name == standard_artifacts.Model.TYPE_NAME
        ]
        outputs = [
            event
            for event in store.get_events_by_artifact_ids(models)
            if event.type == metadata_store_pb2.Event.OUTPUT  # type: ignore[attr-defined]
        ]
        newest = max(outputs, key=lambda event: event.execution_id, default=None)
        return newest.artifact_id if newest is not None else None
