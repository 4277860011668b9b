"""Which statistics a run's data is compared with."""

from __future__ import annotations

from typing import Any

from absl import logging
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio

from components.cloud_validator import CloudValidator


class PreviousStatisticsStrategy(resolver.ResolverStrategy):
    """The statistics of the last run with other data that CloudValidator let pass.

    Of other data: a repeated run gets the same baseline and is served entirely from the cache. Let
    pass: data that stopped a run is not a baseline. Statistics whose files are missing are skipped.
    It must be asked after StatisticsGen, to know this run's own.
    """

    def resolve_artifacts(
        self, store: Any, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """See the base class; at most one artifact a key."""
        return {key: self._previous(store, given) for key, given in input_dict.items()}

    def _previous(self, store: Any, statistics: list[types.Artifact]) -> list[types.Artifact]:
        outputs = sorted(
            _events(store, [artifact.id for artifact in statistics], "OUTPUT"),
            key=lambda event: event.execution_id,
            reverse=True,
        )
        by_id = {artifact.id: artifact for artifact in statistics}
        for event in outputs[1:]:
            if event.artifact_id == outputs[0].artifact_id or not _let_pass(store, event):
                continue
            artifact = by_id[event.artifact_id]
            if fileio.exists(artifact.uri):
                return [artifact]
            logging.warning("The statistics %s are missing; older ones are used.", artifact.uri)
        return []


def _let_pass(store: Any, event: Any) -> bool:
    """Whether CloudValidator passed the examples that an execution of StatisticsGen counted."""
    counted = [
        read.artifact_id
        for read in store.get_events_by_execution_ids([event.execution_id])
        if read.type == _kind("INPUT")
    ]
    readers = {read.execution_id for read in _events(store, counted, "INPUT")}
    states = metadata_store_pb2.Execution.State  # type: ignore[attr-defined]
    return any(
        # Its module was another one in earlier versions, whose runs count too.
        execution.type.rpartition(".")[2] == CloudValidator.__name__
        and execution.last_known_state in (states.COMPLETE, states.CACHED)
        for execution in store.get_executions_by_id(sorted(readers))
    )


def _events(store: Any, artifacts: list[int], kind: str) -> list[Any]:
    """The events of one kind that artifacts took part in."""
    return [
        event for event in store.get_events_by_artifact_ids(artifacts) if event.type == _kind(kind)
    ]


def _kind(name: str) -> int:
    return metadata_store_pb2.Event.Type.Value(name)  # type: ignore[attr-defined]
