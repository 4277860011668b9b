"""Which model a new one is compared with, or trained from, on this machine."""

from __future__ import annotations

import os
import shutil
from typing import Any

from absl import logging
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver
from tfx.types import artifact, standard_artifacts
from tfx.utils import path_utils

from components.production_model import is_saved_model, newest_pushed

MODEL, BLESSING = "model", "model_blessing"
Artifacts = dict[str, list[types.Artifact]]


class LatestBlessedStrategy(resolver.ResolverStrategy):
    """The latest blessed model; if its files are missing, a copy of the newest pushed version.

    If that is missing too, the latest blessed model that can be read; if none can, the lost one:
    the component that reads it then stops the run. An error raised here would be ignored by TFX,
    and the run would go on without a baseline.
    """

    def __init__(self, serving: str, artifacts: str) -> None:
        """`serving` is the folder of the pushed versions; copies are made in `artifacts`."""
        self.serving, self.artifacts = serving, artifacts

    def resolve_artifacts(self, store: Any, input_dict: Artifacts) -> Artifacts:
        """See the base class; `store` is the ML Metadata store."""
        return self._resolve(store, input_dict, None)

    def _resolve(
        self, store: Any, input_dict: Artifacts, candidate: types.Artifact | None
    ) -> Artifacts:
        blessings = {
            one.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY): one
            for one in input_dict[BLESSING]
            if one.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
        }
        blessed = sorted(
            (model for model in input_dict[MODEL] if model.id in blessings),
            key=lambda model: model.id,
            reverse=True,
        )
        others = [model for model in blessed if candidate is None or model.id != candidate.id]
        readable = [model for model in others if is_saved_model(_folder(model))]
        if readable[:1] != others[:1] or not others:
            pushed = newest_pushed(self.serving, _folder(candidate) if candidate else "")
            if pushed:
                return {MODEL: [self._copy(store, pushed)], BLESSING: []}
        # The latest blessed model itself, trained again by nothing, needs no baseline.
        repeated = bool(blessed) and blessed[0] not in others
        chosen = readable[:1] or ([] if repeated else others[:1])
        return {MODEL: chosen, BLESSING: [blessings[model.id] for model in chosen]}

    def _copy(self, store: Any, pushed: str) -> types.Artifact:
        """A pushed version as an artifact, the same one for the same version."""
        model = standard_artifacts.Model()
        model.uri = os.path.join(self.artifacts, "PushedModel", os.path.basename(pushed))
        logging.warning("The model %s replaces the blessed model on record.", pushed)
        partial = f"{model.uri}.partial"
        try:
            if not is_saved_model(_folder(model)):
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(pushed, path_utils.serving_model_dir(partial))
                shutil.rmtree(model.uri, ignore_errors=True)
                os.rename(partial, model.uri)
        except OSError as error:  # the Evaluator stops at a model without files
            logging.error("%s cannot be copied: %s", pushed, error)
        known = store.get_artifacts_by_uri(model.uri)
        if known:
            model.set_mlmd_artifact(known[0])
            return model
        model.type_id = store.put_artifact_type(model.artifact_type)
        model.state = artifact.ArtifactState.PUBLISHED
        (model.id,) = store.put_artifacts([model.mlmd_artifact])
        return model


class LatestOtherBlessedStrategy(LatestBlessedStrategy):
    """The same without the model that this run has just trained.

    When nothing changed, Trainer's cached model is the latest blessed one. Compared with itself it
    would be evaluated and pushed again on every repeated run; without it, the repeated Evaluator
    has the inputs that it had before, and is cached.
    """

    def resolve_artifacts(self, store: Any, input_dict: Artifacts) -> Artifacts:
        """See the base class."""
        models = {model.id: model for model in input_dict[MODEL]}
        outputs = [
            event
            for event in store.get_events_by_artifact_ids(list(models))
            if event.type == metadata_store_pb2.Event.OUTPUT  # type: ignore[attr-defined]
        ]
        # The newest execution that gave out a model, cached or not, is this run's Trainer.
        newest = max(outputs, key=lambda event: event.execution_id, default=None)
        candidate = models[newest.artifact_id] if newest is not None else None
        return self._resolve(store, input_dict, candidate)


def _folder(model: types.Artifact) -> str:
    return str(path_utils.serving_model_path(model.uri))
